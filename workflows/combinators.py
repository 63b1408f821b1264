"""Control flow over symbols: `map`, `loop`, and small builders (`branch` is in branching.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from gangline.ir.errors import TraceError
from gangline.ir.graph import Value

from . import hints
from .arguments import require_bound, require_callable
from .hints import describe, is_assignable, type_name
from .lifting import Lifter
from .sources import author_line
from .symbols import Symbol, kind_of
from .tracing import Tracer, current, require_name

T = TypeVar("T")
R = TypeVar("R")


def map(fn: Callable[[T], R], items: Iterable[T] | int) -> list[R]:
    """Call `fn` on every item at once and give the results in the order of the items.

    `items` is a list (of the trace, or any Python iterable) or a whole number n for 0 .. n-1.
    """
    require_callable(fn, 1, "gl.map", "fn")
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


def loop(
    body: Callable[[T], T],
    first: T,
    *,
    until: Callable[[T], bool],
    max_trips: int | None = None,
    name: str = "loop",
) -> T:
    """Repeat `value = body(value)` until `until(value)`, at most `max_trips` times.

    `until` is asked before each trip, so a `first` that is good already is given back as it is.
    Steps of trip n have ids that begin with `name[n]/`.
    """
    require_callable(body, 1, "gl.loop", "body")
    require_callable(until, 1, "gl.loop", "until")
    require_bound(max_trips, "gl.loop")
    require_name(name)
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
        {"name": name, "max_trips": max_trips},
        kind,
        (test.block, trip.block),
    )
    tracer.happened_inside([test, trip], made._gl_value)
    return made  # type: ignore[no-any-return]


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


def replace(value: T, **fields: Any) -> T:
    """Give a pydantic model of the trace with some of its fields changed."""
    model = kind_of(value)
    known = hints.fields(model)
    if known is None:
        raise TraceError(
            f"gl.replace needs a pydantic model, not {describe(model)}",
            where=author_line(),
            next_step="Build lists and dicts anew: items + [item].",
        )
    kept = {name: getattr(value, name) for name in known if name not in fields}
    return Lifter(current()).record(model, {**kept, **fields})  # type: ignore[return-value]
