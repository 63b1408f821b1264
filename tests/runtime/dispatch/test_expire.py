"""Hard deadlines: before the start, while running, with writes in flight; and jitter."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest

from gangline.ir.errors import ConflictError, InputError
from gangline.ir.specs.event import Event
from gangline.runtime.dispatch.backoff import MAX_BACKOFF_S, backoff_s
from gangline.runtime.dispatch.job import Job, result_of
from gangline.runtime.dispatch.job_run import JobRun
from gangline.runtime.dispatch.pricing import Pricing
from gangline.runtime.execution.executor import Executor


def begun(program: Any, **limits: Any) -> tuple[JobRun, list[Event], list[Any]]:
    run = JobRun("j", Pricing(None))
    events = run.queue(Job("w", program, {}, **limits).to_event_data(), 100.0).events
    advance = run.start(100.0)
    return run, events + advance.events, advance.actions


def test_a_job_expires_before_it_starts(builder: Any) -> None:
    p = builder()
    program = p.done(p.tool("ask"))
    run = JobRun("j", Pricing(None))
    run.queue(Job("w", program, {}, deadline_s=5.0, on_deadline="expire").to_event_data(), 100.0)
    advance = run.start(105.0)
    assert [event.type for event in advance.events] == ["job.expired"]
    assert advance.actions == [] and advance.events[0].data["error"]["code"] == "expired"
    assert run.ended and run.dispatcher.status == "expired"


def test_a_job_that_may_be_late_does_not_expire(builder: Any) -> None:
    p = builder()
    run, _, (ask,) = begun(p.done(p.tool("ask")), deadline_s=5.0)
    assert run.expire(200.0).events == []
    assert run.completed(ask, 1, 200.0, 199.0, 200.0).events[-1].data["late"] is True


def test_nothing_expires_before_its_time(builder: Any) -> None:
    p = builder()
    run, _, _ = begun(p.done(p.tool("ask")), deadline_s=5.0, on_deadline="expire")
    assert run.expire(104.9).events == []
    assert [e.type for e in run.expire(105.0).events] == ["job.expired"]
    assert run.expire(106.0).events == []


def test_a_write_in_flight_is_recorded_before_the_job_expires(builder: Any) -> None:
    p = builder()
    both = p.compute("list", p.tool("send", effects="write"), p.tool("ask"))
    run, events, (send, _) = begun(p.done(both), deadline_s=5.0, on_deadline="expire")
    waiting = run.expire(105.0)
    assert waiting.events == [] and run.stopping
    last = run.completed(send, "sent", 107.0, 100.0, 107.0)
    assert [event.type for event in last.events] == ["step.completed", "job.expired"]
    steps = {step.id: step for step in result_of(events + last.events).steps}
    assert steps["send"].status == "succeeded" and steps["ask"].status == "cancelled"


def test_a_crashed_job_whose_time_is_up_ends(builder: Any) -> None:
    p = builder()
    program = p.done(p.tool("send", effects="write"))
    _, events, _ = begun(program, deadline_s=5.0, on_deadline="expire")
    run = JobRun("j", Pricing(None))
    run.replay(events)
    assert [e.type for e in run.start(200.0, {"resumed": True}).events] == ["job.expired"]


def test_a_new_deadline_brings_a_waiting_job_back(builder: Any) -> None:
    p = builder()
    program = p.done(p.tool("ask"))
    _, events, _ = begun(program, deadline_s=5.0, on_deadline="expire")
    run = JobRun("j", Pricing(None))
    run.replay(events)
    advance = run.start(200.0, {"resumed": True, "deadline_s": 10.0})
    actions: list[Any] = list(advance.actions)
    assert [action.step.id for action in actions] == ["ask"] and run.expires_s == 210.0


def test_a_job_that_expired_is_not_begun_again(builder: Any) -> None:
    p = builder()
    program = p.done(p.tool("ask"))
    run, events, _ = begun(program, deadline_s=5.0, on_deadline="expire")
    events = events + run.expire(106.0).events
    again = JobRun("j", Pricing(None))
    again.replay(events)
    with pytest.raises(ConflictError):
        again.start(200.0, {"resumed": True})
    more = again.start(200.0, {"resumed": True, "deadline_s": 9.0})
    assert len(more.actions) == 1 and again.expires_s == 209.0


def test_the_executor_ends_a_job_at_its_deadline(
    builder: Any, tools: dict[str, Any], plain_tool: Any, executor: Executor, store: Any
) -> None:
    release = threading.Event()
    tools["hang"] = plain_tool(lambda: release.wait(30.0))
    p = builder()
    job = Job("w", p.done(p.tool("hang")), {}, deadline_s=0.2, on_deadline="expire")
    result = executor.run(job)
    release.set()
    assert result.status == "expired" and result.error is not None
    assert result.error["code"] == "expired"
    assert store.job(result.job_id).status == "expired"


def test_on_deadline_is_one_of_two(builder: Any) -> None:
    p = builder()
    with pytest.raises(InputError):
        Job("w", p.done(p.tool("ask")), {}, on_deadline="never").to_event_data()


def test_jitter_is_drawn_from_the_step_and_not_from_chance() -> None:
    random.seed(1)
    first = [backoff_s(n, "j/ask") for n in range(1, 9)]
    random.seed(2)
    assert first == [backoff_s(n, "j/ask") for n in range(1, 9)]
    for attempt, seconds in enumerate(first, 1):
        whole = min(MAX_BACKOFF_S, 0.5 * 2 ** (attempt - 1))
        assert whole / 2 <= seconds <= whole


def test_steps_that_fail_together_do_not_come_back_together() -> None:
    delays = [backoff_s(4, f"j/map[{index}]/ask") for index in range(1000)]
    assert len(set(delays)) == 1000
    assert 2.9 < sum(delays) / 1000 < 3.1 and min(delays) < 2.05 and max(delays) > 3.95
