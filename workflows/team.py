"""Agents that share a state: who they are, what each is for, and what one of them makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gangline.ir.errors import TraceError

from . import hints
from .arguments import require_callable
from .handoff import FINISH, Message
from .hints import describe, is_assignable
from .lifting import Lifter
from .sources import author_line
from .symbols import kind_of
from .tracing import current
from .workflow import Workflow

Members = Sequence[Workflow[..., Any]] | Mapping[str, Callable[[Any], Any]]
"""Agents, or functions of the state by the names they are called."""

_TEAMS = ("network", "supervisor", "supervisor_as_tool", "hierarchical")


@dataclass(frozen=True, slots=True)
class Team:
    """The agents of a pattern, by name; `combinator` is what errors call the pattern."""

    combinator: str
    members: Mapping[str, Callable[[Any], Any]]

    @classmethod
    def of(cls, combinator: str, agents: Any) -> Team:
        """Check and name the agents; TraceError where they cannot form a team."""
        members = agents if isinstance(agents, Mapping) else _by_name(combinator, agents)
        if not members:
            raise _wrong(combinator, "has no agents", "Name at least one.")
        for name, fn in members.items():
            if not isinstance(name, str) or not name.isidentifier() or name == FINISH:
                raise _wrong(
                    combinator,
                    f"cannot call an agent {name!r}",
                    f"Use a name as of a variable, other than {FINISH!r}.",
                )
            require_callable(fn, 1, combinator, f"the agent {name!r}")
        return cls(combinator, members)

    @property
    def description(self) -> str:
        """Give a line `name: role` for every agent, and what `finish` means."""
        roles = {name: getattr(fn, "role", "") for name, fn in self.members.items()}
        lines = [f"{name}: {role}" if role else name for name, role in roles.items()]
        return "\n".join([*lines, f"{FINISH}: the work is done"])

    @property
    def has_teams(self) -> bool:
        """Tell whether an agent (traced already) leads agents of its own."""
        tracer = current()
        called = (fn.name for fn in self.members.values() if isinstance(fn, Workflow))
        return any(tracer.pattern_of(name) in _TEAMS for name in called)

    def after(self, name: str, state: Any, kind: Any) -> Any:
        """Let one agent work on the state and give the state after it."""
        return self.merged(name, state, self.members[name](state), kind)

    def merged(self, name: str, state: Any, result: Any, kind: Any) -> Any:
        """Put what an agent gave in the state's place, or at the end of a state that is a list."""
        found = current().lift(result)
        given = kind_of(found)
        if is_assignable(given, kind):
            return found
        inner = hints.element(kind) if hints.type_name(kind) == "list" else None
        if inner is Message and is_assignable(given, str):
            found = Lifter(current()).record(Message, {"sender": name, "text": found})
            return added(state, found)
        if inner is not None and is_assignable(given, inner):
            return added(state, found)
        raise TraceError(
            f"the agent {name!r} of {self.combinator} gives a {describe(given)}, and the state is "
            f"a {describe(kind)}",
            where=author_line(),
            next_step="Let every agent give the state"
            + (", or what is to be added to the list." if inner is not None else "."),
        )


def added(listing: Any, item: Any) -> Any:
    """Record a list with one more element."""
    return current().compute("add", (listing, [item]), kind_of(listing))


def _by_name(combinator: str, agents: Any) -> dict[str, Callable[[Any], Any]]:
    plain = isinstance(agents, Sequence) and not isinstance(agents, str)
    if not plain or not all(isinstance(agent, Workflow) for agent in agents):
        raise _wrong(
            combinator,
            "needs a list of agents",
            "Write [research, write], naming functions decorated with @gl.agent; or give "
            "functions by name in a dict.",
        )
    named = {agent.fn.__name__: agent for agent in agents}
    if len(named) < len(agents):
        raise _wrong(combinator, "lists two agents of one name", "Name each agent once.")
    return named


def _wrong(combinator: str, said: str, next_step: str) -> TraceError:
    return TraceError(f"{combinator} {said}", where=author_line(), next_step=next_step)
