"""Questions to a person: asked once, answered by schema, across restarts, in maps and loops."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from gangline.backends.fake import FakeBackend
from gangline.ir.errors import ConflictError, InputError, StepTimeout
from gangline.ir.specs.event import Event
from gangline.ir.specs.plan import Plan, StagePlan
from gangline.runtime.dispatch.advance import Advance
from gangline.runtime.dispatch.job import Job, result_of
from gangline.runtime.dispatch.job_run import JobRun
from gangline.runtime.dispatch.pricing import Pricing
from gangline.runtime.execution.executor import Executor
from gangline.runtime.store import Store


def begun(program: Any, **inputs: Any) -> tuple[JobRun, Any]:
    run = JobRun("j", Pricing(None))
    queued = run.queue(Job("w", program, inputs).to_event_data(), 100.0)
    started = run.start(100.0)
    return run, Advance(queued.events + started.events, started.actions)


def resumed(events: list[Event], **answers: Any) -> tuple[JobRun, Any]:
    run = JobRun("j", Pricing(None))
    run.replay(events)
    advance = run.start(200.0, {"resumed": True, "answers": answers})
    return run, Advance(events + advance.events, advance.actions)


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events]


def todo(advance: Advance) -> list[Any]:
    return list(advance.actions)


def text(p: Any, words: str) -> int:
    return int(p.constant(words))


def test_a_question_stops_the_job_and_its_answer_is_the_value(builder: Any) -> None:
    p = builder()
    program = p.done(p.ask(text(p, "How many?"), type="integer", minimum=1))
    _, advance = begun(program)
    assert types(advance.events)[2:] == ["step.started", "job.input_required"]
    result = result_of(advance.events)
    assert result.status == "input_required" and result.error is not None
    (row,) = result.interrupts
    assert row == {
        "id": "ask",
        "question": "How many?",
        "schema": {"type": "integer", "minimum": 1},
        "choices": None,
    }
    assert "gangline jobs resume j" in result.error["next_step"]
    assert result.steps[0].status == "running", "an open question is not a cancelled step"
    _, done = resumed(advance.events, ask=3)
    assert types(done.events)[4:] == ["step.completed", "job.started", "job.completed"]
    document = result_of(done.events).to_json()
    assert document["output"] == 3 and "interrupts" not in document and "error" not in document


@pytest.mark.parametrize("value", [0, "3", 3.5, None, True, [3]])
def test_an_answer_that_does_not_fit_changes_nothing(builder: Any, value: Any) -> None:
    p = builder()
    _, advance = begun(p.done(p.ask(text(p, "How many?"), type="integer", minimum=1)))
    run = JobRun("j", Pricing(None))
    run.replay(advance.events)
    with pytest.raises(InputError):
        run.start(200.0, {"answers": {"ask": value}})
    assert run.last_seq == len(advance.events) and run.dispatcher.status == "input_required"
    with pytest.raises(ConflictError, match="ask"):
        run.start(200.0, {"answers": {"other": 3}})


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], "\ud800", {"a": ["\udfff"]}])
def test_an_answer_that_cannot_be_stored_is_refused(builder: Any, value: Any) -> None:
    p = builder()
    run, _ = begun(p.done(p.ask(text(p, "What?"))))
    with pytest.raises(InputError, match="stored"):
        run.answer("ask", value, 101.0)


def test_branches_that_can_go_on_do_so_first(builder: Any) -> None:
    p = builder()
    asked = p.ask(text(p, "Go?"), type="boolean")
    other = p.tool("b", p.tool("a"))
    run, advance = begun(p.done(p.compute("list", asked, other)))
    assert "job.input_required" not in types(advance.events)
    first = run.completed(advance.actions[0], 1, 101.0, 100.0, 101.0)
    assert [action.name for action in todo(first)] == ["b"]
    last = run.completed(todo(first)[0], 2, 102.0, 101.0, 102.0)
    assert types(last.events) == ["step.completed", "job.input_required"]


def test_an_answer_may_come_while_other_steps_run(builder: Any) -> None:
    p = builder()
    asked = p.ask(text(p, "Go?"), type="boolean")
    run, advance = begun(p.done(p.compute("list", asked, p.tool("a"))))
    assert types(run.answer("ask", True, 101.0).events) == ["step.completed"]
    with pytest.raises(ConflictError):
        run.answer("ask", True, 102.0)
    last = run.completed(advance.actions[0], 1, 103.0, 100.0, 103.0)
    assert last.events[-1].data["output"] == [True, 1]


def test_questions_of_a_map_are_open_together_and_answered_one_by_one(builder: Any) -> None:
    p = builder()
    items = p.constant(["Red?", "Green?", "Blue?"])
    program = p.done(p.map(items, lambda item: p.ask(item, type="boolean")))
    _, advance = begun(program)
    events = advance.events
    ids = [row["id"] for row in result_of(events).interrupts]
    assert ids == ["map[0]/ask", "map[1]/ask", "map[2]/ask"]
    for at, name in enumerate((ids[1], ids[0], ids[2])):
        events = resumed(events, **{name: at == 1})[1].events
        assert len(result_of(events).interrupts) == 2 - at
    assert result_of(events).output == [True, False, False]
    starts = [e.step_id for e in events if e.type == "step.started"]
    assert sorted(starts) == ids, "none was asked again"


def test_a_loop_asks_once_per_trip_across_restarts(builder: Any) -> None:
    p = builder()
    until = lambda v: p.compute("eq", v, p.constant("stop"))
    body = lambda v: p.ask(p.tool("word", v), type="string")
    program = p.done(p.loop(text(p, "go"), until, body, 9))
    run, advance = begun(program)
    events, said = advance.events, ["more", "again", "stop"]
    for trip, word in enumerate(said):
        (call,) = advance.actions
        done = run.completed(call, f"After {call.arguments['a0']}?", 1.0, 1.0, 1.0)
        events = events + done.events
        assert result_of(events).interrupts[0]["id"] == f"loop[{trip}]/ask"
        run, advance = resumed(events, **{f"loop[{trip}]/ask": word})  # a new process each time
        events = advance.events
    assert result_of(events).output == "stop"
    started = [e.step_id for e in events if e.type == "step.started"]
    assert len(started) == len(set(started)) == 6, "no tool and no question ran twice"


def test_choices_made_by_a_step_bound_the_answer(builder: Any) -> None:
    p = builder()
    program = p.done(p.ask(text(p, "Which?"), p.tool("list"), type="string"))
    run, advance = begun(program)
    asked = run.completed(advance.actions[0], ["a", "b"], 101.0, 100.0, 101.0)
    (row,) = asked.events[-1].data["interrupts"]
    assert row["choices"] == ["a", "b"]
    with pytest.raises(InputError, match="'a', 'b'"):
        run.start(200.0, {"answers": {"ask": "c"}})
    assert run.start(200.0, {"answers": {"ask": "b"}}).events[-1].data["output"] == "b"


@pytest.mark.parametrize(("question", "choices"), [(7, ["a"]), ("Which?", []), ("Which?", "ab")])
def test_a_question_that_cannot_be_asked_fails_the_step(
    builder: Any, question: Any, choices: Any
) -> None:
    p = builder()
    _, advance = begun(p.done(p.ask(p.constant(question), p.constant(choices))))
    assert advance.events[-1].type == "job.failed"
    assert advance.events[-1].data["error"]["code"] == "step"


def test_a_budget_that_no_answer_can_free_fails_the_job_at_once(builder: Any) -> None:
    p = builder()
    program = p.done(p.compute("list", p.ask(text(p, "Go?")), p.tool("dear")))
    rows = tuple(
        StagePlan(s.name, s.op, "cpu", 1.0, 9.0 if s.name == "dear" else 0.0)
        for s in program.stages
    )
    run = JobRun("j", Pricing(None))
    plan = Plan("w", program.hash, "f", rows, 1.0, 1.0)
    run.queue(Job("w", program, {}, plan, budget_usd=1.0).to_event_data(), 100.0)
    last = run.start(100.0).events[-1]
    assert last.type == "job.failed" and last.data["error"]["code"] == "budget"


def test_a_cancelled_job_asks_nothing(builder: Any) -> None:
    p = builder()
    run, _ = begun(p.done(p.compute("list", p.ask(text(p, "Go?")), p.tool("a"))))
    events = run.cancel(101.0).events
    assert types(events) == ["job.cancelled"]
    with pytest.raises(ConflictError):
        run.answer("ask", 1, 102.0)


def test_a_write_of_unknown_effect_is_a_question_with_two_answers(builder: Any) -> None:
    p = builder()
    program = p.done(p.tool("send", effects="write"))
    _, advance = begun(program)
    _, asks = resumed(advance.events)
    (row,) = result_of(asks.events).interrupts
    assert row["id"] == "send" and asks.events[-1].data["interrupt"] == row
    _, told = resumed(asks.events, send={"result": "sent"})
    assert told.actions == [] and told.events[-1].data["output"] == "sent"
    run, again = resumed(asks.events, send={"rerun": True})
    assert [action.step.id for action in again.actions] == ["send"]
    assert len({e.seq for e in again.events}) == len(again.events)
    done = run.completed(again.actions[0], "sent", 201.0, 200.0, 201.0)
    assert done.events[-1].data["output"] == "sent"
    for wrong in ({}, {"rerun": False}, {"rerun": True, "result": 1}, "yes"):
        with pytest.raises(InputError):
            resumed(asks.events, send=wrong)


def test_a_write_that_timed_out_can_be_answered_too(builder: Any) -> None:
    p = builder()
    run, advance = begun(p.done(p.tool("send", effects="write")))
    failed = run.failed(advance.actions[0].step, StepTimeout("slow"), 101.0)
    events = advance.events + failed.events
    _, asks = resumed(events)
    assert asks.events[-1].type == "job.input_required"
    _, again = resumed(asks.events, send={"rerun": True})
    assert [action.step.attempt for action in again.actions] == [2]


def test_a_crash_between_answer_and_start_keeps_the_answer(builder: Any) -> None:
    p = builder()
    program = p.done(p.tool("a", p.ask(text(p, "Go?"), type="boolean")))
    _, advance = begun(program)
    _, done = resumed(advance.events, ask=True)
    cut = next(at for at, e in enumerate(done.events) if e.type == "step.completed") + 1
    _, again = resumed(done.events[:cut])
    assert [action.arguments for action in again.actions] == [{"a0": True}]


def test_across_processes_on_the_store(
    builder: Any, tools: dict[str, Any], plain_tool: Any, store: Store
) -> None:
    calls: list[str] = []

    def same(a0: Any) -> Any:
        calls.append("a")
        return a0

    tools["a"] = plain_tool(same)
    p = builder()
    program = p.done(p.tool("a", p.ask(p.tool("a", text(p, "Go?")), type="boolean")))
    backends = {"cpu/0": FakeBackend()}
    with Executor(backends, tools.get, store=store) as first:
        asked = first.run(Job("w", program, {}))
    assert asked.status == "input_required" and calls == ["a"]
    assert store.job(asked.job_id).status == "input_required"
    with Executor(backends, tools.get, store=store) as second:
        with pytest.raises(InputError):
            second.resume(asked.job_id, answers={"ask": "perhaps"})
        assert store.job(asked.job_id).status == "input_required"
        done = second.resume(asked.job_id, answers={"ask": True})
        assert done.status == "succeeded" and done.output is True and calls == ["a", "a"]
        with pytest.raises(ConflictError):
            second.resume(asked.job_id, answers={"ask": True})


def test_a_running_job_takes_an_answer(
    builder: Any, tools: dict[str, Any], plain_tool: Any, executor: Executor, store: Store
) -> None:
    release = threading.Event()
    tools["a"] = plain_tool(lambda: release.wait(60.0))
    p = builder()
    job = Job("w", p.done(p.compute("list", p.ask(text(p, "Go?")), p.tool("a"))), {})
    future = executor.submit(job)
    ends = time.monotonic() + 30.0
    while not (rows := store.jobs()) or store.job(rows[0].id).last_seq < 4:
        assert time.monotonic() < ends
        time.sleep(0.005)
    with pytest.raises(ConflictError):
        executor.answer(rows[0].id, "nothing", 1)
    executor.answer(rows[0].id, "ask", "yes")
    release.set()
    assert future.result(20.0).output == ["yes", True]
