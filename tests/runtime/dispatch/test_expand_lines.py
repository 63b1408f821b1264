"""Plans of lines in the dispatcher: recorded as they are written, in order, and never twice."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gangline.ir.errors import ConflictError, StepError, StepTimeout
from gangline.ir.specs.event import Event
from gangline.ir.specs.plan import Plan, StagePlan
from gangline.ir.specs.request import Finished, RequestFailed
from gangline.runtime.dispatch.advance import Advance
from gangline.runtime.dispatch.commands import Encode, RetryAfter, RunTool, SubmitRequest
from gangline.runtime.dispatch.fork import fork, retry_from
from gangline.runtime.dispatch.job import Job, result_of
from gangline.runtime.dispatch.job_run import JobRun
from gangline.runtime.dispatch.outcome import RequestOutcome
from gangline.runtime.dispatch.plan_lines import read_line
from gangline.runtime.dispatch.plan_reader import PlanReader
from gangline.runtime.dispatch.planned_steps import MAX_DEPTH
from gangline.runtime.dispatch.pricing import Pricing
from tests.runtime.conftest import planned_tool

ANY: dict[str, Any] = {}
TOOLS = [
    planned_tool("look", parameters={"a0": ANY}, retries=0),
    planned_tool("sum", parameters={"a0": ANY}, effects="none"),
    planned_tool("send", parameters={"a0": ANY}, effects="write", idempotent=False, retries=0),
]
LINES = ['1. look(a0="x")', "2. look(a0=2)", "3. sum(a0=[$1, $2])", "4. join()"]
TEXT = "\n".join(LINES)


# One line ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("1. f()", {}),
        (" 12 .  f ( a = 1 , b=true ,c=null)  ", {"a": 1, "b": True, "c": None}),
        ('1. f(a="x, y) \\" \\u00e9", b=-1.5e3)', {"a": 'x, y) " é', "b": -1500.0}),
        ("2. f(a=$1)", {"a": {"$ref": "1"}}),
        ("2. f(a=${1})", {"a": {"$ref": "1"}}),
        ("2. f(a=$1.x[0].y, b=${1.x})", {"a": {"$ref": "1/x/0/y"}, "b": {"$ref": "1/x"}}),
        ('2. f(a="$1 of ${1.x}!")', {"a": {"$text": [{"$ref": "1"}, " of ", {"$ref": "1/x"}, "!"]}}),
        ('2. f(a="$$1 and $ and ${x}")', {"a": "$1 and $ and ${x}"}),
        ('2. f(a=[1, $1, {"k": $1}])', {"a": [1, {"$ref": "1"}, {"k": {"$ref": "1"}}]}),
    ],
)  # fmt: skip
def test_lines_are_read(text: str, arguments: Any) -> None:
    assert read_line(text, "").arguments == arguments


@pytest.mark.parametrize(
    "text",
    [
        *("", "f()", "1 f()", "1. f", "1. f(", "1. f(a)", "1. f(a=)", "1. f(a=1", "1. f(a=1,)"),
        *("1. f(1)", "1. f(a=1 b=2)", "1. f(a=1, a=2)", "1. f() g()", "1. f(a='x')", '1. f(a="x)'),
        *("1. f(a=True)", "1. f(a=NaN)", "1. f(a=1e999)", "1. f(a=01)", '1. f(a="\\ud800")'),
        *("1. f(a=[1,])", '1. f(a={"$ref": "2"})', '1. f(a={"$text": []})', '1. f(a={"k": 1, "k": 2})'),
        *("1. f(a=__import__('os'))", "1. f(a=$x)", "1. f(a=$1.)", "1. join(a=1)", "-1. f()"),
        f"1. f(a={'[' * 1000}{']' * 1000})",
        f"1. f(a={'9' * 5000})",
        "1. f(a=" + "1" * 200_000 + ")",
        "9999999999. f()",
    ],
)  # fmt: skip
def test_what_is_no_line_is_told_with_its_place(text: str) -> None:
    with pytest.raises(StepError) as caught:
        read_line(text, "here, line 3")
    assert caught.value.where == "here, line 3" and len(caught.value.detail) < 300


def test_nesting_is_bounded_where_it_is_read() -> None:
    fine = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert read_line(f"1. f(a={fine})", "").arguments["a"]


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='12.f(a="$,{}[]:)\\ \nT\u00e9', max_size=40))
def test_any_text_is_a_line_or_a_step_error(text: str) -> None:
    try:
        line = read_line(text, "")
    except StepError:
        return
    assert line.number >= 0 and line.tool


@given(st.integers(1, 60), st.randoms(use_true_random=False))
def test_lines_do_not_depend_on_how_the_text_is_cut(size: int, draws: random.Random) -> None:
    text = f"Thought: so\n\n{TEXT}\nwhat follows is no plan ((("
    reader = PlanReader(TOOLS, 9, "")
    found: list[Any] = []
    at = 0
    while at < len(text):
        step = draws.randint(1, size)
        found += reader.feed(text[at : at + step])
        at += step
    assert [step["id"] for step in found] == ["1", "2", "3"] and reader.ended


def test_a_long_plan_is_read_in_linear_time() -> None:
    """Counted in what is waited for and looked at, not in seconds."""

    def work(size: int) -> int:
        lines = [f"{n}. sum(a0=${n - 1})" if n > 1 else "1. look(a0=1)" for n in range(1, size)]
        run, _ = begun(max_steps=size)
        submit = decode_of(run)
        run.wrote(submit, "\n".join([*lines, f"{size}. join()", ""]), 1.0)
        return run.dispatcher.operations

    small, large = work(100), work(1000)
    assert large < 12 * small


# A job ------------------------------------------------------------------------------------------


def program(builder: Any, **options: Any) -> Any:
    """Make a job whose model writes a plan; `on_error`, `max_steps` and `tools` of its expand."""
    p = builder()
    template = [{"role": "user", "text": "plan"}]
    tokens = p.op("tokenize", "plan.tokenize", model="m", template=template, names=[])
    kv = p.op("prefill", "plan.prefill", tokens, model="m")
    retries = options.pop("retries", 0)
    out = p.op("decode", "plan.decode", kv, model="m", max_tokens=64, names=[], retries=retries)
    attributes = {"names": ["plan"], "tools": TOOLS, "max_steps": 9, "form": "lines"}
    attributes["granted"] = ["send"]
    return p.done(p.op("expand", "expand", out, **{**attributes, **options}))


class World:
    """One process's view of a job: its run, its log, and the commands that wait."""

    def __init__(self, run: JobRun, events: list[Event]) -> None:
        self.run, self.events, self.now = run, events, 100.0
        self.waiting: list[Any] = []
        self.called: list[str] = []

    def take(self, advance: Advance) -> None:
        self.events += advance.events
        self.waiting += advance.actions
        self.now += 1.0

    def submit(self) -> Any:
        """Give the request of the decode, having done the tokenizing."""
        for encode in [a for a in self.waiting if isinstance(a, Encode)]:
            self.waiting.remove(encode)
            self.take(self.run.completed(encode, [1], self.now, self.now, self.now))
        (found,) = [a for a in self.waiting if isinstance(a, SubmitRequest)]
        self.waiting.remove(found)
        return found

    def write(self, request: Any, text: str) -> None:
        self.take(self.run.wrote(request, text, self.now))

    def finish(self, request: Any, text: str) -> None:
        end = Finished(request.request_id, self.now, (1,), text, "stop", 1, 0)
        self.take(self.run.finished(request, RequestOutcome(end, 1.0, self.now, 2.0), self.now))

    @property
    def calls(self) -> list[str]:
        return [a.step.id for a in self.waiting if isinstance(a, RunTool)]

    def call(self, step_id: str, value: Any = "v", error: Any = None) -> None:
        (found,) = [a for a in self.waiting if isinstance(a, RunTool) and a.step.id == step_id]
        self.waiting.remove(found)
        self.called.append(step_id)
        if error is not None:
            self.take(self.run.failed(found.step, error, self.now, retryable=True))
        else:
            self.take(self.run.completed(found, value, self.now, self.now, self.now))

    def to_the_end(self, text: str = TEXT) -> list[Event]:
        while self.waiting:
            if any(isinstance(a, Encode | SubmitRequest) for a in self.waiting):
                self.finish(self.submit(), text)
            else:
                self.call(self.calls[0])
        return self.events

    def types(self, kind: str) -> list[str]:
        return [event.step_id for event in self.events if event.type == kind]


