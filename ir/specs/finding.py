"""A finding: what a graph or a plan would do that its policy does not allow, and by which path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gangline.ir.errors import PolicyError

RULES = (
    "write-not-granted",  # a tool with write effects is reached that nobody granted
    "repeated-write",  # a granted one would be called more often than its grant allows
    "secret-to-external",  # data from a secret source goes to an external tool
    "secret-decides-external",  # a secret decides whether or with what such a tool is called
)


@dataclass(frozen=True, slots=True)
class Hop:
    """One step of a path, and its `file:line` (empty where it is not known)."""

    step: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.step} ({self.where})" if self.where else self.step


@dataclass(frozen=True, slots=True)
class Finding:
    """One violation.

    Attributes:
        rule: one of RULES.
        source: what it begins with: a tool, `input:NAME` or `memory:SPACE`; for writes the
            graph or the plan that reaches the tool.
        sink: the registered name of the tool that is reached.
        path: from source to sink, both included.
        detail, next_step: as those of an error.
    """

    rule: str
    source: str
    sink: str
    path: tuple[Hop, ...]
    detail: str
    next_step: str

    @property
    def route(self) -> str:
        """Give the path as one line."""
        return " -> ".join(map(str, self.path))

    def to_json(self) -> dict[str, Any]:
        """Give the document that `from_json` reads."""
        return {
            "rule": self.rule,
            "source": self.source,
            "sink": self.sink,
            "path": [{"step": hop.step, "where": hop.where} for hop in self.path],
            "detail": self.detail,
            "next_step": self.next_step,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Finding:
        """Rebuild a finding from `to_json`."""
        path = tuple(Hop(row["step"], row["where"]) for row in data["path"])
        return cls(**{**data, "path": path})


def told(findings: Iterable[Finding], limit: int = 5) -> str:
    """Give findings as sentences with their paths; of more than `limit` the rest are counted."""
    rows = list(findings)
    texts = [f"{row.detail}: {row.route}" for row in rows[:limit]]
    if len(rows) > limit:
        texts.append(f"and {len(rows) - limit} more")
    return "; ".join(texts)


def refused(
    findings: Sequence[Mapping[str, Any]], where: str, by: str = "The policy refuses this"
) -> PolicyError:
    """Give the error of what may not run, with the findings (as JSON) and their paths."""
    what = told([Finding.from_json(row) for row in findings])
    next_step = str(findings[0]["next_step"])
    return PolicyError(f"{by}: {what}", where=where, next_step=next_step, findings=findings)
