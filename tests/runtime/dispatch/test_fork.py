"""Fork and retry from a step: what holds is kept, what came after runs again, exactly once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gangline.backends.fake import FakeBackend
from gangline.ir.errors import ConflictError, InputError, NotFoundError, StepError
from gangline.ir.specs.event import Event
from gangline.runtime.api import fork_job, retry_job
from gangline.runtime.dispatch.fork import effective, fork, retry_from
from gangline.runtime.dispatch.job import Job, result_of
from gangline.runtime.dispatch.job_run import JobRun
from gangline.runtime.dispatch.pricing import Pricing
from gangline.runtime.execution.executor import Executor

from .test_dispatcher_properties import (
    World,
    begin,
    chooser,
    completed,
    expected,
    output,
    random_program,
)

SETTINGS = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Tools:
    """Run tools of one job by name and remember the calls."""

    def __init__(self, tools: dict[str, Callable[..., Any]]) -> None:
        self.tools = tools
        self.calls: list[str] = []
        self.keys: list[str] = []

    def run(self, run: JobRun, advance: Any, events: list[Event]) -> list[Event]:
        actions, now = list(advance.actions), 100.0
        events.extend(advance.events)
        while actions:
            action = actions.pop(0)
            now += 1.0
            self.calls.append(action.step.id)
            self.keys.append(action.idempotency_key)
            try:
                value = self.tools[action.name](*action.arguments.values())
            except StepError as error:
                more = run.failed(action.step, error, now)
            else:
                more = run.completed(action, value, now, now - 1.0, now)
            events.extend(more.events)
            actions.extend(more.actions)
        return events


def first_run(program: Any, tools: Tools, **inputs: Any) -> list[Event]:
    run = JobRun("old", Pricing(None))
    queued = run.queue(Job("w", program, inputs).to_event_data(), 100.0)
    return tools.run(run, run.start(100.0), list(queued.events))


def go_on(events: Sequence[Event], tools: Tools, **data: Any) -> list[Event]:
    run = JobRun(events[0].job_id, Pricing(None))
    run.replay(events, data.get("dropped", ()))
    tools.calls.clear()
    tools.keys.clear()
    return tools.run(run, run.start(500.0, {"resumed": True, **data}), list(events))


@pytest.fixture
def tools() -> Tools:
    return Tools({"a": lambda x: x + 1, "b": lambda x: x * 10, "c": lambda x, y: [x, y]})


def diamond(builder: Any, **options: Any) -> Any:
    """a(x), b(y) and c of both."""
    p = builder("x", "y")
    left, right = p.tool("a", p.inputs[0]), p.tool("b", p.inputs[1])
    return p.done(p.tool("c", left, right, **options))


def test_a_fork_begins_with_what_does_not_come_after_the_step(builder: Any, tools: Tools) -> None:
    old = first_run(diamond(builder), tools, x=1, y=2)
    log = fork(old, "b", job_id="new", now=400.0)
    assert [(e.type, e.step_id) for e in log] == [("job.queued", ""), ("step.completed", "a")]
    assert [e.seq for e in log] == [1, 2] and {e.job_id for e in log} == {"new"}
    assert log[0].data["forked_from"] == "old" and log[1].data["usd"] == 0.0
    done = go_on(log, tools)
    assert tools.calls == ["b", "c"] and done[-1].data["output"] == [2, 20]
    assert "resumed" not in next(e for e in done if e.type == "job.started").data
    steps = {step.id: step for step in result_of(done).steps}
    assert steps["a"].status == "succeeded" and steps["a"].actual_s is None


def test_other_inputs_reach_only_what_reads_them(builder: Any, tools: Tools) -> None:
    old = first_run(diamond(builder), tools, x=1, y=2)
    log = fork(old, "c", job_id="new", now=400.0, inputs={"x": 5})
    assert [e.step_id for e in log[1:]] == ["b"]
    assert go_on(log, tools)[-1].data["output"] == [6, 20] and tools.calls == ["a", "c"]


def test_a_branch_that_turns_keeps_nothing_of_the_other_side(builder: Any, tools: Tools) -> None:
    p = builder("x", "y")
    less = p.compute("lt", p.tool("a", p.inputs[0]), p.constant(5))
    side = lambda: p.tool("b", p.inputs[1])
    program = p.done(p.branch(less, side, lambda: p.tool("a", p.inputs[1])))
    old = first_run(program, tools, x=1, y=2)
    log = fork(old, "a", job_id="new", now=400.0, inputs={"x": 9})
    assert len(log) == 1
    assert go_on(log, tools)[-1].data["output"] == 3 and tools.calls == ["a", "branch.else/a#2"]


def test_steps_of_a_loop_before_the_trip_are_kept(builder: Any, tools: Tools) -> None:
    p = builder("x", "y")
    until = lambda v: p.compute("gt", v, p.constant(4))
    program = p.done(p.loop(p.inputs[0], until, lambda v: p.tool("a", v), 9))
    old = first_run(program, tools, x=0, y=0)
    log = fork(old, "loop[3]/a", job_id="new", now=400.0)
    assert [e.step_id for e in log[1:]] == ["loop[0]/a", "loop[1]/a", "loop[2]/a"]
    assert go_on(log, tools)[-1].data["output"] == 5
    assert tools.calls == ["loop[3]/a", "loop[4]/a"]


def test_a_fork_half_written_refuses_to_run(builder: Any, tools: Tools) -> None:
    old = first_run(diamond(builder), tools, x=1, y=2)
    log = fork(old, "c", job_id="new", now=400.0)
    done = go_on(log[:2], tools)
    assert tools.calls == [] and done[-1].type == "job.failed"
    assert done[-1].data["error"]["code"] == "store"


def test_a_fork_can_have_other_limits_and_be_forked(builder: Any, tools: Tools) -> None:
    old = first_run(diamond(builder), tools, x=1, y=2)
    new = fork(old, "b", job_id="new", now=400.0, changes={"deadline_s": 9.0})
    assert new[0].data["deadline_s"] == 9.0
    again = fork(go_on(new, tools), "c", job_id="third", now=600.0)
    assert sorted(e.step_id for e in again[1:]) == ["a", "b"]
    assert again[0].data["forked_from"] == "new"


def test_an_unknown_step_or_input_is_refused(builder: Any, tools: Tools) -> None:
    old = first_run(diamond(builder), tools, x=1, y=2)
    with pytest.raises(NotFoundError):
        fork(old, "nowhere", job_id="new", now=400.0)
    with pytest.raises(NotFoundError):
        retry_from(old, "nowhere")
    with pytest.raises(InputError):
        fork(old, "c", job_id="new", now=400.0, inputs={"z": 1})


def test_a_masked_secret_must_be_given_again(builder: Any, tools: Tools) -> None:
    tools.tools["a"] = lambda x: 2
    old = first_run(diamond(builder), tools, x="postgresql://me:***@host/db", y=2)
    with pytest.raises(InputError, match="password"):
        fork(old, "c", job_id="new", now=400.0)
    secret = "postgresql://me:open@host/db"
    log = fork(old, "c", job_id="new", now=400.0, inputs={"x": secret})
    assert sorted(e.step_id for e in log[1:]) == ["a", "b"], "the secret is the same one"


def test_a_fork_from_a_prefill_runs_the_whole_request_again(builder: Any) -> None:
    p = builder("n")
    program = p.done(p.llm("draft", p.inputs[0], format="json"))
    world = begin(program)
    world.finish(lambda count: 0)
    for step in ("draft.prefill", "draft.decode"):
        log = fork(world.events, step, job_id="new", now=1.0)
        assert [e.step_id for e in log[1:]] == ["draft.tokenize"]
    kept = [e.step_id for e in fork(world.events, "draft.detokenize", job_id="n", now=1.0)[1:]]
    assert kept == ["draft.tokenize", "draft.prefill", "draft.decode"]


def test_retry_from_a_step_runs_it_and_what_came_after(builder: Any, tools: Tools) -> None:
    old = first_run(diamond(builder), tools, x=1, y=2)
    tools.tools["b"] = lambda x: x * 1000
    data = retry_from(old, "b")
    assert data["dropped"] == ["b", "c"]
    done = go_on(old, tools, **data)
    assert tools.calls == ["b", "c"] and done[-1].data["output"] == [2, 2000]
    assert [e.seq for e in done] == list(range(1, len(done) + 1))
    assert tools.keys == ["old/b/1", "old/c/1"], "a second effect is wanted, so a second key"
    replayed = JobRun("old", Pricing(None))
    replayed.replay(done)
    assert replayed.dispatcher.output == [2, 2000] and replayed.last_seq == len(done)
    assert [step.status for step in result_of(done).steps] == ["succeeded"] * 3


def test_a_crash_after_a_retry_goes_on_with_the_new_results(builder: Any, tools: Tools) -> None:
    old = first_run(diamond(builder), tools, x=1, y=2)
    tools.tools["b"] = lambda x: x * 1000
    done = go_on(old, tools, **retry_from(old, "b"))
    for end in range(len(old) + 1, len(done)):
        again = go_on(done[:end], tools)
        assert again[-1].data["output"] == [2, 2000] and "a" not in tools.calls
        new = [e.step_id for e in again[len(old) :] if e.type == "step.completed"]
        assert sorted(new) == ["b", "c"], "nothing recorded since the retry runs twice"


def test_money_spent_before_a_retry_is_not_forgotten(builder: Any, tools: Tools) -> None:
    old = [
        Event(e.job_id, e.seq, e.type, e.at_s, e.step_id, {**e.data, "usd": 1.0})
        if e.type == "step.completed"
        else e
        for e in first_run(diamond(builder), tools, x=1, y=2)
    ]
    data = retry_from(old, "b")
    assert data["spent_usd"] == 2.0
    run = JobRun("old", Pricing(None))
    run.replay(old, data["dropped"])
    run.start(500.0, data)
    assert run.dispatcher.spent_usd == 3.0


def test_writes_after_the_step_are_confirmed_one_by_one(builder: Any, tools: Tools) -> None:
    old = first_run(diamond(builder, effects="write"), tools, x=1, y=2)
    with pytest.raises(ConflictError, match="c"):
        retry_from(old, "b")
    assert retry_from(old, "b", {"c"})["dropped"] == ["b", "c"]
    assert retry_from(old, "c")["dropped"] == ["c"], "naming the step confirms it"


def test_a_write_in_flight_elsewhere_is_still_asked_about(builder: Any, tools: Tools) -> None:
    p = builder("x", "y")
    left, right = p.tool("a", p.inputs[0]), p.tool("b", p.inputs[1], effects="write")
    program = p.done(p.compute("list", left, right))
    old = first_run(program, tools, x=1, y=2)
    cut = next(at for at, e in enumerate(old) if e.type == "step.completed" and e.step_id == "b")
    log = old[:cut]
    done = go_on(log, tools, **retry_from(log, "a"))
    assert "b" not in tools.calls and done[-1].type == "job.input_required"


def test_effective_keeps_what_no_retry_took_back() -> None:
    def event(seq: int, kind: str, step: str = "", **data: Any) -> Event:
        return Event("j", seq, kind, 1.0, step, data)

    log = [
        event(1, "job.queued"),
        event(2, "job.started"),
        event(3, "step.completed", "a"),
        event(4, "step.completed", "b"),
        event(5, "job.started", dropped=["b"]),
        event(6, "step.completed", "b"),
    ]
    assert [e.seq for e in effective(log)] == [1, 2, 3, 5, 6]
    assert [e.seq for e in effective(log, ["b"])] == [1, 2, 3, 5]


@SETTINGS
@given(data=st.data())
def test_a_fork_of_any_job_from_any_step_gives_the_same_output(builder: Any, data: Any) -> None:
    program = random_program(builder, data.draw)
    old = begin(program, flaky=data.draw(st.booleans()))
    old.finish(chooser(data.draw))
    cut = data.draw(st.integers(2, len(old.events)))
    steps = sorted({e.step_id for e in old.events[:cut] if e.type == "step.started"})
    if not steps:
        return
    step, number = data.draw(st.sampled_from(steps)), data.draw(st.integers(0, 5))
    log = fork(old.events[:cut], step, job_id="new", now=1.0, inputs={"n": number})
    world = World(JobRun("new", Pricing(None)))
    world.run.replay(log)
    world.events = list(log)
    world.take(world.run.start(1000.0))
    world.finish(chooser(data.draw))
    assert output(world) == expected(program, 0, {}, number)
    assert all(count == 1 for count in completed(world.events).values())
    assert step not in {e.step_id for e in log}


@SETTINGS
@given(data=st.data())
def test_a_retry_from_any_step_ends_the_same(builder: Any, data: Any) -> None:
    program = random_program(builder, data.draw)
    old = begin(program, flaky=data.draw(st.booleans()))
    old.finish(chooser(data.draw))
    cut = data.draw(st.integers(2, len(old.events)))
    log = old.events[:cut]
    steps = sorted({e.step_id for e in log if e.type == "step.started"})
    if not steps:
        return
    told = retry_from(log, data.draw(st.sampled_from(steps)), rerun=steps)
    world = World(JobRun("j", Pricing(None)))
    world.run.replay(log, told["dropped"])
    world.events = list(log)
    world.take(world.run.start(1000.0, told))
    world.finish(chooser(data.draw))
    assert output(world) == expected(program, 0, {}, 3)
    kept = completed(effective(log, told["dropped"]))
    new = completed(world.events[cut:])
    assert not kept.keys() & new.keys(), "a result that holds is not made again"
    assert [event.seq for event in world.events] == list(range(1, len(world.events) + 1))


def test_on_the_store(builder: Any, plain_tool: Any, store: Any) -> None:
    from gangline.workflows.registry import TOOLS

    calls: list[str] = []

    def make(name: str, fn: Callable[..., Any]) -> None:
        def call(**arguments: Any) -> Any:
            calls.append(name)
            return fn(*arguments.values())

        TOOLS._found[name] = (plain_tool(call), call)

    names = {"fork_a": lambda x: x + 1, "fork_b": lambda x: x * 10}
    for name, fn in names.items():
        make(name, fn)
    try:
        p = builder("x")
        program = p.done(p.tool("fork_b", p.tool("fork_a", p.inputs[0])))
        backends = {"cpu/0": FakeBackend()}
        with Executor(backends, TOOLS.get, store=store) as executor:
            old = executor.run(Job("w", program, {"x": 1}))
        calls.clear()
        new = fork_job(old.job_id, "fork_b", backends=backends, store=store)
        assert new.output == 20 and calls == ["fork_b"] and new.job_id != old.job_id
        calls.clear()
        again = retry_job(old.job_id, from_step="fork_b", backends=backends, store=store)
        assert again.output == 20 and calls == ["fork_b"] and again.job_id == old.job_id
    finally:
        for name in names:
            del TOOLS._found[name]
