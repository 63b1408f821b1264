"""Random programs of all ops, random order of completion, failures and crashes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gangline.ir.errors import StepError
from gangline.ir.program import Program
from gangline.ir.specs.event import Event
from gangline.ir.specs.plan import Plan, StagePlan
from gangline.ir.specs.request import Finished
from gangline.runtime.dispatch.advance import Advance
from gangline.runtime.dispatch.commands import Command, Encode, RetryAfter, RunTool, SubmitRequest
from gangline.runtime.dispatch.compute import evaluate
from gangline.runtime.dispatch.job import Job, result_of
from gangline.runtime.dispatch.job_run import JobRun
from gangline.runtime.dispatch.outcome import RequestOutcome
from gangline.runtime.dispatch.pricing import Pricing
from tests.runtime.conftest import planned_tool

SETTINGS = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
Draw = Callable[[st.SearchStrategy[Any]], Any]


def number(*parts: Any) -> int:
    """What the tools and models of these tests answer: a digit that depends on what was asked."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=1).digest()[0] % 7


class Author:
    """Write a random region; knows which values are numbers and which are lists."""

    def __init__(self, p: Any, draw: Draw) -> None:
        self.p, self.draw = p, draw
        self.left = 20

    def region(self, numbers: list[int], lists: list[int], depth: int) -> int:
        numbers, lists = list(numbers), list(lists)
        self.fill(numbers, lists, depth)
        return int(self.draw(st.sampled_from(numbers)))

    def whole(self) -> int:
        """Write the outermost region; its output holds every value made there."""
        numbers, lists = [self.p.inputs[0]], list[int]()
        self.fill(numbers, lists, 0)
        return int(self.p.compute("list", *numbers, *lists))

    def fill(self, numbers: list[int], lists: list[int], depth: int) -> None:
        numbers.append(self.p.constant(self.draw(st.integers(0, 5))))
        for _ in range(self.draw(st.integers(1, 4 if depth else 8))):
            if self.left <= 0:
                break
            self.left -= 1
            self.add(numbers, lists, depth)

    def add(self, numbers: list[int], lists: list[int], depth: int) -> None:
        pick: Callable[[], int] = lambda: self.draw(st.sampled_from(numbers))
        flat = ["tool", "write", "llm", "ask", "expand", "add", "list", "len"]
        kinds = [*flat, "map", "branch", "loop", "call"] if depth < 3 else flat
        inner = depth + 1
        match self.draw(st.sampled_from(kinds)):
            case "tool":
                numbers.append(self.p.tool("ask", pick(), pick(), retries=2))
            case "write":
                options = {"effects": "write", "retries": 2, "idempotent": False}
                numbers.append(self.p.tool("ask", pick(), **options))
            case "llm":
                numbers.append(self.p.llm("draft", pick(), format="json"))
            case "expand":
                plan = self.p.tool("plan", pick(), retries=2)
                effects = self.draw(st.sampled_from(["read", "write"]))
                tool = planned_tool("ask", effects=effects, idempotent=effects != "write")
                made = self.p.expand(plan, tools=[tool])
                numbers.append(self.p.tool("ask", made, retries=2))
            case "ask":
                choices = self.p.compute("list", pick(), pick(), pick())
                question = self.p.constant(f"Which of {self.left}?")
                numbers.append(self.p.ask(question, choices, type="integer"))
            case "add":
                numbers.append(self.p.compute("add", pick(), pick()))
            case "list":
                lists.append(self.p.compute("list", pick(), pick()))
            case "len":
                lists.append(self.p.compute("range", self.p.constant(self.draw(st.integers(0, 4)))))
            case "map":
                made = self.p.compute("list", pick(), pick(), pick())
                items = self.draw(st.sampled_from([made, *lists]))
                body1: Callable[[int], int] = lambda item: self.p.tool(
                    "ask", item, self.region([*numbers, item], lists, inner), retries=2
                )
                lists.append(self.p.map(items, body1))
            case "branch":
                condition = self.p.compute("lt", pick(), self.p.constant(3))
                side: Callable[[], int] = lambda: self.region(numbers, lists, inner)
                numbers.append(self.p.branch(condition, side, side))
            case "loop":
                until: Callable[[int], int] = lambda v: self.p.compute(
                    "eq", self.p.tool("ask", v, retries=2), self.p.constant(2)
                )
                body2: Callable[[int], int] = lambda v: self.region([*numbers, v], lists, inner)
                trips = self.draw(st.integers(1, 4))
                numbers.append(self.p.loop(pick(), until, body2, trips))
            case "call":
                body3: Callable[[int], int] = lambda a: self.region([a], [], inner)
                numbers.append(self.p.call(body3, pick()))


