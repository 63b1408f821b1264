"""A branch with many sides: `switch`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

from gangline.ir.errors import TraceError

from . import hints
from .arguments import require_callable
from .branching import joined, traced, yield_as
from .hints import describe
from .signature import near
from .sources import author_line
from .symbols import Symbol, kind_of
from .tracing import Tracer, current, require_name

T = TypeVar("T")


def switch(
    value: str,
    cases: Mapping[str, Callable[[], T]],
    *,
    default: Callable[[], T] | None = None,
    name: str = "switch",
) -> T:
    """Run the one function of `cases` whose key is `value`; all others do not run.

    Args:
        value: text, best of a `Literal` type: its values are then all there can be.
        cases: functions without arguments, which all give the same type.
        default: what runs for any other value. Without it another value fails the job, with an
            error that lists the cases.
        name: what the branches are called; ids of steps do not show them.

    Raises:
        TraceError: no cases, a case that is no possible value, a possible value without a case,
            or cases of different types.
    """
    require_name(name)
    _check_cases(cases, default)
    tracer = current()
    if isinstance(value, str):
        return _constant(value, cases, default)
    kind = kind_of(value)
    if not isinstance(value, Symbol) or hints.type_name(kind) != "text":
        raise TraceError(
            f"gl.switch needs a text, not a {describe(kind)}",
            where=author_line(),
            next_step="Switch on a Literal or a str, or write gl.branch(condition, then, orelse).",
        )
    _check_possible(kind, cases, default)
    if default is None:
        # Whatever the value comes from, nothing runs for one that is no case.
        known = tracer.constant({key: key for key in sorted(cases)}, dict[str, str])
        value = tracer.compute("item", (known, value), kind)
    return _arms(tracer, value, list(cases.items()), default, name)


def _check_cases(cases: Any, default: Any) -> None:
    if not isinstance(cases, Mapping) or not cases:
        raise TraceError(
            "gl.switch needs a dict of cases",
            where=author_line(),
            next_step='Write gl.switch(value, {"a": lambda: ..., "b": lambda: ...}).',
        )
    for key, fn in cases.items():
        if not isinstance(key, str):
            raise TraceError(
                f"the case {key!r} of gl.switch is no text",
                where=author_line(),
                next_step="Switch on text, or write gl.branch(condition, then, orelse).",
            )
        require_callable(fn, 0, "gl.switch", f"the case {key!r}")
    if default is not None:
        require_callable(default, 0, "gl.switch", "default")


def _check_possible(kind: Any, cases: Mapping[str, Any], default: Any) -> None:
    stripped = hints.strip(kind)
    if get_origin(stripped) is not Literal:
        return
    possible = get_args(stripped)
    for key in cases:
        if key not in possible:
            raise TraceError(
                f"the value of gl.switch is never {key!r}",
                where=author_line(),
                next_step=near(key, possible) or f"It is one of {_listed(possible)}.",
            )
    if missing := [key for key in possible if key not in cases and default is None]:
        raise TraceError(
            f"gl.switch has no case for {missing[0]!r}",
            where=author_line(),
            next_step=f"Add the case {missing[0]!r}, or default=.",
        )


def _constant(
    value: str, cases: Mapping[str, Callable[[], T]], default: Callable[[], T] | None
) -> T:
    found = cases.get(value, default)
    if found is None:
        raise TraceError(
            f"gl.switch has no case for {value!r}",
            where=author_line(),
            next_step=near(value, cases) or f"Its cases are {_listed(cases)}.",
        )
    return found()


def _listed(keys: Any) -> str:
    return ", ".join(map(repr, keys))


def _arms(
    tracer: Tracer,
    value: Any,
    cases: list[tuple[str, Callable[[], Any]]],
    default: Callable[[], Any] | None,
    name: str,
) -> Any:
    """Record the first case as a branch whose other side holds the rest."""
    (key, fn), *rest = cases
    if not rest and default is None:
        return fn()  # the value was held against the cases, so it is this one
    test = value == key
    taken, taken_type = traced(tracer, "switch", fn)

    def others() -> Any:
        return _arms(tracer, value, rest, default, name) if rest or default is None else default()

    other, other_type = traced(tracer, "switch", others)
    kind = joined(taken_type, other_type, f"the cases of gl.switch from {key!r} on")
    for scope in (taken, other):
        yield_as(tracer, scope, kind)
    attributes = {"name": name, "case": key, "arms": len(cases) + (default is not None)}
    blocks = (taken.block, other.block)
    made: Any = tracer.emit("branch", (tracer.value(test),), attributes, kind, blocks)
    tracer.happened_inside([taken, other], made._gl_value)
    return made
