"""What combinators ask of their arguments."""

from __future__ import annotations

import inspect
from typing import Any

from gangline.ir.errors import TraceError

from .sources import author_line
from .symbols import Symbol


def require_bound(max_trips: Any, combinator: str) -> None:
    """Raise TraceError unless `max_trips` is a whole number of at least 1."""
    if not isinstance(max_trips, int) or isinstance(max_trips, bool) or max_trips < 1:
        raise TraceError(
            f"{combinator} has no bound: max_trips is {max_trips!r}"
            if not isinstance(max_trips, Symbol)
            else f"{combinator} has no bound: max_trips is only known when the workflow runs",
            where=author_line(),
            next_step="Write max_trips=3, or whatever number of trips is enough.",
        )


def require_callable(fn: Any, arguments: int, combinator: str, parameter: str) -> None:
    """Raise TraceError unless `fn` is a function of so many arguments."""
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
