"""Walk a program: which steps are ready, given the results so far.

Constants, computations and control flow are evaluated here; every other op comes out as an
Activation, once. Work goes through one queue and never through recursion, so that a chain of
100,000 stages needs no stack.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gangline.ir.errors import GanglineError, LoweringError, StepError
from gangline.ir.program import Program, Stage

from .compute import evaluate
from .expansion import Expansion, PlannedCall, WrittenPlan
from .frame import Bound, Control, Frame, Parents, merge
from .layout import layouts
from .prefixes import Prefix, prefix_of_tokens, prefixes_of


@dataclass(frozen=True, slots=True)
class KvHandle:
    """The value of a prefill until its request has run: what the decode will submit.

    It lives in memory only; a handle never survives a crash, the pair is run again as a unit.
    `prefixes` are the beginnings that its prompt shares with others.
    """

    step_id: str
    stage: Stage
    tokens: tuple[int, ...]
    parents: Parents
    prefixes: tuple[Prefix, ...] = ()


@dataclass(slots=True, eq=False)
class Activation:
    """A step that may run: its id, its stage and the values it reads. Never changed."""

    id: str
    stage: Stage
    operands: tuple[Any, ...]
    parents: Parents
    frame: Frame
    position: int
    planned: tuple[Expansion, str] | None = None  # of a step that a plan asked for


class Interpreter:
    """Execute the control flow of one job.

    `ready` holds activations nobody has taken yet. After the last result `output` is set; a
    computation without value sets `error` and nothing further happens.
    """

    def __init__(self, program: Program) -> None:
        self._layouts = layouts(program)
        self._work: deque[tuple[Frame, int]] = deque()
        self._expansions: dict[str, Expansion] = {}  # whose plan is not whole yet
        self._prompts: dict[str, Activation] = {}  # tokenize steps whose prompts begin like others
        self.ready: deque[Activation] = deque()
        self.operations = 0
        self.output: Bound | None = None
        self.error: GanglineError | None = None

    def start(self, inputs: Sequence[Any]) -> None:
        """Begin with the inputs in the order of the program's parameters."""
        self._spawn(0, None, None, 0, "", (), [Bound(value) for value in inputs])
        self._drain()

    def finish(self, activation: Activation, value: Any) -> None:
        """Give the result of a step, and find what has become ready."""
        if activation.planned is not None:
            self._planned_ended(*activation.planned, Bound(value, (activation.id,)))
        elif activation.stage.op == "expand":
            self._expand(activation, value)
        elif activation.stage.op == "prefill":
            kept = Bound(activation.operands[0], (activation.id,))
            self._finish(activation.frame, activation.position, kept)
        else:
            if "prefix_ids" in activation.stage.attributes:
                self._prompts[activation.id] = activation
            bound = Bound(value, (activation.id,))
            self._finish(activation.frame, activation.position, bound)
        self._drain()

    def plan(self, activation: Activation, step: Mapping[str, Any]) -> None:
        """Take a step of a plan that is not whole yet."""
        self._grow(self._expansion(activation), [step])
        self._drain()

    def planned(self, step_id: str) -> tuple[Mapping[str, Any], ...]:
        """Give the steps so far of a plan that is not whole yet."""
        expansion = self._expansions.get(step_id)
        return () if expansion is None else tuple(expansion.steps.values())

    def fail(self, activation: Activation, reason: str) -> None:
        """Take the failure of a planned step that is kept."""
        assert activation.planned is not None
        expansion, name = activation.planned
        self._go_on_with(expansion, expansion.fail(name, reason))
        self._drain()

    def _expansion(self, activation: Activation) -> Expansion:
        found = self._expansions.get(activation.id)
        if found is None:
            stage = activation.stage
            given = dict(zip(stage.attributes["names"], activation.operands, strict=False))
            found = Expansion(activation.id, stage, activation.frame, activation.position, given)
            self._expansions[activation.id] = found
        return found

    def _expand(self, activation: Activation, plan: Mapping[str, Any]) -> None:
        """Make the steps of a recorded plan ready, as far as they wait for nothing."""
        made = self._expansion(activation)
        del self._expansions[activation.id]
        made.close(_told(plan.get("error")))
        self._grow(made, plan["steps"])

    def _grow(self, expansion: Expansion, steps: Sequence[Mapping[str, Any]]) -> None:
        self._go_on_with(expansion, expansion.add(steps))

    def _planned_ended(self, expansion: Expansion, name: str, result: Bound) -> None:
        self._go_on_with(expansion, expansion.end(name, result))

    def _go_on_with(self, expansion: Expansion, ready: Sequence[str]) -> None:
        """Make steps ready; where that was the end of it all, the expand has its result."""
        pending = deque(ready)
        # Invariant: what is in `pending` has all it waits for.
        while pending and self.error is None:
            pending.extend(self._plan_step(expansion, pending.popleft()))
        if expansion.done and self.error is None:
            self._finish(expansion.frame, expansion.position, expansion.output)

    def _plan_step(self, expansion: Expansion, name: str) -> Sequence[str]:
        """Make a planned step ready; gives those that go on because it cannot run."""
        self.operations += 1
        try:
            if "agent" in expansion.row(name):
                self._plan_agent(expansion, name)
            else:
                self._plan_tool(expansion, name)
        except GanglineError as error:
            if expansion.keeps:
                return expansion.fail(name, error.detail)
            self.error = self.error or error
        return ()

    def _plan_tool(self, expansion: Expansion, name: str) -> None:
        stage, operands = expansion.call(name)
        parents, frame = expansion.parents(name), expansion.frame
        step_id, planned = f"{expansion.step_id}/{name}", (expansion, name)
        self.ready.append(
            Activation(step_id, stage, operands, parents, frame, expansion.position, planned)
        )

    def _plan_agent(self, expansion: Expansion, name: str) -> None:
        """Run a nested agent that a plan named, as a call of the workflow's own would."""
        region, values = expansion.agent(name)
        frame, parents = expansion.frame, expansion.parents(name)
        control = PlannedCall(
            frame, expansion.position, [Bound(None)], 1, expansion=expansion, step=name
        )
        arguments = [Bound(value, parents) for value in values]
        prefix, index = f"{expansion.step_id}/{name}/", expansion.stage.regions[region]
        self._spawn(index, frame, control, 0, prefix, parents, arguments)

    def _drain(self) -> None:
        # Invariant: every position in the queue has all its values and was queued once.
        while self._work and self.error is None:
            frame, position = self._work.popleft()
            self.operations += 1
            try:
                self._fire(frame, position)
            except GanglineError as error:
                self.error = error

    def _spawn(
        self,
        region: int,
        parent: Frame | None,
        owner: Control | None,
        slot: int,
        prefix: str,
        control: Parents,
        arguments: Sequence[Bound],
    ) -> None:
        layout = self._layouts[region]
        frame = Frame(layout, parent, owner, slot, prefix, control)
        idle = [at for at, count in enumerate(frame.missing) if count == 0]
        self._work.extend((frame, position) for position in idle)
        if len(arguments) != len(layout.region.arguments):
            raise LoweringError(f"Region {region} of the program is given the wrong arguments")
        for value, bound in zip(layout.region.arguments, arguments, strict=True):
            self._bind(frame, value, bound)

    def _bind(self, frame: Frame, value: int, bound: Bound) -> None:
        frame.values[value] = bound
        users = frame.layout.users.get(value)
        if users is not None:
            self._arrived(frame, users)
        if frame.waiters:
            for waiter, positions in frame.waiters.pop(value, ()):
                self._arrived(waiter, positions)

    def _arrived(self, frame: Frame, positions: Sequence[int]) -> None:
        self.operations += len(positions)
        for position in positions:
            frame.missing[position] -= 1
            if frame.missing[position] == 0:
                self._work.append((frame, position))

    def _finish(self, frame: Frame, position: int, bound: Bound) -> None:
        for value in frame.layout.stages[position].results:
            self._bind(frame, value, bound)
        self._close(frame)

    def _close(self, frame: Frame) -> None:
        frame.open -= 1
        if frame.open:
            return
        yields = frame.read(frame.layout.region.yields)
        value = yields[0] if yields else Bound(None)
        if frame.owner is None:
            self.output = value
        else:
            self._returned(frame.owner, frame.slot, value)

    def _fire(self, frame: Frame, position: int) -> None:
        if position == len(frame.layout.stages):
            self._close(frame)
            return
        stage = frame.layout.stages[position]
        if position in frame.layout.streams:
            self.ready.append(_reading(frame, position, stage))
            return
        operands = frame.read(stage.operands)
        match stage.op:
            case "tool":  # first, as most are
                self.ready.append(_activation(frame, position, stage, operands))
            case "constant":
                self._finish(frame, position, Bound(stage.attributes["value"]))
            case "compute":
                self._finish(frame, position, _compute(stage, operands))
            case "prefill":
                self._prefill(frame, position, operands)
            case "map":
                self._map(frame, position, operands[0])
            case "branch":
                self._branch(frame, position, operands[0])
            case "loop":
                control = Control(frame, position, [operands[0]], 0)
                self._trip(control, operands[0])
            case "call":
                self._call(frame, position, operands)
            case _:
                self.ready.append(_activation(frame, position, stage, operands))

    def _prefill(self, frame: Frame, position: int, operands: Sequence[Bound]) -> None:
        """Leave a prefill to its first decode; one that others go on from is a step of its own.

        The tokens are those of the whole prompt: a cache it goes on from was only waited for.
        """
        stage, tokens = frame.layout.stages[position], tuple(operands[0].value)
        is_begun = position in frame.layout.begun and len(tokens) > 0
        parents = merge([*[bound.parents for bound in operands], frame.control])
        prefixes = self._prefixes(operands, tokens)
        if is_begun:
            prefixes += prefix_of_tokens(stage.attributes["model"], tokens)
        step_id = frame.prefix + stage.name
        handle = Bound(KvHandle(step_id, stage, tokens, parents, prefixes), parents)
        if is_begun:
            self.ready.append(_activation(frame, position, stage, [handle]))
        else:
            self._finish(frame, position, Bound(handle.value, (step_id,)))

    def _prefixes(self, operands: Sequence[Bound], tokens: Sequence[int]) -> tuple[Prefix, ...]:
        """Give the beginnings that a prompt shares, among them that which it goes on from."""
        found: tuple[Prefix, ...] = ()
        for bound in operands[1:]:
            if isinstance(bound.value, KvHandle):
                found += bound.value.prefixes
        prompt = self._prompts.pop(operands[0].parents[0], None) if operands[0].parents else None
        if prompt is not None:
            found += prefixes_of(prompt.stage, prompt.operands, len(tokens))
        return found

    def _inner(
        self,
        control: Control,
        region: int,
        slot: int,
        label: str | None,
        decided_by: Parents,
        arguments: Sequence[Bound],
    ) -> None:
        frame, stage = control.frame, control.frame.layout.stages[control.position]
        # Without a label the frame's steps are named as if they stood around the control stage.
        prefix = frame.prefix if label is None else f"{frame.prefix}{stage.name}{label}"
        parents = merge([frame.control, decided_by])
        index = stage.regions[region]
        self._spawn(index, frame, control, slot, prefix, parents, arguments)

    def _map(self, frame: Frame, position: int, items: Bound) -> None:
        stage = frame.layout.stages[position]
        if not isinstance(items.value, list | tuple):
            raise StepError(
                f"{stage.name} needs a list, and got {type(items.value).__name__}",
                where=stage.where or stage.name,
                next_step="Give gl.map a value that is a list.",
            )
        count = len(items.value)
        if count == 0:
            self._finish(frame, position, Bound([], items.parents))
            return
        control = Control(frame, position, [Bound(None)] * count, count)
        for slot, item in enumerate(items.value):
            argument = Bound(item, items.parents)
            self._inner(control, 0, slot, f"[{slot}]/", (), (argument,))

    def _call(self, frame: Frame, position: int, operands: list[Bound]) -> None:
        stage = frame.layout.stages[position]
        count = len(self._layouts[stage.regions[0]].region.arguments)
        control = Control(frame, position, [Bound(None)], 1)
        waited = merge([bound.parents for bound in operands[count:]])
        self._inner(control, 0, 0, "/", waited, operands[:count])

    def _branch(self, frame: Frame, position: int, condition: Bound) -> None:
        control = Control(frame, position, [Bound(None)], 1)
        side: int = 0 if condition.value else 1
        label: str | None = (".then/", ".else/")[side]
        if "case" in frame.layout.stages[position].attributes:
            # An arm of a switch: ids say what the arm runs, not how deep its test is nested.
            # Names are unique in a program, so no two sides can give the same id.
            label = None
        self._inner(control, side, 0, label, condition.parents, ())

    def _trip(self, control: Control, value: Bound) -> None:
        stage = control.frame.layout.stages[control.position]
        control.results[0] = value
        if control.trips >= stage.attributes["max_trips"]:
            self._finish(control.frame, control.position, value)
            return
        control.testing = True
        self._inner(control, 0, 0, f".until[{control.trips}]/", (), (value,))

    def _returned(self, control: Control, slot: int, value: Bound) -> None:
        """Go on with a control stage, one of whose frames has ended."""
        if isinstance(control, PlannedCall):
            self._planned_ended(control.expansion, control.step, value)
            return
        stage = control.frame.layout.stages[control.position]
        if stage.op == "loop":
            self._loop(control, value)
            return
        control.results[slot] = value
        control.waiting -= 1
        if control.waiting == 0:
            whole = _gathered(control.results) if stage.op == "map" else value
            self._finish(control.frame, control.position, whole)

    def _loop(self, control: Control, value: Bound) -> None:
        if not control.testing:
            control.trips += 1
            self._trip(control, value)
        elif value.value:
            self._finish(control.frame, control.position, control.results[0])
        else:
            control.testing = False
            label = f"[{control.trips}]/"
            self._inner(control, 1, 0, label, value.parents, (control.results[0],))


