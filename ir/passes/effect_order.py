"""Keep the order of effects where a nested agent's frame no longer does.

The frame of a call has two barriers: nothing inside begins before everything the call waits for
is there, and nothing after it begins before everything inside has ended. Without the frame the
operations with effects need that written down, as operands after their named ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gangline.ir.attributes import decode
from gangline.ir.builder import create, mlir_type
from gangline.ir.module import blocks, mlir
from gangline.ir.ops import OPS

from .effects import Effects, conflict, names_of
from .rewrite import replace

_CALL = "agent.call"


class Arrival:
    """What a call waited for, and the operations inside that now wait for it themselves."""

    def __init__(self, effects: Effects, inputs: Sequence[Any], waited: Sequence[Any]) -> None:
        self._effects = effects
        every = [*waited, *(value for given in inputs for value in _delayed_by(given))]
        pairs = [(value, effects.of_value(value)) for value in every]
        self.waited = [(value, effect) for value, effect in pairs if effect != "none"]
        self._ordered: set[Any] = set()

    def let_wait(self, ops: Sequence[Any]) -> list[Any]:
        """Let operations with effects wait; give all operations, some of them made anew."""
        return [self._op(op, False) for op in ops] if self.waited else list(ops)

    def _op(self, op: Any, is_ordered: bool) -> Any:
        """Let one operation wait, unless what it reads has waited for everything already."""
        is_call = op.name == _CALL
        # A call may be inlined later, and then its steps do not wait for all that it reads.
        if not is_call:
            is_ordered = is_ordered or any(value in self._ordered for value in op.operands)
        if not is_ordered and op.name in OPS:
            op, is_ordered = self._leaf(op)
        if is_ordered and not is_call:
            self._ordered.update(op.results)
        for block in blocks(op):
            for inner in list(block.operations):
                self._op(inner.operation, is_ordered)
        return op

    def _leaf(self, op: Any) -> tuple[Any, bool]:
        own = self._effects.of(op)
        needed = [value for value, effect in self.waited if conflict(own, effect)]
        if not needed:
            return op, False
        known = list(op.operands)
        if op.name == _CALL:
            known = known[num_data(op, self._effects) :]
        more = [value for value in needed if value not in known]
        made = with_operands(op, [*op.operands, *more])
        replace(op, list(made.results))
        # Of a call that is inlined later, what reads waits for the writes alone.
        is_whole = own == "write" or not any(map(_is_called, needed))
        return made, is_whole and len(needed) == len(self.waited)


class LastEffects:
    """Of operations with effects those that say when all of them have happened.

    Attributes:
        any: who waits for these waits for every effect.
        writes: who waits for these waits for every write. They may stand behind reads of `any`.
    """

    def __init__(self, effects: Effects, ops: Sequence[Any]) -> None:
        makers = {value: op for op in ops for value in op.results}
        kinds = [(op, kind) for op in ops if (kind := effects.of(op)) != "none"]
        self.any = _last([op for op, _ in kinds], makers)
        self.writes = _last([op for op, kind in kinds if kind == "write"], makers)

    def before(self, effect: str) -> list[Any]:
        """Give what an operation with an effect waits for, and a call that holds several."""
        if effect == "call":
            return list(dict.fromkeys([*self.any, *self.writes]))
        return {"write": self.any, "read": self.writes}.get(effect, [])


def _last(ops: Sequence[Any], makers: Mapping[Any, Any]) -> list[Any]:
    last: list[Any] = []
    found: set[Any] = set()
    # Invariant: who waits for all of `last` waits for every operation so far.
    for op in reversed(ops):
        if op.results[0] not in found:
            last.append(op.results[0])
            behind([op.results[0]], makers, found)
    return last


class Departure:
    """The effects inside a nested agent, and those after it that now wait for them themselves."""

    def __init__(
        self, effects: Effects, ops: Sequence[Any], result: Any, waited: Iterable[tuple[Any, str]]
    ) -> None:
        self._effects = effects
        self._result = result
        makers = {value: op for op in ops for value in op.results}
        self._behind_result = behind([result], makers, set())
        self._last = LastEffects(effects, ops)
        # What is inside a branch need not run, and then nothing inside has waited.
        known = behind(self._last.any, makers, set())
        # Of a call that is inlined later only what writes waits for everything inside.
        writes = [op for value in known if (op := makers.get(value)) and effects.of(op) == "write"]
        whole = {value for op in writes if op.name in OPS for value in op.operands}
        self._left = [
            (value, kind)
            for value, kind in waited
            if value not in (whole if _is_called(value) else known)
        ]

    def leave(self, call: Any) -> None:
        """Let the users of a call use the result and wait for the effects; remove the call."""
        whole = call.results[0]
        if self._last.any or self._left:
            for user in _users(whole):
                self._user(user, whole, call)
        replace(call, [self._result])

    def _user(self, user: Any, whole: Any, call: Any) -> None:
        if _delays(user):
            rest = [value for value in self._last.any if value not in self._behind_result]
            delayed = _delayed(call, self._result, rest)
            for at, value in enumerate(list(user.operands)):
                if value == whole:
                    user.operands[at] = delayed
        elif user.name in OPS and (own := self._effects.of(user)) != "none":
            data = num_data(user, self._effects)
            given = list(user.operands)
            named = [self._result if value == whole else value for value in given[:data]]
            order = [value for value in given[data:] if value != whole]
            reads = whole in given[:data]
            # Inside a call that is inlined later some wait for the writes alone.
            is_call = user.name == _CALL
            inside = self._last.before("call" if is_call and own == "write" else own)
            before = [value for value, kind in self._left if conflict(own, kind)]
            for value in (*inside, *before):
                there = reads and value in self._behind_result
                if not there and value not in order:
                    order.append(value)
            replace(user, list(with_operands(user, [*named, *order]).results))


def num_data(op: Any, effects: Effects) -> int:
    """Give the number of operands that an operation reads; those beyond them only order effects."""
    if op.name == _CALL:
        callee = effects.functions[op.attributes["callee"].value]
        return len(callee.regions[0].blocks[0].arguments)
    return len(names_of(op))


def with_operands(op: Any, operands: Iterable[Any]) -> Any:
    """Make an operation like this one, in front of it, with other operands."""
    with mlir.InsertionPoint(op), op.location:
        return mlir.Operation.create(
            op.name,
            operands=list(operands),
            attributes=dict(op.attributes.items()),
            results=[result.type for result in op.results],
        )


def _is_called(value: Any) -> bool:
    owner = value.owner
    return not isinstance(owner, mlir.Block) and bool(owner.operation.name == _CALL)


def _users(value: Any) -> list[Any]:
    """Give the operations that use a value and have a result, each once."""
    found = {}
    for use in value.uses:
        op = use.owner.operation
        if len(op.results):
            found[op.results[0]] = op
    return list(found.values())


def behind(values: Sequence[Any], makers: Mapping[Any, Any], found: set[Any]) -> set[Any]:
    """Add to `found` the values that are there whenever `values` are, these too.

    Of a branch or a map only what it reads itself counts: what is inside need not run. What a call
    gives does not count, nor what is behind it: the call may be inlined later, and then who reads
    its result does not wait for all that was inside.
    """
    pending = list(values)
    # Invariant: the operands of what makes a value in `found` are in it or pending, but for calls.
    while pending:
        value = pending.pop()
        op = makers.get(value)
        if value in found or (op is not None and op.name == _CALL):
            continue
        found.add(value)
        pending += op.operands if op is not None else ()
    return found


def _delays(op: Any) -> bool:
    """Tell whether an operation is the list by which the first version let a call wait."""
    if not op.name.endswith(".compute") or op.attributes["fn"].value != "list":
        return False
    users = [use.owner.operation for use in op.results[0].uses]
    return len(op.operands) > 1 and [_first_of(user) for user in users] == [True]


def _first_of(op: Any) -> bool:
    """Tell whether an operation is `list[0]`."""
    if not op.name.endswith(".compute") or op.attributes["fn"].value != "item":
        return False
    owner = op.operands[1].owner
    if isinstance(owner, mlir.Block) or not owner.operation.name.endswith(".constant"):
        return False
    return bool(decode(owner.operation.attributes["value"]) == 0)


def _delayed_by(value: Any) -> list[Any]:
    """Give what the first version of the front end made a value wait for: `[value, ...][0]`."""
    item = _compute(value, "item")
    listing = _compute(item.operands[0], "list") if item is not None else None
    return list(listing.operands)[1:] if listing is not None else []


def _compute(value: Any, fn: str) -> Any:
    """Give the operation that computes a value, where it is `fn`."""
    owner = value.owner
    if isinstance(owner, mlir.Block) or not owner.operation.name.endswith(".compute"):
        return None
    return owner.operation if owner.operation.attributes["fn"].value == fn else None


def _delayed(call: Any, value: Any, waited: Sequence[Any]) -> Any:
    """Give a value only once others are there, in front of a call."""
    with mlir.InsertionPoint(call), call.location:
        listing = create(
            "agent.compute", [value, *waited], {"fn": "list"}, [mlir_type("list")]
        ).results[0]
        first = create("agent.constant", (), {"value": 0}, [mlir_type("int")]).results[0]
        return create("agent.compute", [listing, first], {"fn": "item"}, [value.type]).results[0]
