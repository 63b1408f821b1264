"""Log lines: JSON whatever happens, ids to find them by, secrets and content out, never in the way."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gangline.ir.specs.event import Event
from gangline.runtime.telemetry import logs
from gangline.runtime.telemetry.job_log import JobLog
from gangline.runtime.telemetry.logs import configure_logging, dropped
from gangline.runtime.telemetry.telemetry import Telemetry

logger = logging.getLogger("gangline.test")


class Written:
    """A stream, and what stops the logging that goes to it."""

    def __init__(self, log_format: Any, level: int = logging.DEBUG) -> None:
        self.stream = io.StringIO()
        self._stop: Callable[[], None] | None = configure_logging(log_format, level, self.stream)

    def text(self) -> str:
        self.stop()
        return self.stream.getvalue()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]

    def stop(self) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None


@pytest.fixture
def written() -> Iterator[Callable[..., Written]]:
    made: list[Written] = []

    def make(log_format: str = "json", level: int = logging.DEBUG) -> Written:
        made.append(Written(log_format, level))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def test_a_line_is_json_with_its_ids(written: Callable[..., Written]) -> None:
    out = written()
    logger.warning("it is %s", "late", extra={"job_id": "j1", "step_id": "s", "trace_id": "t"})
    (line,) = out.lines()
    assert (line["level"], line["logger"], line["message"]) == (
        "warning",
        "gangline.test",
        "it is late",
    )
    assert (line["job_id"], line["step_id"], line["trace_id"]) == ("j1", "s", "t")
    assert line["time"].endswith("+00:00")
    assert "tenant" not in line


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_nobody_forges_a_line(log_format: str, written: Callable[..., Written]) -> None:
    out = written(log_format)
    logger.info("user said %s", "x\n2026-01-01 ERROR all is lost\r\n{}")
    assert len(out.text().splitlines()) == 1


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize(
    "secret",
    [
        "postgres://me:hush-hush-hush@db/x",
        "Authorization: Bearer hush-hush-hush",
        "gl-hush-hush-hush",
        "?password=hush-hush-hush&x=1",
    ],
)
def test_secrets_are_masked(log_format: str, secret: str, written: Callable[..., Written]) -> None:
    out = written(log_format)
    try:
        raise ValueError(f"with {secret}")
    except ValueError:
        logger.exception("could not use %s", secret)
    text = out.text()
    assert "hush" not in text
    assert "ValueError" in text


def test_a_traceback_goes_along(written: Callable[..., Written]) -> None:
    out = written()
    try:
        raise KeyError("gone")
    except KeyError:
        logger.exception("no")
    (line,) = out.lines()
    assert "test_a_traceback_goes_along" in line["error"]
    assert "KeyError: 'gone'" in line["error"]


def test_a_wrong_log_call_is_still_a_line(written: Callable[..., Written]) -> None:
    out = written()
    logger.info("one %s two %s", 1)  # noqa: PLE1206 (that is the point)
    logger.info("fine", extra={"facts": {"what": object(), "message": "not mine"}})
    first, second = out.lines()
    assert first["message"] == "one %s two %s"
    assert second["message"] == "fine"


def test_levels(written: Callable[..., Written]) -> None:
    out = written(level=logging.WARNING)
    logger.info("no")
    logger.warning("yes")
    assert [line["message"] for line in out.lines()] == ["yes"]


def test_all_is_put_back(written: Callable[..., Written]) -> None:
    root = logging.getLogger("gangline")
    before = (root.handlers[:], root.level, root.propagate)
    out = written()
    assert (root.handlers, root.level, root.propagate) != before
    out.stop()
    assert (root.handlers, root.level, root.propagate) == before


def test_a_stream_that_hangs_does_not_hold_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full queue loses records and counts them; a log call never waits."""
    monkeypatch.setattr(logs, "MAX_WAITING", 5)
    release = threading.Event()

    class Hanging(io.StringIO):
        def write(self, text: str) -> int:
            release.wait(30)
            return len(text)

    before = dropped.count
    stop = configure_logging("json", logging.INFO, Hanging())
    for _ in range(50):
        logger.info("x")
    assert dropped.count - before >= 40
    monkeypatch.setattr(logs, "_PATIENCE_S", 0.01)
    stop()
    release.set()


def test_what_happens_to_jobs(
    written: Callable[..., Written], run_events: Callable[..., list[Event]]
) -> None:
    out = written()
    telemetry = Telemetry([JobLog()])
    telemetry.on_events([*run_events("ann"), *run_events("fail")])
    telemetry.close()
    told = [line for line in out.lines() if line["logger"] == "gangline.jobs"]
    assert {line["event"] for line in told if line["level"] != "debug"} == {
        "step.failed",
        "job.failed",
    }
    lines = [line for line in told if line["event"] != "job.queued"]
    assert [line["event"] for line in lines] == [
        "job.started",
        "job.completed",
        "job.started",
        "step.failed",
        "job.failed",
    ]
    assert {line["workflow"] for line in lines} == {"hand_made"}
    assert all(line["job_id"] for line in lines)
    assert lines[3]["step_id"] == "greeting"
    assert (lines[4]["level"], lines[4]["code"]) == ("error", "step")
    assert lines[1]["seconds"] >= 0
    text = json.dumps(lines)
    assert "hello" not in text  # neither outputs nor what a tool raised
    assert "hush" not in text


def test_a_job_s_line_has_the_caller_s_trace(written: Callable[..., Written]) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    data = {"workflow": "w", "tenant": "acme", "trace": f"00-{trace}-b7ad6b7169203331-01"}
    out = written()
    telemetry = Telemetry([JobLog()])
    telemetry.on_events([Event("j", 1, "job.queued", 1.0, "", data)])
    telemetry.close()
    (line,) = out.lines()
    assert (line["trace_id"], line["tenant"], line["level"]) == (trace, "acme", "debug")
