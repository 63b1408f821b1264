"""What jobs that ask, expand, fork, expire and stop leave behind fits the published schemas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import pytest

from gangline.ir.specs.event import Event
from gangline.runtime.dispatch.fork import fork, retry_from
from gangline.runtime.dispatch.job import Job, result_of
from gangline.runtime.dispatch.job_run import JobRun
from gangline.runtime.dispatch.pricing import Pricing
from tests.runtime.conftest import planned_tool

Validate = Callable[[str, Any], None]


class Log:
    """One job under way: its run, its events, and the calls it wants made."""

    def __init__(self, program: Any, **limits: Any) -> None:
        self.run = JobRun("j", Pricing(None))
        job = Job("w", program, {}, metadata={"who": "me"}, **limits)
        self.events: list[Event] = list(self.run.queue(job.to_event_data(), 100.0).events)
        self.actions: list[Any] = []
        self.take(self.run.start(100.0))

    def take(self, advance: Any) -> None:
        self.events += advance.events
        self.actions += advance.actions

    def call(self, value: Any) -> None:
        self.take(self.run.completed(self.actions.pop(0), value, 101.0, 100.5, 101.0))


def check(validate: Validate, events: Sequence[Event], status: str) -> None:
    for event in events:
        validate("event", asdict(event))
    document = result_of(events).to_json()
    validate("job_result", document)
    assert document["status"] == status


@pytest.fixture
def log(builder: Any) -> Log:
    p = builder()
    plan = p.expand(p.tool("plan"), tools=[planned_tool("add")])
    sure = p.ask(p.constant("Sure?"), type="boolean")
    return Log(p.done(p.compute("list", plan, sure, p.tool("send", effects="write"))))


PLAN = [{"id": "a", "tool": "add", "arguments": {"a0": 1}}]


def test_at_every_event_of_a_job_that_asks_and_plans(log: Log, validate: Validate) -> None:
    log.call(PLAN)
    log.call("sent")
    log.call(1)
    check(validate, log.events, "input_required")
    log.take(log.run.start(200.0, {"resumed": True, "answers": {"ask": True}}))
    check(validate, log.events, "succeeded")
    for end in range(1, len(log.events)):
        validate("job_result", result_of(log.events[:end]).to_json())


def test_a_bad_plan(log: Log, validate: Validate) -> None:
    log.call([{"id": "a", "tool": "rm"}])
    log.call("sent")
    check(validate, log.events, "failed")


def test_a_write_of_unknown_effect(log: Log, validate: Validate) -> None:
    again = JobRun("j", Pricing(None))
    again.replay(log.events)
    log.events += again.start(200.0, {"resumed": True}).events
    check(validate, log.events, "input_required")
    log.events += again.start(300.0, {"resumed": True, "answers": {"send": {"rerun": True}}}).events
    check(validate, log.events, "running")


def test_forked_and_retried(log: Log, validate: Validate) -> None:
    log.call(PLAN)
    log.call("sent")
    log.call(1)
    made = fork(log.events, "expand", job_id="k", now=300.0)
    assert len(made) == 3
    check(validate, made, "queued")
    kept = result_of(made).to_json()["steps"]
    assert [(step["from_job"], step["start_s"]) for step in kept] == [("j", None)] * 2
    data = retry_from(log.events, "plan")
    again = JobRun("j", Pricing(None))
    again.replay(log.events, data["dropped"])
    check(validate, log.events + again.start(300.0, data).events, "running")


def test_cancelled_and_given_up(log: Log, validate: Validate) -> None:
    log.take(log.run.cancel(101.0))
    log.take(log.run.give_up(140.0))
    check(validate, log.events, "cancelled")


def test_expired(builder: Any, validate: Validate) -> None:
    p = builder()
    log = Log(p.done(p.tool("a")), deadline_s=5.0, on_deadline="expire")
    log.take(log.run.expire(105.0))
    check(validate, log.events, "expired")
