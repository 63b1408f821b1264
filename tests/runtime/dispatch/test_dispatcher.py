"""What the dispatcher decides: budget, retries, deadlines, crashes with writes in flight."""

from __future__ import annotations

from typing import Any

import pytest

from gangline.ir.errors import JobError, StepError, StepTimeout
from gangline.ir.program import Program
from gangline.ir.specs.event import Event
from gangline.ir.specs.plan import Plan, StagePlan
from gangline.ir.specs.request import FirstToken
from gangline.runtime.dispatch.advance import Advance
from gangline.runtime.dispatch.backoff import backoff_s
from gangline.runtime.dispatch.commands import Encode, RetryAfter, RunTool, SubmitRequest
from gangline.runtime.dispatch.job import Job
from gangline.runtime.dispatch.job_run import Check, JobRun
from gangline.runtime.dispatch.pricing import Pricing


def plan_of(program: Program, usd: float = 0.0, seconds: float = 1.0) -> Plan:
    rows = tuple(
        StagePlan(stage.name, stage.op, f"dev/{stage.id % 2}", seconds, usd)
        for stage in program.stages
    )
    return Plan("w", program.hash, "f", rows, seconds, usd)


def start(
    program: Program, inputs: dict[str, Any], check: Check | None = None, **options: Any
) -> tuple[JobRun, Advance]:
    run = JobRun("j", Pricing(None), check) if check else JobRun("j", Pricing(None))
    first = run.queue(Job("w", program, inputs, **options).to_event_data(), 100.0)
    then = run.start(100.0)
    return run, Advance(first.events + then.events, then.actions)


def types(advance: Advance) -> list[str]:
    return [event.type for event in advance.events]


def todo(advance: Advance) -> list[Any]:
    return list(advance.actions)


def done(run: JobRun, action: Any, value: Any, now: float = 101.0) -> Advance:
    return run.completed(action, value, now, now - 1, now)


def test_budget_parks_steps_and_then_fails(builder: Any) -> None:
    p = builder()
    items = p.constant([1, 2, 3])
    program = p.done(p.map(items, lambda item: p.tool("ask", item)))
    run, advance = start(program, {}, plan=plan_of(program, usd=1.0), budget_usd=2.5)
    assert [action.step.id for action in todo(advance)] == ["map[0]/ask", "map[1]/ask"]
    event = Event("j", run.last_seq + 1, "step.completed", 101.0, "map[0]/ask", {"usd": 1.0})
    assert run.dispatcher.apply(event, 101.0) == []
    event = Event("j", run.last_seq + 2, "step.completed", 101.0, "map[1]/ask", {"usd": 1.0})
    (fail,) = run.dispatcher.apply(event, 101.0)
    assert getattr(fail, "error", {})["code"] == "budget"


def test_a_cheap_outcome_frees_the_parked_step(builder: Any) -> None:
    p = builder()
    items = p.constant([1, 2])
    program = p.done(p.map(items, lambda item: p.tool("ask", item)))
    run, advance = start(program, {}, plan=plan_of(program, usd=1.0), budget_usd=1.5)
    assert len(todo(advance)) == 1
    advance = done(run, todo(advance)[0], 1)  # costs nothing: the fleet has no price
    assert [action.step.id for action in todo(advance)] == ["map[1]/ask"]
    assert types(done(run, todo(advance)[0], 2))[-1] == "job.completed"


def test_prefill_and_decode_are_one_request(builder: Any) -> None:
    p = builder("q")
    program = p.done(p.llm("draft", p.inputs[0]))
    run, advance = start(program, {"q": "x"}, plan=plan_of(program), deadline_s=50.0)
    (encode,) = todo(advance)
    assert isinstance(encode, Encode)
    assert encode.messages == ({"role": "user", "content": "draft: x"},)
    assert encode.serving_device == "dev/1"  # where the prefill reads the tokens
    advance = done(run, encode, [7, 8, 9])
    (submit,) = todo(advance)
    assert isinstance(submit, SubmitRequest)
    assert (submit.prompt_tokens, submit.deadline_s) == ((7, 8, 9), 150.0)
    assert submit.remaining_s == 1.0  # the detokenize after it
    assert [(e.type, e.step_id) for e in advance.events[1:]] == [("step.started", "draft.prefill")]
    first = run.first_token(submit, FirstToken(submit.request_id, 102.0, 3, 0), 102.0)
    assert [(e.type, e.step_id) for e in first.events] == [("step.started", "draft.decode")]


