"""A plan: where every stage of a program runs, and what that is expected to take and cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage on one device.

    `seconds` and `usd` are per visit; `visits` is how often a job is expected to run the stage
    (map items, expected loop trips, branch probability).
    `source` says what the estimate rests on: `calibrated` (our own runs), `measured` (a table),
    `fitted` (the cost model's constants), `spec`, `probed` or `declared`.

    `joules` is energy per visit; 0 where a device states no power. `memory_bytes` is what weights
    and the KV cache of the batch take on one copy's devices. Every `low_` and `high_` is a 90 %
    interval like that of the seconds. `tp` and `pp` say over how
    many devices of the group one copy of the model is spread, `dtype` what its weights are in.
    """

    stage: str
    op: str
    device: str
    seconds: float
    usd: float
    visits: float = 1.0
    low_s: float = 0.0
    high_s: float = 0.0
    source: str = ""
    prompt_tokens: float = 0.0
    output_tokens: float = 0.0
    low_usd: float = 0.0
    high_usd: float = 0.0
    joules: float = 0.0
    low_joules: float = 0.0
    high_joules: float = 0.0
    memory_bytes: float = 0.0
    low_memory_bytes: float = 0.0
    high_memory_bytes: float = 0.0
    tp: int = 1
    pp: int = 1
    dtype: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """A placement of one program on one fleet.

    `seconds` is the expected time along the critical path, `usd` the expected cost of one job.
    `joules` its expected energy. `critical_path` lists stage names in order.
    """

    workflow: str
    program_hash: str
    fleet: str
    stages: tuple[StagePlan, ...]
    seconds: float
    usd: float
    deadline_s: float | None = None
    budget_usd: float | None = None
    critical_path: tuple[str, ...] = ()
    joules: float = 0.0

    def stage(self, name: str) -> StagePlan:
        """Find a stage's row by name; KeyError if the plan does not cover it."""
        for row in self.stages:
            if row.stage == name:
                return row
        raise KeyError(name)

    def placement(self) -> dict[str, str]:
        """Give the device of each stage, by stage name."""
        return {row.stage: row.device for row in self.stages}

    def to_json(self) -> dict[str, Any]:
        """Give the plan as plain JSON (schema: docs/schemas/plan.json)."""
        document: dict[str, Any] = {name: getattr(self, name) for name in PLAN_FIELDS}
        # All values of a row are plain; `asdict` would copy each of them deeply.
        document["stages"] = [
            {name: getattr(row, name) for name in STAGE_FIELDS} for row in self.stages
        ]
        document["critical_path"] = list(self.critical_path)
        return document

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Rebuild a plan from `to_json`."""
        rows = tuple(StagePlan(**row) for row in data["stages"])
        path = tuple(data["critical_path"])
        return cls(**{**data, "stages": rows, "critical_path": path})


STAGE_FIELDS = tuple(field.name for field in fields(StagePlan))
PLAN_FIELDS = tuple(field.name for field in fields(Plan))
