"""Ask a supervisor which agent goes next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from gangline.ir.errors import TraceError
from gangline.ir.specs.request import Grammar

from . import hints
from .handoff import FINISH
from .hints import describe, is_assignable
from .llm import STEERING, Llm
from .sources import author_line
from .symbols import kind_of
from .team import Team

AGENTS, DONE = "agents", "done"
"""Parameters of these names are given the team's names and roles, and who has worked so far."""


def asked(decide: Any, state: Any, done: Any, team: Team) -> Any:
    """Record one decision: the name of an agent of the team, or `finish`."""
    if not isinstance(decide, Llm):
        return decide(state)
    arguments = {**_arguments(decide, state, team), **_done(decide, done)}
    if decide.grammar is not None or decide.output_format != "text":
        _check_own_choices(decide, team)
        return decide.record(arguments)
    names = [*team.members, FINISH]
    longest = max(names, key=len)
    if decide.options["max_tokens"] < len(longest.encode()):
        raise TraceError(
            f"max_tokens={decide.options['max_tokens']} of {decide.name}() may cut the name "
            f"{longest!r} short",
            where=decide.where,
            next_step=f"Allow max_tokens={len(longest.encode())}; the answer ends by itself.",
        )
    return decide.record(arguments, grammar=Grammar("regex", "|".join(names)))


def _done(decide: Llm[..., Any], done: Any) -> Mapping[str, Any]:
    return {DONE: done} if DONE in decide.parameters.fields else {}


def _check_own_choices(decide: Llm[..., Any], team: Team) -> None:
    """An answer of a Literal type names agents of this team only."""
    kind = hints.strip(decide.returns)
    if get_origin(kind) is not Literal:
        return
    for choice in get_args(kind):
        if choice not in team.members and choice != FINISH:
            raise TraceError(
                f"{decide.name}() may choose {choice!r}, which is no agent of {team.combinator}",
                where=decide.where,
                next_step="Let it give `str`: the names are then taken from the agents.",
            )


def _arguments(decide: Llm[..., Any], state: Any, team: Team) -> Mapping[str, Any]:
    kind = kind_of(state)
    known = hints.fields(kind) or {}
    given: dict[str, Any] = {}
    for name, field in decide.parameters.fields.items():
        if name == AGENTS:
            given[name] = team.description
        elif name in known:
            given[name] = getattr(state, name)
        elif name == DONE or name in STEERING or not field.required:
            continue
        elif is_assignable(kind, field.annotation):
            given[name] = state
        else:
            raise TraceError(
                f"parameter {name!r} of {decide.name}() is nothing that {team.combinator} knows",
                where=author_line(),
                next_step=f"Name a field of {describe(kind)}, take the state as "
                f"`{name}: {describe(kind)}`, or name it `{AGENTS}` or `{DONE}`.",
            )
    return given