def test_retry_backs_off_and_gives_up(builder: Any) -> None:
    p = builder()
    program = p.done(p.tool("ask", retries=2))
    run, advance = start(program, {})
    delays = []
    for _ in range(2):
        failed = run.failed(todo(advance)[0].step, StepError("no"), 101.0)
        (retry,) = todo(failed)
        assert isinstance(retry, RetryAfter) and types(failed) == ["step.failed"]
        delays.append(retry.delay_s)
        advance = run.retrying(retry.step, 102.0)
        assert types(advance) == ["step.retrying", "step.started"]
    assert delays == [backoff_s(1, "j/ask"), backoff_s(2, "j/ask")]
    last = run.failed(todo(advance)[0].step, StepError("no"), 103.0)
    assert types(last) == ["step.failed", "job.failed"]
    assert last.events[-1].data["error"]["where"] == "step ask"


def test_the_answer_of_an_attempt_that_timed_out_is_dropped(builder: Any) -> None:
    p = builder()
    program = p.done(p.tool("ask", retries=1))
    run, advance = start(program, {})
    late = todo(advance)[0]
    retry = todo(run.failed(late.step, StepTimeout("slow"), 101.0))[0]
    assert done(run, late, "late").events == []
    again = todo(run.retrying(retry.step, 102.0))[0]
    assert done(run, late, "late").events == []
    assert done(run, again, "right").events[-1].data["output"] == "right"


def test_a_write_that_timed_out_is_not_tried_again(builder: Any) -> None:
    p = builder()
    program = p.done(p.tool("send", retries=3, effects="write"))
    run, advance = start(program, {})
    failed = run.failed(todo(advance)[0].step, StepTimeout("slow"), 101.0)
    assert types(failed) == ["step.failed", "job.failed"]
    resumed = run.start(200.0, {"resumed": True})
    assert types(resumed) == ["job.started", "job.input_required"]


@pytest.mark.parametrize(
    ("effects", "idempotent", "asks"),
    [
        ("none", False, False),
        ("read", False, False),
        ("write", True, False),
        ("write", False, True),
    ],
)
def test_in_flight_at_a_crash(builder: Any, effects: str, idempotent: bool, asks: bool) -> None:
    p = builder()
    program = p.done(p.tool("send", effects=effects, idempotent=idempotent))
    _, advance = start(program, {})
    run = JobRun("j", Pricing(None))
    run.replay(advance.events)
    resumed = run.start(200.0, {"resumed": True})
    if not asks:
        assert [action.step.id for action in todo(resumed)] == ["send"]
        return
    assert todo(resumed) == [] and types(resumed) == ["job.started", "job.input_required"]
    error = resumed.events[-1].data["error"]
    assert "'send'" in error["detail"] and error["next_step"]
    confirmed = run.start(300.0, {"resumed": True, "rerun": ["send"]})
    assert [action.step.id for action in todo(confirmed)] == ["send"]


def test_a_write_that_had_not_begun_is_run_after_a_crash(builder: Any) -> None:
    p = builder()
    program = p.done(p.tool("send", effects="write"))
    _, advance = start(program, {})
    run = JobRun("j", Pricing(None))
    run.replay(advance.events[:-1])  # without step.started
    assert len(run.start(200.0, {"resumed": True}).actions) == 1


def test_a_failed_job_waits_for_writes_in_flight(builder: Any) -> None:
    p = builder()
    written, read = p.tool("send", effects="write"), p.tool("ask")
    run, advance = start(p.done(p.compute("list", written, read)), {})
    send, ask = todo(advance)
    assert types(run.failed(ask.step, StepError("no"), 101.0)) == ["step.failed"]
    assert types(done(run, send, 1)) == ["step.completed", "job.failed"]
    resumed = run.start(200.0, {"resumed": True})
    assert [action.step.id for action in todo(resumed)] == ["ask"]


def test_changed_tool_asks_and_never_calls(builder: Any) -> None:
    p = builder()
    first, second = p.tool("old"), p.tool("other", effects="write")
    program = p.done(p.compute("list", first, second))
    calls: list[str] = []

    def check(command: RunTool) -> JobError | None:
        calls.append(command.name)
        return JobError("changed") if command.name == "old" else None

    run, advance = start(program, {}, check)
    assert todo(advance) == [] and types(advance)[-1] == "job.input_required"
    assert "step.started" not in types(advance)
    run.replay([])
    assert set(run.dispatcher.flights.outstanding) == {"old", "other"}