def _gathered(results: list[Bound]) -> Bound:
    values = [bound.value for bound in results]
    return Bound(values, merge([bound.parents for bound in results]))


def _compute(stage: Stage, operands: list[Bound]) -> Bound:
    where = f"{stage.where}, {stage.name}" if stage.where else stage.name
    values = [bound.value for bound in operands]
    value = evaluate(stage.attributes["fn"], values, stage.attributes, where)
    return Bound(value, merge([bound.parents for bound in operands]))


def _reading(frame: Frame, position: int, stage: Stage) -> Activation:
    """Make an expand ready whose plan is being written."""
    decode = frame.layout.stages[frame.layout.streams[position]]
    plan = WrittenPlan(frame.prefix + decode.name, frame, stage.operands[0])
    operands = [Bound(plan, (plan.step_id,)), *frame.read(stage.operands[1:])]
    return _activation(frame, position, stage, operands)


def _told(error: Mapping[str, str] | None) -> str:
    return "" if error is None else error["detail"]


def _activation(frame: Frame, position: int, stage: Stage, operands: list[Bound]) -> Activation:
    parents = merge([*[bound.parents for bound in operands], frame.control])
    values = tuple([bound.value for bound in operands])
    return Activation(frame.prefix + stage.name, stage, values, parents, frame, position)
