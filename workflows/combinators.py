"""Control flow over symbols: `map`, `branch`, `loop`, and small builders."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from gangline.ir.errors import TraceError
from gangline.ir.graph import Value

from . import hints
from .hints import describe, is_assignable, type_name
from .lifting import Lifter
from .sources import author_line
from .symbols import Symbol, kind_of
from .tracing import Scope, Tracer, current

T = TypeVar("T")
R = TypeVar("R")


def map(fn: Callable[[T], R], items: Iterable[T] | int) -> list[R]:
    """Call `fn` on every item at once and give the results in the order of the items.

    `items` is a list (of the trace, or any Python iterable) or a whole number n for 0 .. n-1.
    """
    _require_callable(fn, 1, "gl.map", "fn")
    tracer = current()
    listing = _as_list(tracer, items)
    kind = hints.element(listing._gl_type)
    item = Value(type_name(kind))
    with tracer.body("map", (item,)) as scope:
        result = tracer.lift(fn(Symbol(item, kind, scope)))  # type: ignore[arg-type]
        scope.block.yields = (tracer.value(result),)
    returned = hints.list_of(kind_of(result))
    operands = [tracer.value(listing)]
    made: Any = tracer.emit("map", operands, {"name": "map"}, returned, (scope.block,))
    tracer.happened_inside([scope], made._gl_value)
    return made  # type: ignore[no-any-return]


def _as_list(tracer: Tracer, items: Any) -> Symbol:
    if isinstance(items, Symbol) and type_name(items._gl_type) == "int":
        return tracer.compute("range", (items,), list[int])
    if isinstance(items, int) and not isinstance(items, bool):
        items = range(items)
    if isinstance(items, Symbol):
        if is_assignable(items._gl_type, list):
            found = tracer.value(items)
            if found.type == "list":
                return items
            return tracer.emit("agent.cast", (found,), {}, list[Any])
        raise TraceError(
            f"gl.map needs a list, not a {describe(items._gl_type)}",
            where=author_line(),
            next_step="Give a list, or a whole number to count to.",
        )
    if isinstance(items, str) or not isinstance(items, Iterable):
        raise TraceError(
            f"gl.map needs a list, not {items!r}",
            where=author_line(),
            next_step="Give a list, or a whole number to count to.",
        )
    return tracer.lift(list(items))


def branch(condition: bool, then: Callable[[], T], orelse: Callable[[], T]) -> T:
    """Run `then()` where the condition holds, else `orelse()`; only one of them runs."""
    _require_callable(then, 0, "gl.branch", "then")
    _require_callable(orelse, 0, "gl.branch", "orelse")
    tracer = current()
    if isinstance(condition, bool):
        return then() if condition else orelse()
    test = tracer.converted(condition, bool, "the condition of gl.branch is")
    taken, taken_type = _traced(tracer, "branch", then)
    other, other_type = _traced(tracer, "branch", orelse)
    joined = _joined(taken_type, other_type)
    for scope in (taken, other):
        _convert_yield(tracer, scope, joined)
    blocks = (taken.block, other.block)
    made: Any = tracer.emit("branch", (test,), {"name": "branch"}, joined, blocks)
    tracer.happened_inside([taken, other], made._gl_value)
    return made


def _traced(tracer: Tracer, kind: str, fn: Callable[[], Any]) -> tuple[Scope, Any]:
    with tracer.body(kind) as scope:
        result = tracer.lift(fn())
        scope.block.yields = (tracer.value(result),)
    return scope, kind_of(result)


def _joined(left: Any, right: Any) -> Any:
    for one, other in ((left, right), (right, left)):
        if is_assignable(one, other):
            return other
    raise TraceError(
        f"the two sides of gl.branch give {describe(left)} and {describe(right)}",
        where=author_line(),
        next_step="Let both give the same type.",
    )


def _convert_yield(tracer: Tracer, scope: Scope, annotation: Any) -> None:
    (found,) = scope.block.yields
    if found.type != type_name(annotation):
        with tracer.inside(scope):
            cast = tracer.emit("agent.cast", (found,), {}, annotation)
        scope.block.yields = (cast._gl_value,)


def loop(
    body: Callable[[T], T], first: T, *, until: Callable[[T], bool], max_trips: int | None = None
) -> T:
    """Repeat `value = body(value)` until `until(value)`, at most `max_trips` times.

    `until` is asked before each trip, so a `first` that is good already is given back as it is.
    """
    _require_callable(body, 1, "gl.loop", "body")
    _require_callable(until, 1, "gl.loop", "until")
    _require_bound(max_trips)
    tracer = current()
    start = tracer.lift(first)
    kind = start._gl_type
    ir_type = type_name(kind)
    with tracer.body("loop", (Value(ir_type),)) as test:
        state = Symbol(test.block.arguments[0], kind, test)
        asked = until(state)  # type: ignore[arg-type]
        test.block.yields = (tracer.converted(asked, bool, "until of gl.loop gives"),)
    with tracer.body("loop", (Value(ir_type),)) as trip:
        state = Symbol(trip.block.arguments[0], kind, trip)
        result = body(state)  # type: ignore[arg-type]
        trip.block.yields = (tracer.converted(result, kind, "the body of gl.loop gives"),)
    made: Any = tracer.emit(
        "loop",
        (tracer.value(start),),
        {"name": "loop", "max_trips": max_trips},
        kind,
        (test.block, trip.block),
    )
    tracer.happened_inside([test, trip], made._gl_value)
    return made  # type: ignore[no-any-return]


def _require_bound(max_trips: Any) -> None:
    if not isinstance(max_trips, int) or isinstance(max_trips, bool) or max_trips < 1:
        raise TraceError(
            f"gl.loop has no bound: max_trips is {max_trips!r}"
            if not isinstance(max_trips, Symbol)
            else "gl.loop has no bound: max_trips is only known when the workflow runs",
            where=author_line(),
            next_step="Write max_trips=3, or whatever number of trips is enough.",
        )


def _require_callable(fn: Any, arguments: int, combinator: str, parameter: str) -> None:
    shown = f"{combinator} needs a function for {parameter}"
    if isinstance(fn, Symbol) or not callable(fn):
        raise TraceError(
            f"{shown}, not a value",
            where=author_line(),
            next_step=f"Write lambda{' x' if arguments else ''}: ... in front of it.",
        )
    signature = getattr(fn, "parameters", None) or getattr(fn, "signature", None)
    try:
        python = getattr(signature, "python", None) or inspect.signature(fn)
        python.bind(*[None] * arguments)
    except TypeError as error:
        raise TraceError(
            f"{shown} of {arguments} argument{'' if arguments == 1 else 's'}: {error}",
            where=author_line(),
            next_step="Wrap it in a lambda that passes what it needs.",
        ) from None


def length(items: Any) -> int:
    """Give the length of a list, dict or text of the trace."""
    if not isinstance(items, Symbol):
        return len(items)
    if type_name(items._gl_type) not in ("list", "json", "text"):
        raise TraceError(
            f"a {describe(items._gl_type)} has no length",
            where=author_line(),
            next_step="Give a list, a dict or a text.",
        )
    return current().compute("len", (items,), int)  # type: ignore[return-value]


def record(model: type[T], **fields: Any) -> T:
    """Build a pydantic model whose fields are values of the trace."""
    if hints.fields(model) is None:
        raise TraceError(
            f"gl.record needs a pydantic model, not {describe(model)}",
            where=author_line(),
            next_step="Define a class that derives from pydantic.BaseModel.",
        )
    return Lifter(current()).record(model, fields)  # type: ignore[return-value]
