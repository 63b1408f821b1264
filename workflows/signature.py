"""The signature of a decorated function: named, annotated parameters and a return type."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from gangline.ir.errors import TraceError

from .sources import author_frame, author_line, definition_line

EMPTY: Any = inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter. `default` is EMPTY where the caller must give a value."""

    name: str
    annotation: Any
    default: Any = EMPTY

    @property
    def required(self) -> bool:
        """Tell whether a call must give it."""
        return self.default is EMPTY


@dataclass(frozen=True, slots=True)
class Signature:
    """Parameters by name in order, and the return annotation (EMPTY where there is none)."""

    name: str
    fields: Mapping[str, Field]
    returns: Any
    where: str
    python: inspect.Signature

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Give the arguments of a call by name; TraceError at the call where they do not fit."""
        unknown = [name for name in kwargs if name not in self.fields]
        if unknown:
            raise TraceError(
                f"{self.name}() has no parameter {unknown[0]!r}",
                where=author_line(),
                next_step=near(unknown[0], self.fields) or f"It takes {_listed(self.fields)}.",
            )
        try:
            return dict(self.python.bind(*args, **kwargs).arguments)
        except TypeError as error:
            raise TraceError(
                f"{self.name}(): {error}",
                where=author_line(),
                next_step=f"It takes {_listed(self.fields)}.",
            ) from None


def read_signature(fn: Callable[..., Any], hidden: Iterable[str] = ()) -> Signature:
    """Read a function's signature without the `hidden` parameters; TraceError at its definition."""
    where = definition_line(fn)
    python = inspect.signature(fn)
    hints = _hints(fn, where)
    shown = [found for name, found in python.parameters.items() if name not in set(hidden)]
    for found in shown:
        _check_parameter(fn.__name__, found, hints, where)
    return Signature(
        name=fn.__name__,
        fields={p.name: Field(p.name, hints[p.name], p.default) for p in shown},
        returns=hints.get("return", EMPTY),
        where=where,
        python=python.replace(parameters=shown),
    )


def _hints(fn: Callable[..., Any], where: str) -> dict[str, Any]:
    # Classes of an enclosing function are only to be seen in the frame that decorates now.
    frame = author_frame()
    local = dict(frame.f_locals) if frame else {}
    try:
        return get_type_hints(fn, localns=local, include_extras=True)
    except (NameError, TypeError, SyntaxError) as error:
        raise TraceError(
            f"an annotation of {fn.__name__}() cannot be read: {error}",
            where=where,
            next_step="Define or import the type above the function.",
        ) from None


def _check_parameter(
    name: str, found: inspect.Parameter, hints: Mapping[str, Any], where: str
) -> None:
    if found.kind in (found.VAR_POSITIONAL, found.VAR_KEYWORD):
        raise TraceError(
            f"{name}() takes *{found.name}, which has no fixed parameters",
            where=where,
            next_step="Name every parameter, or take one list.",
        )
    if found.name not in hints:
        raise TraceError(
            f"parameter {found.name!r} of {name}() has no type",
            where=where,
            next_step=f"Write for example `{found.name}: str`.",
        )


def near(name: str, known: Iterable[str]) -> str:
    """Give a 'Did you mean' sentence, or an empty string where nothing is near."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {found[0]!r}?" if found else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "no arguments"
