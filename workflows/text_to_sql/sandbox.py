"""Run untrusted SQL in warm child processes; whatever goes wrong comes back as data."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gangline.workflows.cancel_token import cancelled, on_cancel

from . import settings
from .functions import POSTGRES_FUNCTIONS, SQLITE_FUNCTIONS
from .location import Location, locate, sqlite_uri
from .postgres_guard import refusal
from .worker import ChildLost, Worker

_GRACE_S = 0.5  # what a child gets beyond the time limit to say so itself
_START_S = 10.0  # what a new child gets to start on a loaded machine
_ESCAPED = 6  # bytes of JSON that one character may take
_LOST = {
    "timeout": "the query ran out of time",
    "memory": "the query needs too much memory",
    "died": "the query was stopped: it broke a time or memory limit",
    "cancelled": "the query was stopped: nobody waits for it any more",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one query may use."""

    timeout_s: float = settings.SQL_TIMEOUT_S
    max_rows: int = settings.MAX_ROWS
    max_bytes: int = settings.MAX_RESULT_BYTES


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one query.

    `kind` is empty on success, else `refused` (not allowed), `failed` (the database's own
    error), `timeout`, `memory`, `died` or `cancelled`; `error` is one sentence.
    """

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    truncated: bool = False
    error: str = ""
    kind: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Tell whether there is a result."""
        return not self.kind


@dataclass
class Sandbox:
    """A pool of children; safe to use from many threads. A lost child is replaced."""

    max_children: int = settings.MAX_CHILDREN
    memory_bytes: int = settings.CHILD_MEMORY_BYTES
    _idle: list[Worker] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._places = threading.BoundedSemaphore(self.max_children)

    def run(self, db: str, sql: str, limits: Limits | None = None) -> Outcome:
        """Run one query; DatabaseError only when there is no database at `db`."""
        location = locate(db)
        limits = limits or Limits()
        refused = _refusal(location, sql)
        if refused:
            return Outcome(error=refused, kind="refused")
        started = time.monotonic()
        answer = self._answer(location, _request(location, sql, limits), limits)
        return _outcome(answer, time.monotonic() - started)

    def close(self) -> None:
        """End all idle children."""
        with self._lock:
            workers, self._idle = self._idle, []
        for worker in workers:
            worker.kill()

    def _answer(
        self, location: Location, request: Mapping[str, Any], limits: Limits
    ) -> Mapping[str, Any]:
        with self._places:
            worker, fresh = self._take(location, limits)
            patience = limits.timeout_s + _GRACE_S + (_START_S if fresh else 0.0)
            try:
                with on_cancel(worker.stop):
                    answer = worker.ask(request, patience)
            except ChildLost as lost:
                kind = "cancelled" if cancelled() else lost.kind
                return {"error": _LOST[kind], "kind": kind}
            if answer.get("kind") == "memory" or cancelled():
                worker.kill()  # its heap may be torn, or it was stopped after its answer
            else:
                self._give_back(worker)
            return answer

    def _take(self, location: Location, limits: Limits) -> tuple[Worker, bool]:
        with self._lock:
            for index, worker in enumerate(self._idle):
                if worker.dialect == location.dialect:
                    return self._idle.pop(index), False
        # A query's rows are bounded by max_bytes; column names and JSON marks come on top.
        room = max(limits.max_bytes, settings.MAX_RESULT_BYTES) * _ESCAPED + (1 << 22)
        return Worker(location.dialect, self.memory_bytes, room), True

    def _give_back(self, worker: Worker) -> None:
        with self._lock:
            self._idle.append(worker)


_default: Sandbox | None = None
_default_lock = threading.Lock()


def default_sandbox() -> Sandbox:
    """Give the process-wide sandbox; its children end with the process."""
    global _default
    with _default_lock:
        if _default is None:
            _default = Sandbox()
            atexit.register(_default.close)
        return _default


def _refusal(location: Location, sql: str) -> str:
    if len(sql) > settings.MAX_STATEMENT_CHARS:
        return f"the statement is longer than {settings.MAX_STATEMENT_CHARS} characters"
    if "\x00" in sql:
        return "the statement holds a NUL character"
    if not sql.strip():
        return "the statement is empty"
    return refusal(sql) if location.dialect == "postgres" else ""


def _request(location: Location, sql: str, limits: Limits) -> dict[str, Any]:
    postgres = location.dialect == "postgres"
    return {
        "dialect": location.dialect,
        "target": location.target if postgres else sqlite_uri(location.target),
        "sql": sql.strip().rstrip(";") if postgres else sql,
        "timeout_s": limits.timeout_s,
        "max_rows": limits.max_rows,
        "max_bytes": limits.max_bytes,
        "max_value_bytes": settings.MAX_VALUE_BYTES,
        "max_statement_chars": settings.MAX_STATEMENT_CHARS,
        "heap_bytes": settings.SQLITE_HEAP_BYTES,
        "functions": sorted(POSTGRES_FUNCTIONS if postgres else SQLITE_FUNCTIONS),
    }


def _outcome(answer: Mapping[str, Any], seconds: float) -> Outcome:
    if "kind" in answer:
        return Outcome(error=answer["error"], kind=answer["kind"], seconds=seconds)
    rows = tuple(tuple(row) for row in answer["rows"])
    return Outcome(tuple(answer["columns"]), rows, answer["truncated"], seconds=seconds)