def random_program(builder: Any, draw: Draw) -> Program:
    p = builder("n")
    program: Program = p.done(Author(p, draw).whole())
    return program


def expected(program: Program, region: int, values: dict[int, Any], *arguments: Any) -> Any:
    """Run a region the plain, recursive way: the oracle."""
    layout = program.regions[region]
    values = {**values, **dict(zip(layout.arguments, arguments, strict=True))}
    for index in layout.stages:
        stage = program.stages[index]
        given = [values[operand] for operand in stage.operands]
        values[stage.results[0]] = value_of(program, stage, given, values)
    return values[layout.yields[0]]


def value_of(program: Program, stage: Any, given: list[Any], values: dict[int, Any]) -> Any:
    run: Callable[..., Any] = lambda which, *args: expected(
        program, stage.regions[which], values, *args
    )
    match stage.op:
        case "constant":
            return stage.attributes["value"]
        case "compute":
            return evaluate(stage.attributes["fn"], given, stage.attributes, "")
        case "tool":
            return called(stage.attributes["tool"], given)
        case "expand":
            results: dict[str, Any] = {}
            for step in given[0]:
                arguments = [
                    results[value["$ref"]] if isinstance(value, dict) else value
                    for value in step["arguments"].values()
                ]
                results[step["id"]] = called("ask", arguments)
            return results
        case "tokenize":
            return number("draft", *given)
        case "ask":
            return answered(*given)
        case "map":
            return [run(0, item) for item in given[0]]
        case "branch":
            return run(0 if given[0] else 1)
        case "call":
            return run(0, *given)
        case "loop":
            value = given[0]
            for _ in range(stage.attributes["max_trips"]):
                if run(0, value):
                    break
                value = run(1, value)
            return value
    return given[0]  # prefill, decode, detokenize pass on what the model will say


def called(tool: str, arguments: list[Any]) -> Any:
    """What the tools of these tests give: a digit, or a plan whose steps build on each other."""
    if tool == "ask":
        return number("ask", arguments)
    steps = []
    for index in range(number("plan", arguments)):
        before = number("before", arguments, index)
        first: Any = {"$ref": f"s{before}"} if before < index else before
        steps.append({"id": f"s{index}", "tool": "ask", "arguments": {"a0": first, "a1": index}})
    return steps


def answered(question: str, choices: list[int]) -> int:
    """What the person of these tests chooses."""
    return choices[number(question, choices) % len(choices)]


class World:
    """Carry out actions in an order of somebody's choice, some of them failing at first."""

    def __init__(self, run: JobRun, flaky: bool = False) -> None:
        self.run, self.flaky = run, flaky
        self.events: list[Event] = []
        self.actions: list[Any] = []
        self.confirmed: Counter[str] = Counter()
        self.writes: set[str] = set()
        self.now = 0.0

    def take(self, advance: Advance) -> None:
        self.events.extend(advance.events)
        self.actions.extend(advance.actions)
        calls = (action for action in advance.actions if isinstance(action, RunTool))
        self.writes.update(call.step.id for call in calls if call.effects == "write")

    def step(self, choose: Callable[[int], int]) -> None:
        action = self.actions.pop(choose(len(self.actions)))
        self.now += 1.0
        self.take(self.outcome(action))

    def outcome(self, action: Any) -> Advance:
        run, now = self.run, self.now
        match action:
            case RetryAfter():
                return run.retrying(action.step, now)
            case _ if (
                self.flaky
                and number(action.step.id, action.step.attempt) < 3
                and (action.step.attempt <= 2 and isinstance(action, RunTool))
            ):
                return run.failed(action.step, StepError("flaky"), now)
            case RunTool():
                value = called(action.name, list(action.arguments.values()))
                return run.completed(action, value, now, now - 0.5, now)
            case Encode():
                asked = action.messages[0]["content"].split(" ", 1)[1]
                return run.completed(action, [number("draft", int(asked))], now, now, now)
            case SubmitRequest():
                text = str(action.prompt_tokens[0])
                end = Finished(action.request_id, now, (1,), text, "stop", 1, 0, 0.1, 0.2)
                return run.finished(action, RequestOutcome(end, now - 1.0, now), now)
        raise AssertionError(action)

    def answer(self, choose: Callable[[int], int]) -> None:
        """Answer one of the open questions, and let the job go on."""
        asked = self.events[-1].data["interrupts"]
        row = asked[choose(len(asked))]
        self.now += 1.0
        if row["choices"] is None:  # a write of which it is not known whether it happened
            self.confirmed[row["id"]] += 1
            value: Any = {"rerun": True}
        else:
            value = answered(row["question"], row["choices"])
        self.take(self.run.start(self.now, {"resumed": True, "answers": {row["id"]: value}}))

    @property
    def waits(self) -> bool:
        return not self.actions and self.events[-1].type == "job.input_required"

    def finish(self, choose: Callable[[int], int]) -> None:
        while self.actions or self.waits:
            if self.waits:
                self.answer(choose)
            else:
                self.step(choose)


