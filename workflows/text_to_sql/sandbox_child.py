"""The process that SQL runs in. Started by path, so it imports the standard library only.

It reads requests from stdin and answers on stdout; a frame is a 4-byte big-endian length and
that many bytes of JSON. The policy (limits, allowed functions) comes with each request; what
is enforced here: no file can be written, memory and CPU time are bounded, SQLite is opened
read-only under an authorizer that allows SELECT alone, PostgreSQL in a read-only transaction
through a cursor, which takes one query and nothing else.
"""

from __future__ import annotations

import json
import math
import resource
import sqlite3
import struct
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

_STEPS_PER_CHECK = 5_000  # virtual-machine steps between two looks at the clock
_MAX_BLOB_SHOWN = 64  # bytes of a BLOB that are given back, in hex
_HIDDEN_TABLES = ("sqlite_dbpage", "dbstat", "sqlite_stmt", "bytecode", "tables_used")

Answer = dict[str, Any]
Request = dict[str, Any]


class Refused(Exception):
    """The request breaks a rule; the message is meant for whoever wrote the SQL."""


def main() -> int:
    """Answer requests until stdin ends."""
    limit_process(int(sys.argv[1]), with_threads=sys.argv[2] == "postgres")
    while (request := read_frame(sys.stdin.buffer)) is not None:
        limit_cpu(request["timeout_s"])
        write_frame(sys.stdout.buffer, answer(request))
    return 0


def limit_process(memory_bytes: int, with_threads: bool) -> None:
    """Give up the right to large memory, to files of any size and to core dumps."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not with_threads:
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def limit_cpu(timeout_s: float) -> None:
    """Let the process use `timeout_s` more CPU seconds, and a little for the answer."""
    used = time.process_time()
    resource.setrlimit(
        resource.RLIMIT_CPU, (math.ceil(used + timeout_s + 1), resource.RLIM_INFINITY)
    )


def answer(request: Request) -> Answer:
    """Run one request; every failure becomes an answer with `error` and `kind`."""
    run = run_postgres if request["dialect"] == "postgres" else run_sqlite
    try:
        return run(request)
    except Refused as error:
        return {"error": str(error), "kind": "refused"}
    except MemoryError:
        return {"error": "the query needs too much memory", "kind": "memory"}
    except Exception as error:  # noqa: BLE001 - the child must outlive any bad request
        return {"error": f"{type(error).__name__}: {error}", "kind": "failed"}


def read_frame(stream: BinaryIO) -> Request | None:
    """Read one request; None at the end of the stream."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    request: Request = json.loads(stream.read(struct.unpack(">I", head)[0]))
    return request


def write_frame(stream: BinaryIO, answer: Answer) -> None:
    """Write one answer."""
    body = json.dumps(answer).encode()
    stream.write(struct.pack(">I", len(body)) + body)
    stream.flush()


# SQLite


def run_sqlite(request: Request) -> Answer:
    """Run one statement on a SQLite file."""
    connection = sqlite3.connect(
        request["target"], uri=True, isolation_level=None, cached_statements=0
    )
    try:
        guard(connection, request)
        return select(connection, request)
    finally:
        connection.close()


