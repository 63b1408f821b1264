"""SQL for many rows in one statement.

Every statement the writer thread executes gives up the interpreter's lock and has to win it
back from a busy loop; so a batch takes a handful of statements, not one for each row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any

from .database import Statement
from .operations import JOB_COLUMNS

MAX_EXACT = 32
MAX_ROWS = 256
"""Rows in one statement; with 31 columns that is 7,936 values of SQLite's 32,766."""

_TEXT, _INT, _REAL = "?", "CAST(? AS BIGINT)", "CAST(? AS DOUBLE PRECISION)"

CHANGE_TYPES = (
    _TEXT,  # column1: id
    _INT,  # column2: epoch
    _INT,  # column3: number of the event before
    _INT,  # column4: last_seq
    _REAL,  # column5: updated_s
    _TEXT,  # column6: status or NULL
    _REAL,  # column7: ended_s
    _TEXT,  # column8: error_code
    _REAL,  # column9: started_s
    _REAL,  # column10: seconds
    _INT,  # column11: late
    _REAL,  # column12: usd
    _INT,  # column13: prompt_tokens
    _INT,  # column14: output_tokens
    _INT,  # column15: steps
    _REAL,  # column16: predicted_s
    _REAL,  # column17: predicted_usd
    _INT,  # column18: 1 if the lease ends
    _REAL,  # column19: deadline_at_s
    _REAL,  # column20: budget_usd
)

UPDATE_JOBS = """UPDATE jobs SET
    last_seq = v.column4,
    updated_s = v.column5,
    status = coalesce(v.column6, status),
    ended_s = CASE WHEN v.column6 IS NULL THEN ended_s ELSE v.column7 END,
    error_code = CASE WHEN v.column6 IS NULL THEN error_code ELSE v.column8 END,
    started_s = coalesce(started_s, v.column9),
    seconds = coalesce(v.column10, seconds),
    late = CASE WHEN v.column11 > late THEN v.column11 ELSE late END,
    usd = usd + v.column12,
    prompt_tokens = prompt_tokens + v.column13,
    output_tokens = output_tokens + v.column14,
    steps = steps + v.column15,
    predicted_s = coalesce(v.column16, predicted_s),
    predicted_usd = CASE WHEN v.column16 IS NULL THEN predicted_usd ELSE v.column17 END,
    owner = CASE WHEN v.column18 = 1 THEN '' ELSE owner END,
    deadline_at_s = coalesce(v.column19, deadline_at_s),
    budget_usd = coalesce(v.column20, budget_usd)
FROM (VALUES {rows}) AS v
WHERE jobs.id = v.column1 AND jobs.epoch = v.column2 AND jobs.last_seq = v.column3"""

STEP_TYPES = (_TEXT, _INT, _INT, _INT, _REAL, _REAL, _INT, _INT, _INT)

# SQLite rewrites every index that holds a column named here, changed or not: a commit of steps
# would write eight pages instead of two.
UPDATE_STEPS = """UPDATE jobs SET
    last_seq = v.column4,
    updated_s = v.column5,
    usd = usd + v.column6,
    prompt_tokens = prompt_tokens + v.column7,
    output_tokens = output_tokens + v.column8,
    steps = steps + v.column9
FROM (VALUES {rows}) AS v
WHERE jobs.id = v.column1 AND jobs.epoch = v.column2 AND jobs.last_seq = v.column3"""

UPDATE_STEPS_OF_ONE = """UPDATE jobs SET
    last_seq = ?,
    updated_s = ?,
    usd = usd + ?,
    prompt_tokens = prompt_tokens + ?,
    output_tokens = output_tokens + ?,
    steps = steps + ?
WHERE id = ? AND epoch = ? AND last_seq = ?"""

INSERT_JOBS = f"INSERT INTO jobs ({', '.join(JOB_COLUMNS)}) VALUES {{rows}}"
INSERT_EVENTS = "INSERT INTO events (job_id, seq, type, step_id, at_s, data) VALUES {rows}"
RELEASE_JOBS = """UPDATE jobs SET owner = '' FROM (VALUES {rows}) AS v
WHERE jobs.id = v.column1 AND jobs.epoch = v.column2"""
KEEP_DOCUMENTS = "INSERT INTO programs (hash, document) VALUES {rows} ON CONFLICT (hash) DO NOTHING"
ADD_USAGE = """INSERT INTO usage (tenant, width_s, slot, usd, tokens, writer)
SELECT j.tenant, v.column2, v.column3, sum(v.column4), sum(v.column5), v.column6
FROM (VALUES {rows}) AS v JOIN jobs AS j ON j.id = v.column1
GROUP BY j.tenant, v.column2, v.column3, v.column6
ON CONFLICT (tenant, width_s, slot, writer)
DO UPDATE SET usd = usage.usd + excluded.usd, tokens = usage.tokens + excluded.tokens"""
SPEND = """INSERT INTO usage (tenant, width_s, slot, usd, tokens, writer)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant, width_s, slot, writer)
DO UPDATE SET usd = usage.usd + excluded.usd, tokens = usage.tokens + excluded.tokens"""
ADD_DELIVERIES = """INSERT INTO deliveries
(id, job_id, tenant, event, webhook, at_s, next_at_s)
SELECT v.column2, j.id, j.tenant, v.column3, j.webhook, v.column4, v.column4
FROM (VALUES {rows}) AS v JOIN jobs AS j ON j.id = v.column1 WHERE j.webhook <> ''
ON CONFLICT (id) DO NOTHING"""
FIND_KEYS = """SELECT j.tenant, j.idempotency_key, j.id, j.body_hash
FROM (VALUES {rows}) AS v JOIN jobs AS j
ON j.tenant = v.column1 AND j.idempotency_key = v.column2 AND j.idempotency_key <> ''"""
FORGET_CONTROLS = "DELETE FROM controls WHERE epoch > 0 AND job_id IN (VALUES {rows})"

TYPES: dict[str, tuple[str, ...]] = {
    UPDATE_JOBS: CHANGE_TYPES,
    UPDATE_STEPS: STEP_TYPES,
    INSERT_JOBS: ("?",) * len(JOB_COLUMNS),
    INSERT_EVENTS: ("?",) * 6,
    RELEASE_JOBS: (_TEXT, _INT),
    KEEP_DOCUMENTS: ("?", "?"),
    ADD_USAGE: (_TEXT, _INT, _INT, _REAL, _INT, _TEXT),
    ADD_DELIVERIES: (_TEXT, _TEXT, _TEXT, _REAL),
    FIND_KEYS: (_TEXT, _TEXT),
    FORGET_CONTROLS: ("?",),
}


def many(template: str, rows: Iterable[Sequence[Any]], counted: bool = False) -> list[Statement]:
    """Give the statements for some rows; with `counted`, each row must change one.

    Sizes are few (all up to 32, then powers of two), so that the database knows most of them.
    """
    left = list(rows)
    statements = []
    while left:
        size = len(left)
        if size > MAX_EXACT:
            size = min(MAX_ROWS, 1 << (size.bit_length() - 1))
        taken, left = left[:size], left[size:]
        values = list(chain.from_iterable(taken))
        statements.append(Statement(_sql(template, size), values, size if counted else None))
    return statements


@cache
def _sql(template: str, size: int) -> str:
    row = f"({', '.join(TYPES[template])})"
    return template.format(rows=", ".join([row] * size))
