"""Agents that work on one state in turn: `supervise` and `network`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gangline.ir.errors import TraceError

from .arguments import require_bound, require_callable
from .combinators import loop
from .deciding import asked
from .handoff import FINISH, Handoff, Turn, handed, state_kind
from .hints import is_assignable
from .lifting import Lifter
from .llm import Llm
from .signature import near
from .sources import author_line
from .switching import switch
from .symbols import kind_of
from .team import Members, Team, added
from .tracing import current, require_name
from .workflow import Workflow

S = TypeVar("S")


def supervise(
    decide: Callable[..., str],
    agents: Members,
    state: S,
    *,
    max_trips: int,
    name: str = "supervise",
) -> S:
    """Let a supervisor choose, again and again, which agent works on the state next.

    Each trip asks `decide` and then runs the one agent it named; `finish` ends the loop. Steps of
    trip n have ids that begin with `name[n]/`.

    Args:
        decide: an llm or a function of the state that gives the name of an agent, or `finish`.
            An llm's parameters are fields of the state, or the state itself; one named `agents`
            gets a line `name: role` for each, and one named `done` the names of those that have
            worked so far. An llm that gives `str` answers under a grammar of the names, so that
            a small model cannot miss.
        agents: agents that take the state and give the next one; or functions by name. Where the
            state is a list, an agent may also give one element, which is added; to a list of
            `gl.Message` it may give text.
        state: the first state.
        max_trips: most decisions. A loop that runs out of them gives the state it has.
        name: what the loop is called.

    Raises:
        TraceError: no bound, agents of one name, or types that do not fit.
    """
    require_bound(max_trips, "gl.supervise")
    require_name(name)
    team, tracer = Team.of("gl.supervise", agents), current()
    if not isinstance(decide, Llm):
        require_callable(decide, 1, "gl.supervise", "decide")
    first = tracer.lift(state)
    kind = kind_of(first)

    def trip(before: Any) -> Any:
        now, done = before.state, before.done
        answer = asked(decide, now, done, team)
        chosen = tracer.checked(answer, str, "decide of gl.supervise gives")
        cases = {key: _working(team, key, now, kind) for key in team.members}
        cases[FINISH] = lambda: now
        after = switch(chosen, cases, name="next")  # type: ignore[arg-type]
        return _turn(after, chosen, added(done, chosen), kind)

    done: Any = loop(
        trip,
        _turn(first, "", [], kind),
        until=lambda last: last.to == FINISH,
        max_trips=max_trips,
        name=name,
    )
    tracer.note_pattern("hierarchical" if team.has_teams else "supervisor")
    return done.state  # type: ignore[no-any-return]


def _turn(state: Any, to: Any, done: Any, kind: Any) -> Any:
    return Lifter(current()).record(Turn[kind], {"state": state, "to": to, "done": done})


def _working(team: Team, name: str, state: Any, kind: Any) -> Callable[[], Any]:
    return lambda: team.after(name, state, kind)


def network(
    agents: Members,
    state: S,
    *,
    first: Workflow[..., Any] | str,
    max_trips: int,
    name: str = "network",
) -> S:
    """Let agents hand a state to each other until one of them says `finish`.

    Every agent takes the state and returns `gl.handoff(to=..., state=...)`. Steps of trip n have
    ids that begin with `name[n]/`.

    Args:
        agents: the agents, or functions by name; each may hand over to each.
        state: the first state. Where it is a list, an agent may hand over one element, which is
            added; to a list of `gl.Message` it may hand over text.
        first: the agent that begins, or its name.
        max_trips: most agents that work, one after the other. A network that runs out of them
            gives the state it has.
        name: what the loop is called.

    Raises:
        TraceError: no bound, an unknown first agent, or types that do not fit.
    """
    require_bound(max_trips, "gl.network")
    require_name(name)
    team, tracer = Team.of("gl.network", agents), current()
    start = _first(team, first)
    begun = tracer.lift(state)
    kind = kind_of(begun)

    def trip(before: Any) -> Any:
        now = before.state
        cases = {key: _handing(team, key, now, kind) for key in team.members}
        return switch(before.to, cases, name="next")

    done: Any = loop(
        trip,
        handed(start, begun, kind),
        until=lambda last: last.to == FINISH,
        max_trips=max_trips,
        name=name,
    )
    tracer.note_pattern("network")
    return done.state  # type: ignore[no-any-return]


def _first(team: Team, first: Any) -> Any:
    name = first.fn.__name__ if isinstance(first, Workflow) else first
    if isinstance(name, str) and name not in team.members:
        raise TraceError(
            f"gl.network begins with {name!r}, which is none of its agents",
            where=author_line(),
            next_step=near(name, team.members) or f"They are {', '.join(team.members)}.",
        )
    return current().checked(name, str, "`first` of gl.network is")


def _handing(team: Team, name: str, state: Any, kind: Any) -> Callable[[], Any]:
    def work() -> Any:
        result = current().lift(team.members[name](state))
        given = kind_of(result)
        state_kind(given)
        if is_assignable(given, Handoff[kind]):
            return result
        after: Any = result
        return handed(after.to, team.merged(name, state, after.state, kind), kind)

    return work
