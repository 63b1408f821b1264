"""Every number of the tool_agent workflow that somebody may want to turn, in one place."""

from __future__ import annotations

MODEL = "qwen2.5-coder-1.5b"
MAX_STEPS = 8
MAX_PLAN_TOKENS = 320
MAX_ANSWER_TOKENS = 160
DEADLINE_S = 120.0
MAX_QUESTION_CHARS = 4_000

MAX_TEXT_CHARS = 200  # of one text the model writes
MAX_ITEMS = 16  # of one list it writes
MAX_SCHEMA_DEPTH = 8  # of one argument it writes
MAX_DESCRIPTION_CHARS = 160  # of one tool, in the prompt
MAX_SHOWN_CHARS = 600  # of one result, in the prompt of the answer

MAX_EXPRESSION_CHARS = 500
MAX_EXPRESSION_DEPTH = 40
MAX_INTEGER_BITS = 1024
MAX_LOOKUP_ROWS = 10
SEARCH_S = 1.0  # how long the slow search waits, as a remote one would
