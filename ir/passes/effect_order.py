"""Keep the order of effects where a nested agent's frame no longer does.

The frame of a call has two barriers: nothing inside begins before everything the call waits for
is there, and nothing after it begins before everything inside has ended. Without the frame the
operations with effects need that written down, as operands after their named ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gangline.ir.builder import create, mlir_type
from gangline.ir.module import blocks, mlir
from gangline.ir.ops import OPS

from .effects import Effects, conflict, names_of
from .rewrite import replace


class Arrival:
    """What a call waited for, and the operations inside that now wait for it themselves."""

    def __init__(self, effects: Effects, inputs: Sequence[Any], waited: Sequence[Any]) -> None:
        self._effects = effects
        every = [*waited, *(value for given in inputs for value in _delayed_by(given))]
        pairs = [(value, effects.of_value(value)) for value in every]
        self._waited = [(value, effect) for value, effect in pairs if effect != "none"]
        self._ordered: set[Any] = set()

    def let_wait(self, ops: Sequence[Any]) -> list[Any]:
        """Let operations with effects wait; give all operations, some of them made anew."""
        return [self._op(op, False) for op in ops] if self._waited else list(ops)

    def _op(self, op: Any, is_ordered: bool) -> Any:
        """Let one operation wait, unless what it reads has waited for everything already."""
        is_ordered = is_ordered or any(value in self._ordered for value in op.operands)
        if not is_ordered and op.name in OPS:
            op, is_ordered = self._leaf(op)
        if is_ordered:
            self._ordered.update(op.results)
        for block in blocks(op):
            for inner in list(block.operations):
                self._op(inner.operation, is_ordered)
        return op

    def _leaf(self, op: Any) -> tuple[Any, bool]:
        own = self._effects.of(op)
        needed = [value for value, effect in self._waited if conflict(own, effect)]
        if not needed:
            return op, False
        more = [value for value in needed if value not in list(op.operands)]
        made = with_operands(op, [*op.operands, *more])
        replace(op, list(made.results))
        return made, len(needed) == len(self._waited)


class Departure:
    """The effects inside a nested agent, and those after it that now wait for them themselves."""

    def __init__(self, effects: Effects, ops: Sequence[Any], result: Any) -> None:
        self._effects = effects
        self._result = result
        makers = {value: op for op in ops for value in op.results}
        behind = _behind([result], makers, set())
        kinds = [(op, kind) for op in ops if (kind := effects.of(op)) != "none"]
        self._last: list[tuple[Any, str]] = []
        self._behind_result = behind
        found: set[Any] = set()
        # Invariant: who waits for all of `last` waits for every effect so far.
        for op, kind in reversed(kinds):
            if op.results[0] not in found:
                self._last.append((op.results[0], kind))
                _behind([op.results[0]], makers, found)

    def leave(self, call: Any) -> None:
        """Let the users of a call use the result and wait for the effects; remove the call."""
        whole = call.results[0]
        if self._last:
            for user in _users(whole):
                self._user(user, whole, call)
        replace(call, [self._result])

    def _user(self, user: Any, whole: Any, call: Any) -> None:
        if user.name.endswith(".compute") and user.attributes["fn"].value == "list":
            # The first version of the front end let calls wait by a list.
            rest = [value for value, _ in self._last if value not in self._behind_result]
            delayed = _delayed(call, self._result, rest)
            for at, value in enumerate(list(user.operands)):
                if value == whole:
                    user.operands[at] = delayed
        elif user.name in OPS and (own := self._effects.of(user)) != "none":
            data = self._num_data(user)
            given = list(user.operands)
            named = [self._result if value == whole else value for value in given[:data]]
            order = [value for value in given[data:] if value != whole]
            reads = whole in given[:data]
            for value, kind in self._last:
                there = reads and value in self._behind_result
                if conflict(own, kind) and not there and value not in order:
                    order.append(value)
            replace(user, list(with_operands(user, [*named, *order]).results))

    def _num_data(self, op: Any) -> int:
        if op.name == "agent.call":
            callee = self._effects.functions[op.attributes["callee"].value]
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


def _users(value: Any) -> list[Any]:
    """Give the operations that use a value and have a result, each once."""
    found = {}
    for use in value.uses:
        op = use.owner.operation
        if len(op.results):
            found[op.results[0]] = op
    return list(found.values())


def _behind(values: Sequence[Any], makers: Mapping[Any, Any], found: set[Any]) -> set[Any]:
    """Add to `found` the values that are there whenever `values` are.

    Of a branch or a map only what it reads itself counts: what is inside need not run.
    """
    pending = list(values)
    found.update(pending)
    # Invariant: the operands of what makes a value in `found` are in it, or the value is pending.
    while pending:
        op = makers.get(pending.pop())
        for value in op.operands if op is not None else ():
            if value not in found:
                found.add(value)
                pending.append(value)
    return found


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
