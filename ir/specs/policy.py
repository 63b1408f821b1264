"""A policy: which tools a plan may use, which labels names have, and where secrets may go.

A policy is read from TOML or JSON and written as JSON; both have the same keys:

    on_violation   "ask" a person (the job waits), or "refuse" the run or the plan
    authored       whether write tools that an author named himself are granted by that
    implicit       whether it counts that a secret decides if an external tool is called
    grants         ["log", "send:1"]: tools with write effects, `:N` for at most N calls in a job
    flows          ["read_customer -> mail"]: secrets that may go to an external tool
    secret         further sources: a tool, "input:NAME" or "memory:SPACE"
    external       further external tools
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gangline.ir.errors import ConfigError

ON_VIOLATION = ("ask", "refuse")
_GRANT = re.compile(r"([A-Za-z_][\w.<>]*)(?::([1-9][0-9]{0,8}))?")
_SOURCE = re.compile(r"(?:(?:input|memory):)?[^\s:]{1,200}")
_ARROW = "->"


@dataclass(frozen=True, slots=True)
class Grant:
    """A tool with write effects that may be called; `times` in one job, None for any number."""

    tool: str
    times: int | None = None

    @classmethod
    def parse(cls, text: str, where: str = "grants") -> Grant:
        """Read `send` or `send:1`; ConfigError for anything else."""
        found = _GRANT.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise ConfigError(
                f"{_short(text)} is no grant",
                where=where,
                next_step="Write TOOL, or TOOL:N for at most N calls in a job.",
            )
        return cls(found[1], int(found[2]) if found[2] else None)

    def __str__(self) -> str:
        return self.tool if self.times is None else f"{self.tool}:{self.times}"

    def covers(self, other: Grant) -> bool:
        """Say whether this grant allows all that `other` allows."""
        if self.tool != other.tool:
            return False
        return self.times is None or (other.times is not None and other.times <= self.times)


@dataclass(frozen=True, slots=True)
class Flow:
    """A secret that may go to an external tool: the source's name and the tool's."""

    source: str
    sink: str

    @classmethod
    def parse(cls, text: str, where: str = "flows") -> Flow:
        """Read `SOURCE -> TOOL`; ConfigError for anything else."""
        parts = [part.strip() for part in text.split(_ARROW)] if isinstance(text, str) else []
        if len(parts) != 2 or not all(_SOURCE.fullmatch(part) for part in parts):
            raise ConfigError(
                f"{_short(text)} is no flow",
                where=where,
                next_step="Write SOURCE -> TOOL; a source is a tool, input:NAME or memory:SPACE.",
            )
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.source} {_ARROW} {self.sink}"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a graph may do; see the table at the top of this file.

    Sources and tools have the names the registry gives them (`Stage.attributes["tool"]`).
    """

    grants: tuple[Grant, ...] = ()
    flows: tuple[Flow, ...] = ()
    secret: tuple[str, ...] = ()
    external: tuple[str, ...] = ()
    on_violation: str = "ask"
    authored: bool = True
    implicit: bool = True

    def grant(self, tool: str) -> Grant | None:
        """Give the widest grant of a tool; None where it has none."""
        found = [grant for grant in self.grants if grant.tool == tool]
        return max(found, key=_width, default=None)

    def granting(self, grants: Iterable[Grant]) -> Policy:
        """Give the policy with further grants."""
        return replace(self, grants=_once((*self.grants, *grants)))

    def allowing(self, flows: Iterable[Flow]) -> Policy:
        """Give the policy with further flows."""
        return replace(self, flows=_once((*self.flows, *flows)))

    def trusting(self, author: Policy) -> Policy:
        """Give this policy (an operator's) together with that of a workflow's author.

        The author's labels and his strictness always count; what he allows counts only where
        `authored` says so.
        """
        both = self._stricter(author)
        if not self.authored:
            return both
        return both.granting(author.grants).allowing(author.flows)

    def beyond(self, wider: Policy) -> tuple[str, ...]:
        """Name the grants and flows of this policy that `wider` does not allow."""
        grants = [
            f"grant {own}"
            for own in self.grants
            if not any(other.covers(own) for other in wider.grants)
        ]
        return (*grants, *(f"flow {own}" for own in self.flows if own not in wider.flows))

    def narrowed(self, request: Policy) -> Policy:
        """Give this policy as far as `request` wants it: its grants and flows, all labels.

        What the request has beyond this policy (see `beyond`) is left out.
        """
        grants = [own for own in request.grants if any(g.covers(own) for g in self.grants)]
        flows = [own for own in request.flows if own in self.flows]
        return replace(self._stricter(request), grants=_once(grants), flows=_once(flows))

    def _stricter(self, other: Policy) -> Policy:
        return replace(
            self,
            secret=_once((*self.secret, *other.secret)),
            external=_once((*self.external, *other.external)),
            on_violation="refuse" if "refuse" in (self.on_violation, other.on_violation) else "ask",
            authored=self.authored and other.authored,
            implicit=self.implicit or other.implicit,
        )

    def to_json(self) -> dict[str, Any]:
        """Give the document that `from_json` reads."""
        return {
            "on_violation": self.on_violation,
            "authored": self.authored,
            "implicit": self.implicit,
            "grants": [str(grant) for grant in self.grants],
            "flows": [str(flow) for flow in self.flows],
            "secret": list(self.secret),
            "external": list(self.external),
        }

    @classmethod
    def from_json(cls, data: Any, where: str = "policy") -> Policy:
        """Read a policy; ConfigError for an unknown key or a value of a wrong kind."""
        if not isinstance(data, Mapping):
            raise ConfigError("The policy is no table of keys", where=where, next_step=_KEYS)
        if unknown := [key for key in data if key not in _FIELDS]:
            raise ConfigError(
                f"A policy has no key {_short(unknown[0])}", where=where, next_step=_KEYS
            )
        on_violation = data.get("on_violation", "ask")
        if on_violation not in ON_VIOLATION:
            raise ConfigError(
                f"on_violation is {_short(on_violation)}",
                where=where,
                next_step=f"Write one of {', '.join(ON_VIOLATION)}.",
            )
        return cls(
            grants=tuple(Grant.parse(row, where) for row in _texts(data, "grants", where)),
            flows=tuple(Flow.parse(row, where) for row in _texts(data, "flows", where)),
            secret=_names(data, "secret", where),
            external=_names(data, "external", where),
            on_violation=on_violation,
            authored=_flag(data, "authored", where),
            implicit=_flag(data, "implicit", where),
        )


_FIELDS = ("on_violation", "authored", "implicit", "grants", "flows", "secret", "external")
_KEYS = f"Its keys are: {', '.join(_FIELDS)}."


def _width(grant: Grant) -> float:
    return float("inf") if grant.times is None else grant.times


def _once(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _flag(data: Mapping[str, Any], key: str, where: str) -> bool:
    value = data.get(key, True)
    if not isinstance(value, bool):
        raise ConfigError(
            f"{key} is {_short(value)}", where=where, next_step="Write true or false."
        )
    return value


def _texts(data: Mapping[str, Any], key: str, where: str) -> list[str]:
    value = data.get(key, [])
    if not isinstance(value, list | tuple) or not all(isinstance(row, str) for row in value):
        raise ConfigError(
            f"{key} is {_short(value)}", where=where, next_step="Write a list of texts."
        )
    return list(value)


def _names(data: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    names = _texts(data, key, where)
    for name in names:
        if not _SOURCE.fullmatch(name):
            raise ConfigError(
                f"{_short(name)} in {key} is no name",
                where=where,
                next_step="Write the name of a tool, input:NAME or memory:SPACE.",
            )
    return tuple(names)