_builder: Any = None


@pytest.fixture(autouse=True)
def keep_builder(builder: Any) -> None:
    global _builder
    _builder = builder


def begun(**options: Any) -> tuple[JobRun, World]:
    limits = {key: options.pop(key) for key in ("deadline_s", "on_deadline") if key in options}
    run = JobRun("j", Pricing(None))
    job = Job("w", program(_builder, **options), {}, **limits)
    world = World(run, list(run.queue(job.to_event_data(), 100.0).events))
    world.take(run.start(100.0))
    return run, world


def resumed(events: list[Event]) -> World:
    run = JobRun("j", Pricing(None))
    run.replay(events)
    world = World(run, list(events))
    world.now = 500.0
    world.take(run.start(500.0, {"resumed": True}))
    return world


def decode_of(run: JobRun) -> Any:
    world = World(run, [])
    step = run.dispatcher.open_step("plan.tokenize")[0]
    encode = Encode(step, "m", (), "")
    world.take(run.completed(encode, [1], 101.0, 101.0, 101.0))
    return world.submit()


def test_steps_start_while_the_plan_is_written() -> None:
    run, world = begun()
    request = world.submit()
    assert "expand" in world.types("step.started")
    world.write(request, LINES[0])
    assert world.calls == []
    world.write(request, "\n2. lo")
    assert world.calls == ["expand/1"]
    world.call("expand/1", 5)
    world.write(request, "ok(a0=2)\n3. sum(a0=[$1, $2])\n")
    assert world.calls == ["expand/2"]
    world.call("expand/2", 6)
    assert world.calls == ["expand/3"]
    world.call("expand/3", 11)
    assert run.dispatcher.status == "running"
    world.finish(request, TEXT)
    assert world.events[-1].data["output"] == {"1": 5, "2": 6, "3": 11}
    assert [e.data["step"]["id"] for e in world.events if e.type == "step.planned"] == list("123")