def test_soft_deadline_is_recorded_as_late(builder: Any) -> None:
    p = builder()
    run, advance = start(p.done(p.tool("ask")), {}, deadline_s=5.0)
    assert done(run, todo(advance)[0], 1, now=106.0).events[-1].data["late"] is True


def test_compute_without_value_fails_with_its_place(builder: Any) -> None:
    p = builder("x")
    program = p.done(p.compute("get", p.inputs[0], key="name"))
    _, advance = start(program, {"x": {"id": 1}})
    assert types(advance) == ["job.queued", "job.started", "job.failed"]
    error = advance.events[-1].data["error"]
    assert error["code"] == "step" and "'name'" in error["detail"] and error["where"] == "get"


def test_cancel_takes_requests_back(builder: Any) -> None:
    p = builder("q")
    program = p.done(p.llm("draft", p.inputs[0]))
    run, advance = start(program, {"q": "x"})
    advance = done(run, todo(advance)[0], [1])
    cancelled = run.cancel(102.0)
    assert [type(action).__name__ for action in todo(cancelled)] == ["CancelRequest"]
    assert types(cancelled) == ["job.cancelled"] and run.dispatcher.status == "cancelled"


def test_decodes_share_a_prefill_outside_the_map(builder: Any) -> None:
    from gangline.ir.specs.request import Finished
    from gangline.runtime.dispatch.outcome import RequestOutcome

    p = builder("q")
    tokens = p.op("tokenize", "t", p.inputs[0], model="m", template=[], names=["q"])
    kv = p.op("prefill", "pre", tokens, model="m")
    decode = lambda seed: p.op("decode", "dec", kv, seed, model="m", max_tokens=4, names=["seed"])
    run, advance = start(p.done(p.map(p.constant([5, 6]), decode)), {"q": "x"})
    advance = done(run, todo(advance)[0], [1, 2])
    assert [action.sampling.seed for action in todo(advance)] == [5, 6]
    assert [e.step_id for e in advance.events if e.type == "step.started"] == ["pre"]
    ended: list[str] = []
    for action in todo(advance):
        end = Finished(action.request_id, 102.0, (1,), "a", "stop", 2, 0, 0.1, 0.1)
        step = run.finished(action, RequestOutcome(end, 101.0, 102.0), 102.0)
        ended += [event.step_id for event in step.events if event.type == "step.completed"]
    assert ended == ["pre", "map[0]/dec", "map[1]/dec"]
    assert run.dispatcher.status == "succeeded"


def test_wrong_sampling_option_is_located(builder: Any) -> None:
    p = builder("seed")
    tokens = p.op("tokenize", "t", model="m", template=[], names=[])
    kv = p.op("prefill", "pre", tokens, model="m")
    program = p.done(p.op("decode", "dec", kv, 0, model="m", max_tokens=4, names=["seed"]))
    run, advance = start(program, {"seed": "many"})
    failed = done(run, todo(advance)[0], [1])
    assert types(failed)[-1] == "job.failed"
    assert failed.events[-1].data["error"]["where"] == "step dec"


@pytest.mark.parametrize("answer", ["NaN", "[1e999]", '"\\ud800"', "[" * 100_000, "no"])
def test_a_models_answer_that_cannot_be_stored_fails_the_step(builder: Any, answer: str) -> None:
    """It must not come to the store, which would refuse every event of the job from then on."""
    from gangline.ir.specs.request import Finished
    from gangline.runtime.dispatch.outcome import RequestOutcome

    p = builder("q")
    run, advance = start(p.done(p.llm("draft", p.inputs[0], format="json")), {"q": "x"})
    (submit,) = todo(done(run, todo(advance)[0], [1]))
    end = Finished(submit.request_id, 102.0, (1,), answer, "stop", 1, 0, 0.1, 0.1)
    failed = run.finished(submit, RequestOutcome(end, 101.0, 102.0), 102.0)
    assert types(failed)[-2:] == ["step.failed", "job.failed"]
    assert failed.events[-1].data["error"]["code"] == "step"


def test_a_stray_timer_does_not_run_a_step_twice(builder: Any) -> None:
    p = builder()
    run, advance = start(p.done(p.tool("ask", retries=3)), {})
    (retry,) = todo(run.failed(todo(advance)[0].step, StepError("no"), 101.0))
    assert len(todo(run.retrying(retry.step, 102.0))) == 1
    assert todo(run.retrying(retry.step, 103.0)) == [], "it is in flight, not waiting"