def queued(program: Program) -> Mapping[str, Any]:
    return Job("w", program, {"n": 3}, device="cpu").to_event_data()


def begin(program: Program, flaky: bool = False) -> World:
    world = World(JobRun("j", Pricing(None)), flaky)
    world.take(world.run.queue(queued(program), 0.0))
    world.take(world.run.start(0.0))
    return world


def chooser(draw: Draw) -> Callable[[int], int]:
    random = draw(st.randoms(use_true_random=False))
    return lambda count: int(random.randrange(count))


def completed(events: Sequence[Event]) -> Counter[str]:
    return Counter(event.step_id for event in events if event.type == "step.completed")


def asked(events: Sequence[Event]) -> Counter[str]:
    """Count how often each question was put."""
    starts = (event for event in events if event.type == "step.started")
    return Counter(event.step_id for event in starts if "interrupt" in event.data)


def begun(events: Sequence[Event], step_id: str) -> int:
    """Count how often a step began, less how often it told that it had failed."""
    types = [event.type for event in events if event.step_id == step_id]
    return types.count("step.started") - types.count("step.failed")


def document(events: Sequence[Event]) -> Any:
    """What a job's document says apart from its times."""
    result = result_of(events)
    steps = sorted(
        (step.id, step.op, step.stage, step.status, step.parents) for step in result.steps
    )
    return result.status, result.output, result.error, result.interrupts, steps


def output(world: World) -> Any:
    last = world.events[-1]
    assert last.type == "job.completed", last
    return last.data["output"]


@SETTINGS
@given(data=st.data())
def test_any_order_gives_the_same_output(builder: Any, data: Any) -> None:
    program = random_program(builder, data.draw)
    world = begin(program, flaky=data.draw(st.booleans()))
    world.finish(chooser(data.draw))
    assert output(world) == expected(program, 0, {}, 3)
    assert [event.seq for event in world.events] == list(range(1, len(world.events) + 1))
    assert all(count == 1 for count in completed(world.events).values())
    assert all(count == 1 for count in asked(world.events).values())
    assert world.run.dispatcher.flights.outstanding == ()


@SETTINGS
@given(data=st.data())
def test_replaying_any_prefix_gives_the_same_ready_set(builder: Any, data: Any) -> None:
    program = random_program(builder, data.draw)
    world, choose = begin(program, flaky=True), chooser(data.draw)
    for _ in range(60):
        replayed = JobRun("j", Pricing(None))
        replayed.replay(world.events)
        live = world.run.dispatcher
        assert replayed.dispatcher.flights.outstanding == live.flights.outstanding
        assert replayed.dispatcher.spent_usd == live.spent_usd
        assert replayed.dispatcher.status == live.status
        assert replayed.dispatcher.interrupts(True) == live.interrupts(True)
        if world.waits:
            world.answer(choose)
        elif world.actions:
            world.step(choose)


