"""Logs: one JSON object or one line of text each, written on a thread of their own, redacted."""

from __future__ import annotations

import atexit
import contextlib
import copy
import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from logging.handlers import QueueHandler
from queue import Full, Queue
from typing import Any, Literal, TextIO

from gangline.ir.errors import GanglineError
from gangline.runtime.redact import MASK, redact

FIELDS = ("job_id", "step_id", "tenant", "trace_id", "span_id", "request_id")
"""What a record may say of where it belongs: `logger.info(..., extra={"job_id": ...})`."""
LOGGERS = ("gangline", "uvicorn.error")
_FOREIGN_LEVEL = logging.WARNING
"""What other packages tell of themselves below this is of no use to an operator of gangline."""
MAX_WAITING = 10_000
MAX_TEXT = 10_000
_PATIENCE_S = 2.0

LogFormat = Literal["json", "text"]

_KEY = re.compile(r"(\bgl-|\bBearer\s+)[\w.~+/=-]{12,}", re.IGNORECASE)


def hide(text: str) -> str:
    """Mask what must not be in a log: passwords in addresses, and API keys."""
    return _KEY.sub(rf"\1{MASK}", redact(text))


class JsonFormatter(logging.Formatter):
    """Write a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line; whatever the record holds, it is one line and it is JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": hide(record.getMessage())[:MAX_TEXT],
            **{name: getattr(record, name) for name in FIELDS if getattr(record, name, None)},
        }
        if isinstance(facts := getattr(record, "facts", None), dict):
            line |= {key: value for key, value in facts.items() if key not in line}
        if record.exc_text:
            line["error"] = hide(record.exc_text)[:MAX_TEXT]
        return json.dumps(line, ensure_ascii=False, default=_text)


class TextFormatter(logging.Formatter):
    """Write a record for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the text; line breaks in the message are escaped, so that nobody forges a line."""
        when = datetime.fromtimestamp(record.created).astimezone().isoformat(" ", "milliseconds")
        message = hide(record.getMessage())[:MAX_TEXT].replace("\r", "\\r").replace("\n", "\\n")
        where = " ".join(
            f"{name}={getattr(record, name)}" for name in FIELDS if getattr(record, name, None)
        )
        line = " ".join(filter(None, (when, f"{record.levelname:<7}", record.name, message, where)))
        return f"{line}\n{hide(record.exc_text)[:MAX_TEXT]}" if record.exc_text else line


class _Handler(QueueHandler):
    """Hand records to the writing thread; a full queue loses the record, not the server's time."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Make the record independent of what it was made of."""
        made = copy.copy(record)
        try:
            made.msg, made.args = record.getMessage(), None
        except Exception:  # noqa: BLE001 (a wrong log call must not end a request)
            made.msg, made.args = str(record.msg), None
        if record.exc_info and record.exc_info[1] is not None:
            made.exc_text = "".join(traceback.format_exception(record.exc_info[1]))
            made.exc_info = None
        return made

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue a record, or drop it."""
        try:
            self.queue.put_nowait(record)
        except Full:
            dropped.count += 1


class _Writer:
    """The thread that writes. If its stream hangs it is left behind: it must not hold the exit."""

    def __init__(self, records: Queue[logging.LogRecord | None], out: logging.Handler) -> None:
        self._records = records
        self._out = out
        self._thread = threading.Thread(target=self._write, name="gangline-logs", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, and end."""
        with contextlib.suppress(Full):
            self._records.put(None, timeout=_PATIENCE_S)
            self._thread.join(_PATIENCE_S)

    def _write(self) -> None:
        while (record := self._records.get()) is not None:
            self._out.handle(record)


class _Dropped:
    count = 0


dropped = _Dropped()
"""`count`: log records that were lost because the writer could not keep up."""


def configure_logging(
    log_format: LogFormat = "text",
    level: int | str = logging.INFO,
    stream: TextIO | None = None,
) -> Callable[[], None]:
    """Send the logs of the server to a stream (stderr); gives what stops it and puts all back."""
    out = logging.StreamHandler(stream or sys.stderr)
    out.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    records: Queue[logging.LogRecord | None] = Queue(MAX_WAITING)
    handler = _Handler(records)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    kept = [(one, one.handlers[:], one.level, one.propagate) for one in loggers]
    for one in loggers:
        one.handlers[:], one.propagate = [handler], False
        one.setLevel(level)
    logging.getLogger("uvicorn.error").setLevel(_FOREIGN_LEVEL)
    writer = _Writer(records, out)

    def stop() -> None:
        atexit.unregister(stop)
        for one, handlers, was, propagates in kept:
            one.handlers[:], one.propagate = handlers, propagates
            one.setLevel(was)
        writer.stop()

    atexit.register(stop)
    return stop


def _text(value: Any) -> str:
    return value.detail if isinstance(value, GanglineError) else str(value)