def guard(connection: sqlite3.Connection, request: Request) -> None:
    """Arm the limits and the authorizer; the authorizer comes last, as it denies PRAGMA."""
    limits = (
        (sqlite3.SQLITE_LIMIT_LENGTH, request["max_value_bytes"]),
        (sqlite3.SQLITE_LIMIT_SQL_LENGTH, request["max_statement_chars"] * 4),
        (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 200),
        (sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 50),
        (sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1_000),
        (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
        (sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0),
    )
    for limit, value in limits:
        connection.setlimit(limit, value)
    connection.text_factory = decode
    connection.execute(f"PRAGMA hard_heap_limit = {int(request['heap_bytes'])}")
    for pragma in ("trusted_schema = OFF", "temp_store = MEMORY", "query_only = ON", "mmap_size=0"):
        connection.execute(f"PRAGMA {pragma}")
    ends_at = time.monotonic() + request["timeout_s"]
    connection.set_progress_handler(lambda: time.monotonic() > ends_at, _STEPS_PER_CHECK)
    connection.set_authorizer(authorizer(frozenset(request["functions"])))


def authorizer(functions: frozenset[str]) -> Any:
    """Make the callback that allows reading and the named functions, nothing else."""

    def allow(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ and (first or "").lower() not in _HIDDEN_TABLES:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in functions:
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    return allow


def select(connection: sqlite3.Connection, request: Request) -> Answer:
    """Run the statement and collect its rows; SQLite's own errors keep their words."""
    try:
        cursor = connection.execute(request["sql"])
        if cursor.description is None:
            raise Refused("only a SELECT statement gives an answer")
        columns = [column[0] for column in cursor.description]
        return collect(columns, cursor, request)
    except sqlite3.Warning as error:  # Python 3.11 says so of stacked statements
        raise Refused("only one statement may be run") from error
    except sqlite3.Error as error:
        return sqlite_error(error)


def sqlite_error(error: sqlite3.Error) -> Answer:
    """Sort SQLite's message into a kind and a sentence."""
    text = str(error)
    if text == "interrupted":
        return {"error": "the query ran out of time", "kind": "timeout"}
    if "out of memory" in text or not text:
        return {"error": "the query needs too much memory", "kind": "memory"}
    if "not authorized" in text or "prohibited" in text:
        return {"error": f"{text}: only reading is allowed", "kind": "refused"}
    if "one statement" in text:
        return {"error": "only one statement may be run", "kind": "refused"}
    return {"error": text, "kind": "failed"}


def decode(raw: bytes) -> str:
    """Read text, leaving out bytes that are not UTF-8."""
    return raw.decode("utf-8", errors="ignore")


# PostgreSQL


def run_postgres(request: Request) -> Answer:
    """Run one query on a PostgreSQL server, in a read-only transaction that is rolled back."""
    import psycopg

    millis = max(1, int(request["timeout_s"] * 1000))
    options = (
        f"-c default_transaction_read_only=on -c statement_timeout={millis}"
        f" -c lock_timeout={millis} -c standard_conforming_strings=on"
    )
    try:
        with psycopg.connect(request["target"], options=options, connect_timeout=5) as connection:
            try:
                return fetch(connection, request)
            finally:
                connection.rollback()
    except psycopg.errors.QueryCanceled:
        return {"error": "the query ran out of time", "kind": "timeout"}
    except psycopg.Error as error:
        return {"error": first_line(str(error)), "kind": "failed"}


def fetch(connection: Any, request: Request) -> Answer:
    """Declare a cursor for the query through the extended protocol and read from it."""
    import psycopg

    refuse_powerful(connection)
    declare = f"DECLARE gangline_rows NO SCROLL CURSOR FOR {request['sql']}"
    # exec_params is the extended protocol: the server itself refuses a second statement.
    result = connection.pgconn.exec_params(declare.encode(), [])
    if result.error_message:
        raise psycopg.errors.error_from_result(result)
    with connection.cursor() as cursor:
        wanted = request["max_rows"] + 1
        cursor.execute(f"FETCH FORWARD {int(wanted)} FROM gangline_rows")
        columns = [column.name for column in cursor.description or ()]
        return collect(columns, cursor, request)


def refuse_powerful(connection: Any) -> None:
    """Refuse users to whom a query could open the server's files and programs."""
    powers = (
        "SELECT current_setting('is_superuser') = 'on'"
        " OR pg_has_role(current_user, 'pg_read_server_files', 'MEMBER')"
        " OR pg_has_role(current_user, 'pg_write_server_files', 'MEMBER')"
        " OR pg_has_role(current_user, 'pg_execute_server_program', 'MEMBER')"
    )
    if connection.execute(powers).fetchone()[0]:
        raise Refused(
            "this PostgreSQL user may read the server's files or run programs:"
            " use a plain user that may only SELECT"
        )


def first_line(text: str) -> str:
    """Give the first line of a driver's message, without its label."""
    line = text.strip().splitlines()[0] if text.strip() else "the query failed"
    return line.removeprefix("ERROR:").strip()


# Rows


def collect(columns: list[str], rows: Iterable[Sequence[Any]], request: Request) -> Answer:
    """Take rows until a limit; `truncated` tells that there were more."""
    taken: list[list[Any]] = []
    num_bytes = 0
    for row in rows:
        plain = [to_json(value) for value in row]
        num_bytes += sum(len(value) if isinstance(value, str) else 8 for value in plain)
        # Invariant: what is taken stays within both limits.
        if len(taken) >= request["max_rows"] or num_bytes > request["max_bytes"]:
            return {"columns": columns, "rows": taken, "truncated": True}
        taken.append(plain)
    return {"columns": columns, "rows": taken, "truncated": False}


def to_json(value: Any) -> Any:
    """Give a value of a row as JSON can carry it."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (bytes, memoryview)):
        return bytes(value[:_MAX_BLOB_SHOWN]).hex()
    if type(value).__name__ == "Decimal":
        return int(value) if value == value.to_integral_value() else float(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


if __name__ == "__main__":
    sys.exit(main())
