"""Plans made at run time: checked as a whole, recorded, run side by side, never made twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gangline.ir.errors import StepError
from gangline.ir.specs.event import Event
from gangline.ir.specs.plan import Plan, StagePlan
from gangline.runtime.dispatch.fork import fork, retry_from
from gangline.runtime.dispatch.job import Job, result_of
from gangline.runtime.dispatch.job_run import JobRun
from gangline.runtime.dispatch.planned_steps import MAX_DEPTH, checked_plan
from gangline.runtime.dispatch.pricing import Pricing
from tests.runtime.conftest import planned_tool

NUMBERS = {"type": "array", "items": {"type": "integer"}}
TOOLS = [
    planned_tool("add"),
    planned_tool("total", parameters={"a0": NUMBERS}),
    planned_tool("send", effects="write", idempotent=False, retries=0),
]


def step(name: str, tool: str = "add", **arguments: Any) -> dict[str, Any]:
    return {"id": name, "tool": tool, "arguments": arguments}


def ref(name: str) -> dict[str, str]:
    return {"$ref": name}


def check(*steps: Any) -> list[dict[str, Any]]:
    return checked_plan(list(steps), TOOLS, 4, "here")


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (7, "no list of steps"),
        ({"steps": [], "more": 1}, "no list of steps"),
        ("[{]", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('[{"id": "a", "tool": "add", "arguments": {"a0": NaN}}]', "not JSON"),
        ('[{"id": "a", "tool": "add", "arguments": {"a0": 1e999}}]', "not JSON"),
        ('[{"id": "\\ud800", "tool": "add"}]', "not JSON"),
        ([step("a", a0=1)] * 5, "5 steps, and 4"),
        (["add"], "Step 0 of the plan is no object"),
        ([{**step("a", a0=1), "shell": "rm"}], "'shell'"),
        ([step("", a0=1)], "id ''"),
        ([step("a/b", a0=1)], "id 'a/b'"),
        ([step("x" * 65, a0=1)], "id "),
        ([{"tool": "add", "arguments": {"a0": 1}}], "id None"),
        ([step("a", a0=1), step("a", a0=2)], "named 'a'"),
        ([step("a", tool="remove_all")], "'remove_all', which it may not use"),
        ([step("a", tool=["add"], a0=1)], "which it may not use"),  # type: ignore[arg-type]
        ([{"id": "a", "tool": "add", "arguments": [1]}], "arguments of step 'a'"),
        ([step("a")], "lacks 'a0'"),
        ([step("a", a0=1, path="/etc")], "'path', which add does not take"),
        ([step("a", a0="1")], "no integer"),
        ([step("a", a0=True)], "no integer"),
        ([step("a", tool="total", a0=[1, "x"])], "no integer"),
        ([step("a", a0=ref("b"))], "'b', which is no step"),
        ([step("a", a0=ref("a"))], "wait for each other: a"),
        ([step("a", a0=ref("b")), step("b", a0=ref("a"))], "wait for each other: a, b"),
        ([step("a", a0={"$ref": "b", "x": 1}), step("b", a0=1)], "malformed reference"),
        ([step("a", a0={"$ref": 7})], "malformed reference"),
    ],
)
def test_what_is_wrong_is_named(plan: Any, said: str) -> None:
    with pytest.raises(StepError, match=said) as caught:
        checked_plan(plan, TOOLS, 4, "line 3")
    assert caught.value.where.startswith("line 3") and caught.value.next_step
    assert len(caught.value.detail) < 300, "untrusted text is shown in part"


def test_an_argument_nested_too_deeply_is_refused() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH + 2):
        deep = [deep]
    with pytest.raises(StepError, match="nested too deeply"):
        check(step("a", tool="total", a0=deep))


def test_what_the_author_gives_cannot_be_chosen() -> None:
    tools = [planned_tool("read", parameters={"a0": {"type": "string"}}, given=["g0"])]
    with pytest.raises(StepError, match="'g0', which is not its"):
        checked_plan([step("a", tool="read", a0="x", g0="/etc/passwd")], tools, 4, "")


def test_a_plan_may_be_text_and_need_no_order() -> None:
    plan = [step("late", a0=ref("early")), step("early", a0=1)]
    for form in (plan, {"steps": plan}, json.dumps(plan)):
        steps = checked_plan(form, TOOLS, 4, "")
        assert [(row["id"], row["after"]) for row in steps] == [("late", ["early"]), ("early", [])]
    assert check() == []


def test_writes_keep_the_order_of_the_plan() -> None:
    rows = check(
        step("r1", a0=1), step("w1", "send", a0=1), step("r2", a0=1), step("w2", "send", a0=1)
    )
    assert [row["after"] for row in rows] == [[], ["r1"], ["w1"], ["w1", "r2"]]


def test_a_write_does_not_overtake_a_read_that_waits_for_more_than_it_does() -> None:
    rows = check(step("w1", "send", a0=1), step("r", a0=ref("w1")), step("w2", "send", a0=1))
    assert [row["after"] for row in rows] == [[], ["w1"], ["w1", "r"]]


@settings(max_examples=300, deadline=None)
@given(plan=st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.just({"$ref": "a"}),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["id", "tool", "arguments", "a0", "$ref", "steps"]), inner, max_size=4
    ),
    max_leaves=20,
))  # fmt: skip
def test_any_value_is_a_plan_or_a_step_error(plan: Any) -> None:
    try:
        steps = checked_plan(plan, TOOLS, 4, "")
    except StepError:
        return
    assert all(set(row) == {"id", "tool", "arguments", "after"} for row in steps)


# Running ------------------------------------------------------------------------------------


def begun(program: Any, **options: Any) -> tuple[JobRun, list[Event], list[Any]]:
    run = JobRun("j", Pricing(None))
    queued = run.queue(Job("w", program, {}, **options).to_event_data(), 100.0)
    started = run.start(100.0)
    return run, queued.events + started.events, list(started.actions)


def finished(run: JobRun, events: list[Event], actions: list[Any]) -> list[Event]:
    """Carry out tools that add numbers, in any order, to the end."""
    now = 100.0
    while actions:
        action = actions.pop()
        now += 1.0
        more = run.completed(action, total(action.arguments), now, now - 1.0, now)
        events.extend(more.events)
        actions.extend(more.actions)
    return events


def total(arguments: Any) -> int:
    values = [
        v for value in arguments.values() for v in (value if isinstance(value, list) else [value])
    ]
    return sum(values)


def planning(builder: Any, *given: Any, **options: Any) -> Any:
    p = builder()
    constants = [p.constant(value) for value in given]
    return p.done(
        p.expand(p.tool("plan"), *constants, tools=options.pop("tools", TOOLS), **options)
    )


PLAN = [
    step("a", a0=1),
    step("b", a0=2),
    step("c", a0=ref("a"), a1=ref("b")),
    step("d", "total", a0=[ref("a"), ref("c"), 10]),
]


def planned(builder: Any, plan: Any, *given: Any, **options: Any) -> tuple[JobRun, Any, Any]:
    run, events, (call,) = begun(planning(builder, *given, **options))
    more = run.completed(call, plan, 101.0, 100.0, 101.0)
    return run, events + more.events, list(more.actions)


def test_independent_steps_run_side_by_side(builder: Any) -> None:
    run, events, actions = planned(builder, PLAN)
    assert [action.step.id for action in actions] == ["expand/a", "expand/b"]
    done = finished(run, events, actions)
    assert done[-1].data["output"] == {"a": 1, "b": 2, "c": 3, "d": 14}
    records = {record.id: record for record in result_of(done).steps}
    assert records["expand/c"].parents == ("expand", "expand/a", "expand/b")
    assert (records["expand/c"].op, records["expand/c"].stage) == ("tool", "expand")
    assert records["expand"].op == "expand" and records["expand"].parents == ("plan",)
    assert [action.idempotency_key for action in actions] == []


def test_keys_and_limits_are_those_of_the_tool(builder: Any) -> None:
    _, _, (send,) = planned(builder, [step("s", "send", a0=1)])
    assert (send.effects, send.idempotency_key, send.timeout_s) == ("write", "j/expand/s", 30.0)


def test_a_tool_may_be_registered_under_another_name(builder: Any) -> None:
    tools = [planned_tool("module.add", name="add")]
    _, _, (call,) = planned(builder, [step("a", a0=1)], tools=tools)
    assert call.name == "module.add"
    _, events, _ = planned(builder, [step("a", "module.add", a0=1)], tools=tools)
    assert events[-1].type == "job.failed"


def test_an_empty_plan_has_no_results(builder: Any) -> None:
    _, events, _ = planned(builder, [])
    assert events[-1].data["output"] == {}


def test_given_values_reach_the_tool(builder: Any) -> None:
    tools = [planned_tool("read", parameters={}, required=[], given=["g0"])]
    _, _, (call,) = planned(builder, [step("a", "read")], "shop", tools=tools)
    assert call.arguments == {"g0": "shop"}


def test_a_bad_plan_fails_the_step_and_not_the_process(builder: Any) -> None:
    _, events, actions = planned(builder, [step("a", tool="rm")])
    assert actions == [] and [e.type for e in events[-2:]] == ["step.failed", "job.failed"]
    error = events[-1].data["error"]
    assert error["code"] == "step" and "'rm'" in error["detail"] and "expand" in error["where"]


@pytest.mark.parametrize(
    ("value", "path", "said"),
    [
        ({"x": {"y": [5]}}, "a/x/y/0", 5),
        ({"x": 1}, "a/y", "'y'"),
        ([1], "a/1", "'1'"),
        (1, "a/0", "'0'"),
        ({"x": "text"}, "a/x", "no integer"),
    ],
)
def test_references_into_results(builder: Any, value: Any, path: str, said: Any) -> None:
    run, _, (call,) = planned(builder, [step("a", a0=1), step("b", a0=ref(path))])
    more = run.completed(call, value, 102.0, 101.0, 102.0)
    if isinstance(said, int):
        (ready,) = list[Any](more.actions)
        assert ready.arguments == {"a0": said}
        return
    error = more.events[-1].data["error"]
    assert more.events[-1].type == "job.failed" and said in error["detail"]
    assert "expand/b" in error["where"]


def test_a_resumed_job_never_plans_again(builder: Any) -> None:
    run, events, actions = planned(builder, PLAN)
    done = finished(run, list(events), list(actions))
    for cut in range(4, len(done)):
        again = JobRun("j", Pricing(None))
        again.replay(done[:cut])
        advance = again.start(500.0, {"resumed": True})
        log = finished(again, done[:cut] + advance.events, list(advance.actions))
        assert log[-1].data["output"] == {"a": 1, "b": 2, "c": 3, "d": 14}
        ended = [e.step_id for e in log if e.type == "step.completed"]
        assert len(ended) == len(set(ended)), "nothing recorded runs twice"


def test_the_recorded_plan_is_what_runs(builder: Any) -> None:
    """Even if a later version of the check would take the plan otherwise."""
    _, events, _ = planned(builder, PLAN)
    cut = next(at for at, event in enumerate(events) if event.step_id == "expand")
    old = events[cut]
    steps = [{**row} for row in old.data["value"]["steps"]]
    steps[1]["after"] = ["a"]
    data = {**old.data, "value": {"steps": steps}}
    changed = Event(old.job_id, old.seq, old.type, old.at_s, old.step_id, data)
    again = JobRun("j", Pricing(None))
    again.replay([*events[:cut], changed])
    ready: list[Any] = list(again.start(500.0, {"resumed": True}).actions)
    assert [action.step.id for action in ready] == ["expand/a"]


def test_a_planned_write_in_flight_at_a_crash_is_asked_about(builder: Any) -> None:
    _, events, _ = planned(builder, [step("s", "send", a0=1)])
    again = JobRun("j", Pricing(None))
    again.replay(events)
    advance = again.start(500.0, {"resumed": True})
    assert advance.actions == [] and advance.events[-1].data["interrupt"]["id"] == "expand/s"


def test_fork_and_retry_from_a_planned_step(builder: Any) -> None:
    run, events, actions = planned(builder, PLAN)
    done = finished(run, events, actions)
    kept = [e.step_id for e in fork(done, "expand/c", job_id="n", now=1.0)[1:]]
    assert sorted(kept) == ["expand", "expand/a", "expand/b", "plan"]
    assert sorted(retry_from(done, "expand/a")["dropped"]) == ["expand/a", "expand/c", "expand/d"]
    assert fork(done, "plan", job_id="n", now=1.0)[1:] == []


def test_planned_steps_stop_before_they_overspend(builder: Any) -> None:
    program = planning(builder)
    rows = tuple(StagePlan(s.name, s.op, "cpu", 1.0, 1.0) for s in program.stages)
    plan = Plan("w", program.hash, "f", rows, 1.0, 1.0)
    run, _, (call,) = begun(program, plan=plan, budget_usd=3.0)
    steps = [step(f"s{index}", a0=index) for index in range(6)]
    more = run.completed(call, steps, 101.0, 100.0, 101.0)
    actions: list[Any] = list(more.actions)
    assert len(actions) == 3, "each is reserved what the plan says of the expansion"
    assert [action.step.predicted_usd for action in actions] == [1.0] * 3
    for number, action in enumerate(actions, run.last_seq + 1):
        data = {"usd": 1.0, "op": "tool", "value": 1}
        event = Event("j", number, "step.completed", 102.0, action.step.id, data)
        commands: list[Any] = run.dispatcher.apply(event, 102.0)
    assert [command.error["code"] for command in commands] == ["budget"]


def test_retries_of_planned_steps_spend_the_budget_too(builder: Any) -> None:
    program = planning(builder)
    rows = tuple(StagePlan(s.name, s.op, "cpu", 1.0, 1.0) for s in program.stages)
    run, _, (call,) = begun(
        program, plan=Plan("w", program.hash, "f", rows, 1.0, 1.0), budget_usd=2.0
    )
    more = run.completed(call, [step("a", a0=1)], 101.0, 100.0, 101.0)
    attempts = 0
    while more.actions:
        (action,) = list[Any](more.actions)
        attempts += 1
        failed = Event(
            "j",
            run.last_seq + 1,
            "step.failed",
            102.0,
            "expand/a",
            {"usd": 1.0, "error": StepError("no").to_json(), "retryable": True},
        )
        assert run.dispatcher.spent_usd <= 2.0
        commands = run._follow(run.dispatcher.apply(failed, 102.0), type(more)(), 102.0)
        run.last_seq += 1
        if not commands.actions:
            break
        more = run.retrying(action.step, 103.0)
    assert attempts == 2 and run.dispatcher.status == "failed"
    assert run.dispatcher.error is not None and run.dispatcher.error["code"] == "budget"