def test_a_plan_that_has_ended_needs_no_more_text() -> None:
    _, world = begun()
    request = world.submit()
    world.write(request, f"{TEXT}\n7. look(a0=1)\n8. (((")
    assert "expand" in world.types("step.completed")
    world.finish(request, f"{TEXT}\n7. look(a0=1)\n8. (((\n")
    world.to_the_end()
    assert world.events[-1].type == "job.completed"


def test_writes_keep_their_order() -> None:
    _, world = begun()
    request = world.submit()
    world.write(
        request,
        "1. look(a0=1)\n2. send(a0=1)\n3. sum(a0=1)\n4. look(a0=1)\n5. send(a0=2)\n6. join()\n",
    )
    assert world.calls == ["expand/1", "expand/3"]
    world.call("expand/1")
    assert world.calls == ["expand/3", "expand/2"]
    world.call("expand/2")
    assert world.calls == ["expand/3", "expand/4"]
    world.call("expand/4")
    assert world.calls == ["expand/3", "expand/5"], "a pure step holds nothing up"


@pytest.mark.parametrize("lines", range(5))
@pytest.mark.parametrize("done", [0, 1])
def test_after_a_crash_nothing_recorded_is_planned_or_run_again(lines: int, done: int) -> None:
    _, world = begun()
    request = world.submit()
    world.write(request, "".join(f"{line}\n" for line in LINES[:lines]))
    for step_id in world.calls[:done]:
        world.call(step_id)
    again = resumed(world.events)
    log = again.to_the_end()
    assert log[-1].data["output"] == {"1": "v", "2": "v", "3": "v"}
    planned = [e.data["step"]["id"] for e in log if e.type == "step.planned"]
    assert planned == ["1", "2", "3"]
    assert not set(world.called) & set(again.called)


