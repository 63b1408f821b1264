"""The decorator `@agent`: a workflow that others call, with a role and a pattern."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, overload

from gangline.ir.errors import TraceError
from gangline.ir.ops import PATTERNS

from .decorators import make_workflow
from .signature import Signature, near
from .workflow import Workflow

P = ParamSpec("P")
R = TypeVar("R")


class Agent(Workflow[P, R]):
    """A workflow that others call.

    Attributes:
        role: what it is for, in a few words: supervisors read it.
        pattern: how its own agents work together; None is found out when it is traced.
    """

    is_agent = True

    def __repr__(self) -> str:
        return f"<agent {self.name} ({self.where})>"


@overload
def agent(fn: Callable[P, R], /) -> Agent[P, R]: ...


@overload
def agent(
    *,
    role: str | None = None,
    pattern: str | None = None,
    deadline: float | None = None,
    budget_usd: float | None = None,
) -> Callable[[Callable[P, R]], Agent[P, R]]: ...


def agent(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    role: str | None = None,
    pattern: str | None = None,
    deadline: float | None = None,
    budget_usd: float | None = None,
) -> Any:
    """Make a nested agent of a function: a workflow that other workflows and agents call.

    Args:
        role: what it is for, in a few words, for supervisors to choose by; by default the first
            line of its docstring.
        pattern: how the agents inside it work together (`single`, `network`, `supervisor`,
            `supervisor_as_tool`, `hierarchical`, `custom`); by default what its function does.
        deadline: seconds a job of its own should take at most.
        budget_usd: US dollars a job of its own may cost at most.

    Raises:
        TraceError: at the definition, where its signature is not typed or an option is wrong.
    """

    def decorate(fn: Callable[..., Any]) -> Agent[..., Any]:
        return make_workflow(
            fn, lambda signature: _made(fn, signature, role, pattern, deadline, budget_usd)
        )

    return decorate if fn is None else decorate(fn)


def _made(
    fn: Callable[..., Any],
    signature: Signature,
    role: str | None,
    pattern: str | None,
    deadline: float | None,
    budget_usd: float | None,
) -> Agent[..., Any]:
    if pattern is not None and pattern not in PATTERNS:
        raise TraceError(
            f"pattern={pattern!r} of {signature.name}() is not known",
            where=signature.where,
            next_step=near(str(pattern), PATTERNS) or f"Choose one of {', '.join(PATTERNS)}.",
        )
    if role is not None and not isinstance(role, str):
        raise TraceError(
            f"role={role!r} of {signature.name}() is no text",
            where=signature.where,
            next_step='Write for example role="finds facts".',
        )
    made: Agent[..., Any] = Agent(fn, signature, deadline, budget_usd)
    made.pattern = pattern
    made.role = _first_line(fn) if role is None else role
    return made


def _first_line(fn: Callable[..., Any]) -> str:
    return inspect.cleandoc(fn.__doc__ or "").partition("\n")[0]