@SETTINGS
@given(data=st.data())
def test_a_crash_anywhere_loses_and_repeats_nothing(builder: Any, data: Any) -> None:
    program = random_program(builder, data.draw)
    whole = begin(program, flaky=True)
    whole.finish(chooser(data.draw))
    kept = whole.events[: data.draw(st.integers(2, len(whole.events) - 1))]
    world = World(JobRun("j", Pricing(None)))
    world.run.replay(kept)
    world.events = list(kept)
    world.take(world.run.start(1000.0, {"resumed": True}))
    world.finish(chooser(data.draw))
    assert output(world) == expected(program, 0, {}, 3)
    assert all(count == 1 for count in completed(world.events).values())
    assert document(world.events) == document(whole.events)
    assert all(count == 1 for count in asked(world.events).values()), "a question is asked once"
    for step_id in whole.writes:
        once = begun(world.events, step_id) - world.confirmed[step_id]
        assert once == 1, "a write that may have happened is not begun again unasked"


@pytest.mark.parametrize("shape", ["chain", "wide", "loop", "tools"])
def test_work_grows_linearly(builder: Any, shape: str) -> None:
    def operations(size: int) -> int:
        p = builder("n")
        value = p.inputs[0]
        match shape:
            case "chain":
                for _ in range(size):
                    value = p.compute("add", value, p.inputs[0])
            case "tools":
                for _ in range(size // 10):
                    value = p.tool("ask", value)
            case "wide":
                items = p.compute("range", p.constant(size))
                value = p.compute("len", p.map(items, lambda item: p.tool("ask", item)))
            case "loop":
                until: Callable[[int], int] = lambda v: p.compute("gt", v, p.constant(size))
                value = p.loop(value, until, lambda v: p.compute("add", v, p.constant(1)), size)
        world = begin(p.done(value))
        world.finish(lambda count: count - 1)
        assert world.events[-1].type == "job.completed"
        return int(world.run.dispatcher.operations)

    small, large = operations(1_000), operations(10_000)
    assert large <= 10.5 * small


class PaidRun(JobRun):
    """Every step costs this share of what was predicted for it."""

    def __init__(self, share: float) -> None:
        super().__init__("j", Pricing(None))
        self.share = share

    def _record(
        self, kind: str, step_id: str, data: Mapping[str, Any], now: float, advance: Advance
    ) -> Sequence[Command]:
        if kind == "step.completed":
            data = {**data, "usd": data.get("predicted_usd", 0.0) * self.share}
        return super()._record(kind, step_id, data, now, advance)


@SETTINGS
@given(data=st.data())
def test_the_budget_is_never_exceeded(builder: Any, data: Any) -> None:
    """Steps that cost at most what was predicted never add up to more than the budget."""
    program = random_program(builder, data.draw)
    rows = tuple(
        StagePlan(stage.name, stage.op, "cpu", 1.0, number("usd", stage.name) / 10)
        for stage in program.stages
    )
    budget_usd = data.draw(st.sampled_from([0.0, 0.5, 1.0, 3.0, 100.0]))
    plan = Plan("w", program.hash, "f", rows, 1.0, 1.0)
    job = Job("w", program, {"n": 3}, plan, budget_usd=budget_usd)
    run = PaidRun(data.draw(st.floats(0.0, 1.0)))
    world, choose = World(run), chooser(data.draw)
    world.take(run.queue(job.to_event_data(), 0.0))
    world.take(run.start(0.0))
    while world.actions or world.waits:
        if world.waits:
            world.answer(choose)
        else:
            world.step(choose)
        assert run.dispatcher.spent_usd <= budget_usd + 1e-9
    last = world.events[-1]
    assert last.type == "job.completed" or last.data["error"]["code"] == "budget"
    if budget_usd == 100.0:
        assert output(world) == expected(program, 0, {}, 3)


@SETTINGS
@given(data=st.data())
def test_a_cancelled_job_ends_once_all_writes_have(builder: Any, data: Any) -> None:
    world, choose = begin(random_program(builder, data.draw), flaky=True), chooser(data.draw)
    for _ in range(data.draw(st.integers(0, 30))):
        if not world.actions:
            break
        world.step(choose)
    if world.run.ended:
        return
    world.take(world.run.cancel(world.now))
    while world.actions and not world.run.ended:
        action = world.actions.pop(choose(len(world.actions)))
        if isinstance(action, RunTool):
            world.now += 1.0
            world.take(world.outcome(action))
    assert world.events[-1].type == "job.cancelled"
    assert all(begun(world.events, step_id) <= 1 for step_id in world.writes)
    ended = {e.step_id for e in world.events if e.type in ("step.completed", "step.failed")}
    started = {e.step_id for e in world.events if e.type == "step.started"}
    assert world.writes & started <= ended, "no result of a write is lost"