def test_a_crash_at_any_event_leads_to_the_same_end() -> None:
    _, world = begun()
    request = world.submit()
    for line in LINES:
        world.write(request, f"{line}\n")
        for step_id in world.calls:
            world.call(step_id)
    world.finish(request, TEXT)
    log = world.events
    assert log[-1].type == "job.completed"
    for cut in range(3, len(log)):
        again = resumed(log[:cut])
        ended = again.to_the_end()
        assert ended[-1].data["output"] == log[-1].data["output"], f"cut at {cut}"
        done = [e.step_id for e in ended if e.type == "step.completed"]
        assert len(done) == len(set(done)), f"cut at {cut}"


def test_recorded_lines_win_over_lines_written_again() -> None:
    _, world = begun()
    request = world.submit()
    world.write(request, '1. look(a0="x")\n2. look(a0=2)\n')
    again = resumed(world.events)
    log = again.to_the_end('1. look(a0="other")\n2. look(a0=2)\n3. sum(a0=$1)\n4. join()')
    (value,) = [
        e.data["value"] for e in log if e.type == "step.completed" and e.step_id == "expand"
    ]
    assert value["steps"][0]["arguments"] == {"a0": "x"}
    assert len(value["notes"]) == 1 and "line 1" in value["notes"][0]
    assert [step["id"] for step in value["steps"]] == ["1", "2", "3"]


def test_a_new_line_waits_for_recorded_writes() -> None:
    _, world = begun()
    world.write(world.submit(), "1. send(a0=1)\n")
    world.call("expand/1")
    again = resumed(world.events)
    request = again.submit()
    again.write(request, "1. send(a0=1)\n2. look(a0=1)\n3. send(a0=2)\n")
    (second, third) = [e.data["step"] for e in again.events if e.type == "step.planned"][1:]
    assert (second["after"], third["after"]) == (["1"], ["1", "2"])


def test_a_write_in_flight_at_a_crash_is_asked_about() -> None:
    _, world = begun()
    world.write(world.submit(), "1. send(a0=1)\n")
    assert world.calls == ["expand/1"]
    again = resumed(world.events)
    assert again.waiting == [] and again.events[-1].data["interrupt"]["id"] == "expand/1"


def test_a_job_whose_decode_failed_can_be_retried() -> None:
    run, world = begun()
    request = world.submit()
    world.write(request, '1. look(a0="x")\n2. lo')
    failed = RequestFailed(request.request_id, 1.0, StepError("gone").to_json())
    world.take(run.request_failed(request, failed, world.now))
    assert world.events[-1].type == "job.failed"
    again = resumed(world.events)
    log = again.to_the_end()
    assert log[-1].data["output"] == {"1": "v", "2": "v", "3": "v"}


def test_a_bad_line_fails_the_job_unless_it_is_kept() -> None:
    run, world = begun()
    request = world.submit()
    world.write(request, "1. look(a0=1)\n2. rm()\n")
    assert run.stopping and world.types("step.failed") == ["expand"]
    run, world = begun(on_error="keep")
    request = world.submit()
    world.write(request, "1. look(a0=1)\n2. rm()\n3. look(a0=1)\n")
    world.call("expand/1", 7)
    world.finish(request, "1. look(a0=1)\n2. rm()\n3. look(a0=1)\n4. join()")
    output = world.events[-1].data["output"]
    assert not output["ok"] and "'rm'" in output["error"]
    assert [call["result"] for call in output["calls"]] == [7]


