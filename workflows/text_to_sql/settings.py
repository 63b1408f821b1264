"""Every number of the text_to_sql workflow that somebody may want to turn, in one place."""

from __future__ import annotations

MODEL = "qwen2.5-coder-1.5b"
MAX_TOKENS = 224
MAX_REPAIRS = 2
REPAIR_TEMPERATURE = 0.4  # of the second repair; the first is greedy
MAX_QUESTION_CHARS = 4_000

SCHEMA_CHARS = 12_000  # about 3,500 tokens: what a prompt may spend on the schema
SAMPLES_PER_COLUMN = 4
SAMPLE_CHARS = 32
SAMPLE_SCAN_ROWS = 5_000  # rows of a table looked at for sample values
SCHEMA_TIMEOUT_S = 5.0

HINT_VALUES = 8  # values of the database named after the question
HINT_SCAN_ROWS = 20_000

MAX_STATEMENT_CHARS = 20_000
MAX_NESTING = 40  # open parentheses a statement may have at one time
MAX_OPEN_JOINS = 10  # JOINs still without their ON at one time

SQL_TIMEOUT_S = 5.0
MAX_ROWS = 1_000
MAX_RESULT_BYTES = 1_000_000
CHILD_MEMORY_BYTES = 512 * 1024 * 1024
SQLITE_HEAP_BYTES = 128 * 1024 * 1024
MAX_VALUE_BYTES = 1_000_000
MAX_CHILDREN = 4
