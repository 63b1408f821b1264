"""The peer of the operation models: a roofline of three constants, fitted on the same devices.

Seconds = max(operations / (share of peak), bytes / (share of bandwidth)) + a launch, the shape
that most planners use. Its constants are fitted by the same least squares, on the tables of all
devices but the one left out, per format or link kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gangline.planner.costs.collective import TRAFFIC
from gangline.planner.costs.dtypes import FORMATS, peak

from . import attention, collective
from .gemm_tables import tables
from .positive import fit_positive, thin

Array = npt.NDArray[np.float64]
Key = tuple[str, str, str]
"""Table, device or link left out, format or kind: what names a row of a score."""

ROWS = 400

START = {"compute": 0.7, "memory": 0.75, "launch_s": 6e-6}
SPREAD = {"compute": 2.0, "memory": 2.0, "launch_s": 2.0}
BOUNDS = {"compute": (0.01, 2.0), "memory": (0.01, 4.0), "launch_s": (1e-7, 1e-3)}


@dataclass(frozen=True, slots=True)
class Work:
    """Measured calls as seconds at peak rate and bandwidth, beside those they took.

    `pool` names the calls that share constants, `unit` what is left out together.
    """

    key: Key
    pool: str
    unit: str
    compute_s: Array
    memory_s: Array
    seconds: Array

    def predicted(self, fitted: Mapping[str, float], at: Any = slice(None)) -> Array:
        """Seconds of the chosen rows by a roofline."""
        roof = np.maximum(
            self.compute_s[at] / fitted["compute"], self.memory_s[at] / fitted["memory"]
        )
        found: Array = roof + fitted["launch_s"]
        return found


def gemm_work() -> list[Work]:
    """Products: 2 m n k operations; weights, activations and outputs once."""
    found = []
    for table in tables():
        form, rate = FORMATS[table.dtype], peak(table.spec, table.dtype)
        moved = form.weight_bytes * table.n * table.k + form.activation_bytes * table.m * table.k
        moved = moved + 2.0 * table.m * table.n
        found.append(
            Work(
                (f"gemm/{table.system}", table.type, table.dtype), f"gemm {table.dtype}",
                table.type, 2.0 * table.m * table.n * table.k / (rate or np.nan),
                moved / table.spec.memory_bytes_per_s, table.seconds,
            )
        )  # fmt: skip
    return found


def attention_work() -> list[Work]:
    """Attention calls: 4 operations per query, key and width (half of them causal); bytes once."""
    found = []
    for phase in attention.TABLES:
        for rows in attention.load(phase):
            element = 1.0 if rows.width == "kv8" else 2.0
            queries = rows.tokens if phase == "prefill" else np.ones_like(rows.tokens)
            seen = 0.5 * rows.tokens if phase == "prefill" else rows.tokens + 1.0
            cached = rows.tokens if phase == "prefill" else rows.tokens + 1.0
            flop = 4.0 * rows.batch * rows.heads * rows.head_dim * queries * seen
            moved = 2.0 * rows.batch * cached * rows.kv_heads * rows.head_dim * element
            moved = moved + 4.0 * rows.batch * queries * rows.heads * rows.head_dim
            found.append(
                Work(
                    (f"attention_{phase}", rows.spec.type, rows.width), f"{phase} {rows.width}",
                    rows.spec.type, flop / (peak(rows.spec, "bf16") or np.nan),
                    moved / rows.spec.memory_bytes_per_s, rows.seconds,
                )
            )  # fmt: skip
    return found


def collective_work() -> list[Work]:
    """Collectives: the bytes of a ring over the link; no operations."""
    found = []
    for rows in collective.load():
        link = rows.spec.link_bytes_per_s or rows.spec.host_bytes_per_s
        wire = TRAFFIC[rows.kind](rows.ranks) * rows.size / link
        pool = f"{rows.link.split('/')[0]} {rows.kind}"
        found.append(
            Work(
                (rows.table, rows.link, rows.kind), pool, rows.link, 0.0 * wire, wire, rows.seconds
            )
        )
    return found


WORK: Mapping[str, Callable[[], list[Work]]] = {
    "gemm": gemm_work,
    "attention": attention_work,
    "collective": collective_work,
}


def peer_errors(name: str) -> dict[Key, float]:
    """Median relative error of a roofline on every table of an operation, its device left out."""
    works = WORK[name]()
    found: dict[Key, float] = {}
    for work in works:
        others = [other for other in works if other.pool == work.pool and other.unit != work.unit]
        if others:
            predicted = work.predicted(_fit(others))
            found[work.key] = float(np.median(np.abs(predicted / work.seconds - 1.0)))
    return found


def _fit(works: Sequence[Work]) -> dict[str, float]:
    picked = [(work, thin(work.seconds.size, ROWS)) for work in works]

    def off(trial: Mapping[str, float]) -> Array:
        return np.concatenate(
            [np.log(work.predicted(trial, at) / work.seconds[at]) for work, at in picked]
        )

    return fit_positive(off, START, SPREAD, BOUNDS)