def test_kept_failures_are_not_tried_again_after_a_crash() -> None:
    _, world = begun(on_error="keep")
    request = world.submit()
    world.write(request, "1. look(a0=1)\n2. look(a0=$1)\n3. look(a0=3)\n")
    world.call("expand/1", error=StepError("no"))
    again = resumed(world.events)
    text = "1. look(a0=1)\n2. look(a0=$1)\n3. look(a0=3)\n4. join()"
    output = again.to_the_end(text)[-1].data["output"]
    assert again.called == ["expand/3"]
    assert [bool(call["error"]) for call in output["calls"]] == [True, True, False]


def test_a_write_that_may_have_happened_is_never_kept() -> None:
    run, world = begun(on_error="keep")
    world.write(world.submit(), "1. send(a0=1)\n")
    world.call("expand/1", error=StepTimeout("late"))
    assert run.stopping and not any(e.data.get("kept") for e in world.events)


def test_what_ends_with_its_job_is_not_kept() -> None:
    run, world = begun(on_error="keep")
    world.write(world.submit(), "1. send(a0=1)\n2. look(a0=1)\n")
    world.take(run.cancel(world.now))
    world.call("expand/1", error=StepError("stopped"))
    assert not any(e.data.get("kept") for e in world.events)


def test_cancelled_in_the_middle_of_a_plan() -> None:
    run, world = begun()
    request = world.submit()
    world.write(request, "1. look(a0=1)\n")
    world.take(run.cancel(world.now))
    assert run.dispatcher.status == "cancelled"
    world.write(request, "2. look(a0=2)\n")
    assert world.types("step.planned") == ["expand"]


def test_expired_in_the_middle_of_a_plan() -> None:
    run, world = begun(deadline_s=50.0, on_deadline="expire")
    request = world.submit()
    world.write(request, "1. look(a0=1)\n2. send(a0=1)\n")
    world.call("expand/1")
    world.take(run.expire(151.0))
    assert run.stopping and run.dispatcher.status == "running", "the write ends first"
    world.write(request, "3. look(a0=1)\n")
    world.call("expand/2")
    assert run.dispatcher.status == "expired" and len(world.types("step.planned")) == 2


@pytest.mark.parametrize("tried", [0, 1])
def test_a_decode_that_cannot_be_paid_ends_the_job(tried: int) -> None:
    """Also one whose plan is open, as its first attempt failed: the expand frees no money."""
    made = program(_builder, retries=1)
    usd = {"decode": 1.0 if tried else 9.0, "expand": 0.5}
    rows = tuple(
        StagePlan(stage.name, stage.op, "cpu", 1.0, usd.get(stage.op, 0.0)) for stage in made.stages
    )
    plan = Plan("w", made.hash, "f", rows, 1.0, 1.0)
    run = JobRun("j", Pricing(None))
    job = Job("w", made, {}, plan=plan, budget_usd=1.6)
    world = World(run, list(run.queue(job.to_event_data(), 100.0).events))
    world.take(run.start(100.0))
    (encode,) = world.waiting
    world.take(run.completed(encode, [1], 101.0, 101.0, 101.0))
    if tried:
        (_, request) = world.waiting
        world.write(request, "1. look(a0=1)\n")
        spent = {"usd": 1.0, "op": "tool", "value": 1}
        event = Event("j", run.last_seq + 1, "step.completed", 102.0, "expand/1", spent)
        run.dispatcher.apply(event, 102.0)
        run.last_seq += 1
        failed = RequestFailed(request.request_id, 1.0, StepError("gone").to_json())
        world.take(run.request_failed(request, failed, world.now))
        (later,) = [a for a in world.waiting if isinstance(a, RetryAfter)]
        world.take(run.retrying(later.step, 110.0))
    assert world.events[-1].type == "job.failed" and run.dispatcher.error is not None
    assert run.dispatcher.error["code"] == "budget"


