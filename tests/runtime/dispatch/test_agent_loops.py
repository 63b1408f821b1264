"""Teams of agents as jobs: durable at every event, in order, within budget and deadline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pydantic import BaseModel

import gangline as gl
from gangline.ir.errors import StepError
from gangline.ir.program import Program
from gangline.ir.specs.event import Event
from gangline.ir.specs.plan import Plan, StagePlan
from gangline.runtime.dispatch.commands import RunTool
from gangline.runtime.dispatch.fork import fork, retry_from
from gangline.runtime.dispatch.interpreter import Interpreter
from gangline.runtime.dispatch.job import Job, result_of
from gangline.runtime.dispatch.job_run import JobRun
from gangline.runtime.dispatch.pricing import Pricing
from gangline.workflows.registry import TOOLS

WRITTEN: list[str] = []


class Board(BaseModel):
    log: list[str]
    left: list[str]


@gl.tool(effects="none")
def next_name(board: Board) -> str:
    return board.left[0] if board.left else gl.FINISH


@gl.tool(effects="none")
def second_name(board: Board) -> str:
    return (*board.left, gl.FINISH)[1] if board.left else gl.FINISH


@gl.tool(effects="none")
def noted(board: Board, word: str) -> Board:
    return Board(log=[*board.log, word], left=board.left[1:])


@gl.tool(effects="read")
def find_text(text: str) -> str:
    return text + "!"


@gl.tool(effects="write")
def put_on(text: str) -> str:
    WRITTEN.append(text)
    return text


@gl.tool(effects="write", idempotent=True, retries=2)
def put_safely(text: str) -> str:
    WRITTEN.append(text)
    return text


@gl.agent
def research(board: Board) -> Board:
    return noted(board, find_text("r"))


@gl.agent
def write(board: Board) -> Board:
    put_safely("before " + board.left[0])
    return noted(board, put_safely("w"))


@gl.agent
def lead(board: Board) -> Board:
    return gl.supervise(second_name, [research, write], board, max_trips=2, name="inner")


@gl.workflow
def supervised(left: list[str]) -> Board:
    board = gl.record(Board, log=[], left=left)
    return gl.supervise(next_name, [research, write, lead], board, max_trips=6)


@gl.agent
def ping(board: Board) -> gl.Handoff[Board]:
    after = noted(board, put_safely("ping"))
    return gl.handoff(to=next_name(after), state=after)


@gl.agent
def pong(board: Board) -> gl.Handoff[Board]:
    after = noted(board, put_safely("pong"))
    return gl.handoff(to=next_name(after), state=after)


@gl.workflow
def played(left: list[str]) -> Board:
    board = gl.record(Board, log=[], left=left)
    return gl.network([ping, pong], board, first=next_name(board), max_trips=4)


@gl.agent
def scout(topic: str, mark: str = "?") -> str:
    return find_text(find_text(topic) + mark)


@gl.agent
def clerk(text: str) -> str:
    return put_safely(text)


@gl.agent
def prober(text: str) -> str:
    return gl.ask(text)


@gl.tool(effects="read")
def planned(plan: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return plan


@gl.workflow
def delegated(plan: list[dict[str, Any]]) -> dict[str, Any]:
    return gl.expand(planned(plan), tools=[scout, clerk, prober, find_text], granted=[clerk])


def step(name: str, tool: str, /, **arguments: Any) -> dict[str, Any]:
    return {"id": name, "tool": tool, "arguments": arguments}


PLAN = [
    step("a", "scout", topic="x"),
    step("b", "clerk", text={"$ref": "a"}),
    step("c", "scout", topic={"$ref": "b"}, mark="."),
    step("d", "find_text", text={"$ref": "c"}),
]
JOBS: list[tuple[Any, str, Any, Any]] = [
    (supervised, "left", ["research", "write"], ["r!", "w"]),
    (supervised, "left", ["lead", "write", "research"], ["w", "r!", "r!"]),
    (played, "left", ["ping", "pong", "pong"], ["ping", "pong", "pong"]),
    (delegated, "plan", PLAN, None),
]


def queued(program: Program, inputs: Any, **options: Any) -> tuple[JobRun, list[Event]]:
    run = JobRun("j", Pricing(None))
    return run, list(run.queue(Job("w", program, inputs, **options).to_event_data(), 100.0).events)


Order = Callable[[list[Any]], Any]


def carried(
    run: JobRun, events: list[Event], advance: Any, order: Order = lambda actions: actions.pop(0)
) -> list[Event]:
    """Run tools to the end of the job, one at a time."""
    now = events[-1].at_s
    actions = list(advance.actions)
    events.extend(advance.events)
    while actions and not run.ended:
        action = order(actions)
        if not isinstance(action, RunTool):
            continue
        now += 1.0
        value = TOOLS[action.name].call(action.arguments)
        more = run.completed(action, value, now, now - 1.0, now)
        events.extend(more.events)
        actions.extend(more.actions)
    return events


def whole(workflow: Any, inputs: Any, **options: Any) -> list[Event]:
    WRITTEN.clear()
    run, events = queued(workflow.program(), inputs, **options)
    return carried(run, events, run.start(100.0))


def ids(events: Sequence[Event], kind: str = "step.completed") -> list[str]:
    return [event.step_id for event in events if event.type == kind]


def test_ids_say_which_trip_and_which_agent() -> None:
    done = whole(supervised, {"left": ["lead", "research"]})
    assert ids(done) == [
        "supervise[0]/next_name",
        "supervise[0]/lead/inner[0]/second_name",
        "supervise[0]/lead/inner[0]/research#2/find_text#2",
        "supervise[0]/lead/inner[0]/research#2/noted#3",
        "supervise[0]/lead/inner[1]/second_name",
        "supervise[1]/next_name",
        "supervise[1]/research/find_text",
        "supervise[1]/research/noted",
        "supervise[2]/next_name",
    ]


def test_a_team_runs_in_the_order_that_was_decided() -> None:
    done = whole(supervised, {"left": ["research", "write"]})
    assert ids(done) == [
        "supervise[0]/next_name",
        "supervise[0]/research/find_text",
        "supervise[0]/research/noted",
        "supervise[1]/next_name",
        "supervise[1]/write/put_safely",
        "supervise[1]/write/put_safely#2",
        "supervise[1]/write/noted#2",
        "supervise[2]/next_name",
    ]
    assert done[-1].data["output"] == {"log": ["r!", "w"], "left": []}
    assert WRITTEN == ["before write", "w"]


def test_a_team_without_an_end_stops_at_its_bound() -> None:
    done = whole(played, {"left": ["ping", "pong"] * 9})
    assert done[-1].data["output"]["log"] == ["ping", "pong", "ping", "pong"]


def test_a_name_that_is_no_agent_fails_and_runs_nothing() -> None:
    for workflow in (supervised, played):
        done = whole(workflow, {"left": ["stranger"]})
        error = done[-1].data["error"]
        assert done[-1].type == "job.failed" and WRITTEN == []
        assert "'stranger' is none of" in error["detail"] and "item" in error["where"]


@pytest.mark.parametrize(("workflow", "key", "given", "log"), JOBS)
def test_killed_at_any_event_it_goes_on_and_repeats_nothing(
    workflow: Any, key: str, given: Any, log: Any
) -> None:
    done = whole(workflow, {key: given})
    assert done[-1].type == "job.completed", done[-1].data
    assert log is None or done[-1].data["output"]["log"] == log
    for cut in range(2, len(done)):
        run = JobRun("j", Pricing(None))
        run.replay(done[:cut])
        again = carried(run, list(done[:cut]), run.start(500.0, {"resumed": True}))
        assert again[-1].data["output"] == done[-1].data["output"]
        assert sorted(ids(again)) == sorted(ids(done)), "every step once"


@pytest.mark.parametrize(("workflow", "key", "given", "log"), JOBS)
def test_the_order_of_results_changes_no_write(
    workflow: Any, key: str, given: Any, log: Any
) -> None:
    whole(workflow, {key: given})
    first = list(WRITTEN)
    WRITTEN.clear()
    run, events = queued(workflow.program(), {key: given})
    carried(run, events, run.start(100.0), lambda actions: actions.pop())
    assert first == WRITTEN


@pytest.mark.parametrize(("workflow", "key", "given", "log"), JOBS)
def test_cancelled_at_any_event_no_step_begins(
    workflow: Any, key: str, given: Any, log: Any
) -> None:
    done = whole(workflow, {key: given})
    for cut in range(2, len(done) - 1):
        run = JobRun("j", Pricing(None))
        run.replay(done[:cut])
        run.start(500.0, {"resumed": True})
        more = run.cancel(501.0)
        assert not ids(more.events, "step.started")
        assert run.dispatcher.stopping


@pytest.mark.parametrize(("workflow", "key", "given", "log"), JOBS)
def test_a_deadline_ends_a_loop(workflow: Any, key: str, given: Any, log: Any) -> None:
    run, _ = queued(workflow.program(), {key: given}, deadline_s=3.0, on_deadline="expire")
    advance = run.start(100.0)
    action: Any = advance.actions[0]
    value = TOOLS[action.name].call(action.arguments)
    run.completed(action, value, 101.0, 100.0, 101.0)
    assert run.expires_s == 103.0
    more = run.expire(104.0)
    assert [event.type for event in more.events][-1:] == ["job.expired"] or run.stopping


def plan_of(program: Program, usd: float) -> Plan:
    rows = tuple(StagePlan(s.name, s.op, "cpu", 1.0, usd) for s in program.walk() if s.op != "call")
    return Plan("w", program.hash, "f", rows, 1.0, usd)


@pytest.mark.parametrize(("workflow", "key", "given", "log"), JOBS)
def test_a_budget_ends_a_loop(workflow: Any, key: str, given: Any, log: Any) -> None:
    program = workflow.program()
    run, _ = queued(program, {key: given}, plan=plan_of(program, 1.0), budget_usd=3.0)
    advance: Any = run.start(100.0)
    begun = 0
    actions = list(advance.actions)
    last: list[Event] = []
    while actions:
        action = actions.pop(0)
        begun += 1
        event = Event("j", run.last_seq + 1, "step.completed", 101.0, action.step.id, {
            "usd": 1.0, "op": "tool", "value": TOOLS[action.name].call(action.arguments)
        })  # fmt: skip
        run.last_seq += 1
        more = run._follow(run.dispatcher.apply(event, 101.0), type(advance)(), 101.0)
        actions.extend(more.actions)
        last = more.events
    assert begun <= 3 and last[-1].type == "job.failed"
    assert last[-1].data["error"]["code"] == "budget"


# Agents as tools ------------------------------------------------------------------------------


def test_an_agent_of_a_plan_runs_as_a_frame() -> None:
    done = whole(delegated, {"plan": PLAN})
    assert done[-1].data["output"] == {"a": "x!?!", "b": "x!?!", "c": "x!?!!.!", "d": "x!?!!.!!"}
    assert ids(done) == [
        "planned",
        "expand",
        "expand/a/find_text",
        "expand/a/find_text#2",
        "expand/b/put_safely",
        "expand/c/find_text",
        "expand/c/find_text#2",
        "expand/d",
    ]
    records = {record.id: record for record in result_of(done).steps}
    assert records["expand/a/find_text"].parents == ("expand",)
    assert "expand/a/find_text#2" in records["expand/b/put_safely"].parents
    assert "expand/c/find_text#2" in records["expand/d"].parents
    assert records["expand/a/find_text"].stage == records["expand/c/find_text"].stage == "find_text"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (step("a", "scout"), "lacks 'topic'"),
        (step("a", "scout", topic=3), "no string"),
        (step("a", "scout", topic="x", path="/"), "'path', which scout does not take"),
        (step("a", "research", topic="x"), "'research', which it may not use"),
    ],
)
def test_arguments_of_agents_are_checked_before_anything_runs(wrong: Any, said: str) -> None:
    done = whole(delegated, {"plan": [step("z", "clerk", text="t"), wrong]})
    assert said in done[-1].data["error"]["detail"]
    assert WRITTEN == [] and ids(done) == ["planned"]


def test_a_result_that_misfits_an_agent_stops_the_plan() -> None:
    plan = [step("a", "find_text", text="x"), step("b", "scout", topic=["t"])]
    plan[1]["arguments"] = {"topic": {"$ref": "a/0"}}
    error = whole(delegated, {"plan": plan})[-1].data["error"]
    assert "leads nowhere" in error["detail"] and "expand/b" in error["where"]


def test_agents_that_write_keep_the_order_of_the_plan() -> None:
    plan = [step(f"s{index}", "clerk", text=str(index)) for index in range(5)]
    run, events = queued(delegated.program(), {"plan": plan})
    WRITTEN.clear()
    carried(run, events, run.start(100.0), lambda actions: actions.pop())
    assert WRITTEN == ["0", "1", "2", "3", "4"]


def test_agents_that_do_not_need_each_other_run_side_by_side() -> None:
    plan = [step("a", "scout", topic="x"), step("b", "scout", topic="y")]
    run, _ = queued(delegated.program(), {"plan": plan})
    (call,) = list[Any](run.start(100.0).actions)
    more = run.completed(call, plan, 101.0, 100.0, 101.0)
    assert [a.step.id for a in list[Any](more.actions)] == [
        "expand/a/find_text",
        "expand/b/find_text",
    ]


def test_a_question_inside_an_agent_of_a_plan_is_asked() -> None:
    plan = [step("a", "prober", text="Well?")]
    done = whole(delegated, {"plan": plan})
    assert done[-1].type == "job.input_required"
    assert done[-1].data["interrupt"]["id"] == "expand/a/ask"
    run = JobRun("j", Pricing(None))
    run.replay(done)
    more = run.start(500.0, {"resumed": True, "answers": {"expand/a/ask": "yes"}})
    assert more.events[-1].data["output"] == {"a": "yes"}


def test_fork_and_retry_inside_an_agent_of_a_plan() -> None:
    done = whole(delegated, {"plan": PLAN})
    kept = [event.step_id for event in fork(done, "expand/c/find_text", job_id="n", now=1.0)[1:]]
    assert kept == [
        "planned",
        "expand",
        "expand/a/find_text",
        "expand/a/find_text#2",
        "expand/b/put_safely",
    ]
    told = retry_from(done, "expand/c/find_text#2")
    assert sorted(told["dropped"]) == ["expand/c/find_text#2", "expand/d"]


def test_a_failed_step_inside_an_agent_is_tried_again() -> None:
    run, _ = queued(delegated.program(), {"plan": [step("a", "clerk", text="t")]})
    (call,) = list[Any](run.start(100.0).actions)
    (put_call,) = list[Any](run.completed(call, call.arguments["plan"], 101, 100, 101).actions)
    more = run.failed(put_call.step, StepError("no"), 102.0)
    assert "RetryAfter" in [type(action).__name__ for action in more.actions]
    more = run.retrying(put_call.step, 103.0)
    (again,) = list[Any](more.actions)
    assert again.idempotency_key == put_call.idempotency_key == "j/expand/a/put_safely"


def test_keys_of_two_agents_of_a_plan_differ() -> None:
    plan = [step("a", "clerk", text="1"), step("b", "clerk", text="2")]
    done = whole(delegated, {"plan": plan})
    keys = [name for name in ids(done) if name.endswith("put_safely")]
    assert keys == ["expand/a/put_safely", "expand/b/put_safely"]


def test_an_agent_begins_while_the_plan_is_still_being_written() -> None:
    interpreter = Interpreter(delegated.program())
    interpreter.start([[]])
    interpreter.finish(interpreter.ready.popleft(), [])
    expand = interpreter.ready.popleft()
    interpreter.plan(expand, {**step("a", "scout", topic="x"), "after": []})
    (begun,) = interpreter.ready
    assert begun.id == "expand/a/find_text" and begun.operands == ("x",)


@gl.tool(effects="read")
def broken_in_agent(text: str) -> str:
    raise StepError(text)


@gl.agent
def fragile(text: str) -> str:
    return broken_in_agent(text)


@gl.workflow
def kept(plan: list[dict[str, Any]]) -> Any:
    return gl.expand(planned(plan), tools=[fragile, find_text], on_error="keep")


def test_a_step_that_fails_inside_an_agent_ends_the_job() -> None:
    """Also where failures of planned tools are kept: half an agent has no outcome."""
    run, _ = queued(kept.program(), {"plan": [step("a", "fragile", text="x")]})
    (call,) = list[Any](run.start(100.0).actions)
    (inner,) = list[Any](run.completed(call, call.arguments["plan"], 101, 100, 101).actions)
    more = run.failed(inner.step, StepError("no"), 102.0)
    assert more.events[-1].type == "job.failed" and inner.step.id == "expand/a/broken_in_agent"
