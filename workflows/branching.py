"""Run one of two sides: `branch`, and what `switch` shares with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gangline.ir.errors import TraceError

from .arguments import require_callable
from .hints import describe, is_assignable, type_name
from .sources import author_line
from .speculation import require_no_effects
from .symbols import kind_of
from .tracing import Scope, Tracer, current

T = TypeVar("T")


def branch(
    condition: bool,
    then: Callable[[], T],
    orelse: Callable[[], T],
    *,
    speculative: bool = False,
) -> T:
    """Run `then()` where the condition holds, else `orelse()`; only one of them runs.

    `speculative` says that both sides may begin before the condition is known and that one is
    thrown away then; so neither may write, nor ask a person.
    """
    require_callable(then, 0, "gl.branch", "then")
    require_callable(orelse, 0, "gl.branch", "orelse")
    tracer = current()
    if isinstance(condition, bool):
        return then() if condition else orelse()
    test = tracer.converted(condition, bool, "the condition of gl.branch is")
    taken, taken_type = traced(tracer, "branch", then)
    other, other_type = traced(tracer, "branch", orelse)
    kind = joined(taken_type, other_type, "the two sides of gl.branch")
    for scope in (taken, other):
        yield_as(tracer, scope, kind)
    blocks = (taken.block, other.block)
    if speculative:
        require_no_effects(tracer, blocks)
    attributes = {"name": "branch", "speculative": True if speculative else None}
    made: Any = tracer.emit("branch", (test,), attributes, kind, blocks)
    tracer.happened_inside([taken, other], made._gl_value)
    return made


def traced(tracer: Tracer, kind: str, fn: Callable[[], Any]) -> tuple[Scope, Any]:
    """Record what a function does as a block; give its scope and the type of its result."""
    with tracer.body(kind) as scope:
        result = tracer.lift(fn())
        scope.block.yields = (tracer.value(result),)
    return scope, kind_of(result)


def joined(left: Any, right: Any, sides: str) -> Any:
    """Give the type that holds values of both; `sides` begins the sentence of the TraceError."""
    for one, other in ((left, right), (right, left)):
        if is_assignable(one, other):
            return other
    raise TraceError(
        f"{sides} give {describe(left)} and {describe(right)}",
        where=author_line(),
        next_step="Let both give the same type.",
    )


def yield_as(tracer: Tracer, scope: Scope, annotation: Any) -> None:
    """Cast what a block yields to the IR type of an annotation."""
    (found,) = scope.block.yields
    if found.type != type_name(annotation):
        with tracer.inside(scope):
            cast = tracer.emit("agent.cast", (found,), {}, annotation)
        scope.block.yields = (cast._gl_value,)