def test_a_decode_that_is_tried_again_repeats_no_line() -> None:
    run = JobRun("j", Pricing(None))
    job = Job("w", program(_builder, retries=1), {})
    world = World(run, list(run.queue(job.to_event_data(), 100.0).events))
    world.take(run.start(100.0))
    request = world.submit()
    world.write(request, '1. look(a0="x")\n2. lo')
    failed = RequestFailed(request.request_id, 1.0, StepError("gone").to_json())
    world.take(run.request_failed(request, failed, world.now))
    (later,) = [a for a in world.waiting if isinstance(a, RetryAfter)]
    world.waiting.remove(later)
    world.take(run.retrying(later.step, 110.0))
    world.write(request, "ok(a0=2)\n")
    assert len(world.types("step.planned")) == 1, "what the first attempt still says is not heard"
    again = world.submit()
    world.write(again, f"{TEXT}\n")
    world.finish(again, f"{TEXT}\n")
    assert world.to_the_end()[-1].data["output"] == {"1": "v", "2": "v", "3": "v"}
    assert len(world.types("step.planned")) == 3


# Forks and retries ------------------------------------------------------------------------------


def whole() -> list[Event]:
    _, world = begun()
    request = world.submit()
    world.write(request, TEXT[:20])
    return world.to_the_end() if not request else _ended(world, request)


def _ended(world: World, request: Any) -> list[Event]:
    world.finish(request, TEXT)
    return world.to_the_end()


def test_fork_and_retry_of_a_finished_plan() -> None:
    log = whole()
    kept = sorted(e.step_id for e in fork(log, "expand/3", job_id="n", now=1.0)[1:])
    models = ["plan.decode", "plan.prefill", "plan.tokenize"]
    assert kept == sorted(["expand", "expand/1", "expand/2", *models])
    assert sorted(retry_from(log, "expand/1")["dropped"]) == ["expand/1", "expand/3"]
    anew = fork(log, "plan.decode", job_id="n", now=1.0)[1:]
    assert [e.step_id for e in anew] == ["plan.tokenize"], "a plan comes after its decode"
    dropped = retry_from(log, "plan.decode")["dropped"]
    assert {"expand", "expand/1", "plan.decode", "plan.prefill"} <= set(dropped)


def test_a_fork_in_the_middle_of_a_plan_keeps_its_lines() -> None:
    _, world = begun()
    request = world.submit()
    world.write(request, '1. look(a0="x")\n2. look(a0=2)\n')
    world.call("expand/1", 5)
    forked = fork(world.events, "expand/2", job_id="n", now=200.0)
    kinds = [(e.type, e.step_id) for e in forked[1:]]
    assert kinds == [
        ("step.completed", "plan.tokenize"),
        *[("step.planned", "expand")] * 2,
        ("step.completed", "expand/1"),
    ]
    run = JobRun("n", Pricing(None))
    run.replay(forked)
    again = World(run, list(forked))
    again.take(run.start(300.0))
    again.to_the_end()
    assert again.events[-1].data["output"] == {"1": 5, "2": "v", "3": "v"}
    assert "expand/1" not in again.called


def test_a_fork_keeps_failures_that_were_kept() -> None:
    _, world = begun(on_error="keep")
    request = world.submit()
    world.write(request, "1. look(a0=1)\n2. look(a0=2)\n3. join()\n")
    world.call("expand/1", error=StepError("no"))
    world.call("expand/2")
    world.finish(request, "1. look(a0=1)\n2. look(a0=2)\n3. join()\n")
    forked = fork(world.events, "expand/2", job_id="n", now=200.0)
    run = JobRun("n", Pricing(None))
    run.replay(forked)
    again = World(run, list(forked))
    again.take(run.start(300.0))
    assert again.calls == ["expand/2"]
    again.to_the_end()
    assert [bool(c["error"]) for c in again.events[-1].data["output"]["calls"]] == [True, False]
    statuses = {record.id: record.status for record in result_of(again.events).steps}
    assert statuses["expand/1"] == "failed"


def test_a_write_that_would_happen_twice_must_be_confirmed() -> None:
    _, world = begun()
    request = world.submit()
    world.finish(request, "1. send(a0=1)\n2. join()")
    log = world.to_the_end()
    with pytest.raises(ConflictError, match="expand/1"):
        retry_from(log, "plan.decode")
