"""Fits collectives: constants per link kind and generation, scored by leaving systems out.

The tables count a message differently: `SYSTEM_nccl.csv` counts half-precision elements of the
whole buffer (A100 and H200 times agree with the Vidur and APEX tables only when doubled), Vidur
and APEX count bytes. Only runs inside one node, all of whose devices share one kind of link, are
used: Vidur's runs over several nodes and its four workers over pairs of NVLink are left out, and
so is its A40 pair, whose 4 GB/s is not its NVLink bridge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gangline.ir.specs.device import DeviceSpec
from gangline.planner.costs.collective import (
    TRAFFIC,
    collective_with,
    kind_of,
    link_kind,
    link_of,
)
from gangline.planner.costs.interval import errors, long_error, ratio_interval, transfer_interval

from .data import device, provenance, read, select, systems_with
from .positive import fit_positive, thin

Array = npt.NDArray[np.float64]

HALF_BYTES = 2.0
ROWS_PER_KIND = 64
"""Rows of one kind that a table counts with: all that the shortest tables have."""
LARGE_BYTES, LARGE_WEIGHT = 2.0**26, 4.0
"""Messages from 64 MiB on weigh four times: tables step by doubling, so that few rows are large."""
TRANSFER_WIDEN = 1.2
"""Intervals of a fit in sample are widened by this for other boards of the generation."""

START: Mapping[str, tuple[float, float, float, float]] = {
    # name: start, spread of its log, least, most
    "launch_s": (5e-6, 0.5, 1e-6, 5e-5),
    "hop_s": (1e-6, 0.4, 1e-7, 2e-5),
    "quick_share": (0.4, 0.5, 0.05, 1.0),
    "bulk_s": (1.2e-5, 0.5, 1e-7, 1e-4),
    "exchange_quick_share": (0.1, 0.7, 0.005, 1.0),
    "exchange_bulk_s": (1.2e-5, 0.5, 1e-7, 1e-4),
    "pair_loss": (0.5, 0.5, 1e-3, 1.5),
    "crowding": (0.03, 2.0, 1e-4, 3.0),
    "in_network": (1.2, 0.3, 0.8, 2.0),
}
SHARE_START = (0.75, 0.3, 0.02, 1.0)

SERVED_CROWDING = 0.38
"""Most that a fourth PCIe machine can have: eight L40S of the full-load tables (docs/decisions/0012)
exchange 13 GB/s or more, on slots of 32."""

IN_NETWORK = {"nvlink/hopper", "nvlink/blackwell"}
"""Links whose switches reduce in the network (third NVLink switch generation on)."""

APEX = {"apex/H200-SXM-141GB_comm.csv": "h200_sxm", "apex/V100-PCIE-16GB_comm.csv": "V100-PCIE-16"}
VIDUR = {"vidur/network_a100_dgx.csv": 8.0, "vidur/network_a100_pairwise_nvlink.csv": 2.0}
"""Table: the most workers that one kind of link joins."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Measured collectives of one kind in one table: bytes, ranks, seconds."""

    table: str
    spec: DeviceSpec
    kind: str
    size: Array
    ranks: Array
    seconds: Array

    @property
    def link(self) -> str:
        """Key of the fitted entry."""
        return link_of(self.spec)

    def predicted(self, fitted: Mapping[str, Any]) -> Array:
        """Seconds of the rows with given constants."""
        return collective_with(self.spec, fitted, self.kind, self.size, self.ranks)

    def weight(self) -> Array:
        """Weight of each row's error: the few large messages show what a link gives in the end."""
        return np.where(self.size >= LARGE_BYTES, LARGE_WEIGHT, 1.0)

    def thinned(self) -> Rows:
        """At most `ROWS_PER_KIND` of the rows."""
        at = thin(self.size.size, ROWS_PER_KIND)
        return replace(self, size=self.size[at], ranks=self.ranks[at], seconds=self.seconds[at])


def load() -> list[Rows]:
    """Rows of every table and kind, in a fixed order."""
    found = []
    for system in systems_with("nccl"):
        table = read(f"aiconfigurator/{system}_nccl.csv")
        scaled = dict(table) | {
            "kind": table["op_name"], "bytes": table["message_size"] * HALF_BYTES,
            "ranks": table["num_gpus"], "seconds": table["latency_ms"] * 1e-3,
        }  # fmt: skip
        found += _by_kind(f"aiconfigurator/{system}_nccl.csv", device(system), scaled)
    for name, system in APEX.items():
        table = read(name)
        inside = (table["num_nodes"] == 1.0) & (table["size(kb)"] >= 1.0)
        chosen = select(table, inside & (table["num_gpus_per_node"] > 1.0))
        scaled = {
            "kind": chosen["collective"], "bytes": chosen["size(kb)"] * 1024.0,
            "ranks": chosen["num_gpus_per_node"], "seconds": chosen["time(us)"] * 1e-6,
        }  # fmt: skip
        found += _by_kind(name, device(system), scaled)
    for name, most in VIDUR.items():
        table = read(name)
        inside = table["num_workers"] == table["devices_per_node"]
        chosen = select(table, inside & (table["num_workers"] <= most))
        scaled = {
            "kind": chosen["collective"], "bytes": chosen["size_bytes"],
            "ranks": chosen["num_workers"], "seconds": chosen["median_ms"] * 1e-3,
        }  # fmt: skip
        found += _by_kind(name, device("A100-SXM-80"), scaled)
    return found


def _by_kind(table: str, spec: DeviceSpec, columns: Mapping[str, Any]) -> list[Rows]:
    found = []
    for name in sorted(set(columns["kind"].tolist())):
        at = columns["kind"] == name
        size, ranks, seconds = (columns[key][at] for key in ("bytes", "ranks", "seconds"))
        found.append(Rows(table, spec, kind_of(name), size, ranks, seconds))
    return found


def fit_rows(members: Sequence[Rows]) -> dict[str, Any]:
    """Constants fitted on several tables together."""
    kinds = sorted({rows.kind for rows in members})
    names = {f"share.{kind}": SHARE_START for kind in kinds} | dict(START)
    reduced = {rows.link for rows in members} <= IN_NETWORK
    if not reduced:
        del names["in_network"]
    picked = [rows.thinned() for rows in members]

    def off(trial: Mapping[str, float]) -> Array:
        full = {"in_network": 1.0} | _nested(trial)
        return np.concatenate(
            [rows.weight() * np.log(rows.predicted(full) / rows.seconds) for rows in picked]
        )

    def column(index: int) -> dict[str, float]:
        return {name: start[index] for name, start in names.items()}

    bounds = {name: (start[2], start[3]) for name, start in names.items()}
    found = _nested(fit_positive(off, column(0), column(1), bounds))
    return _complete({"in_network": 1.0} | found)


def _nested(flat: Mapping[str, float]) -> dict[str, Any]:
    shares = {name[6:]: value for name, value in flat.items() if name.startswith("share.")}
    return {name: value for name, value in flat.items() if name in START} | {"share": shares}


def _complete(fitted: dict[str, Any]) -> dict[str, Any]:
    """Give kinds that no table of these has the geometric mean share of those it has."""
    shares = fitted["share"]
    mean = float(np.exp(np.mean(np.log(list(shares.values())))))
    return fitted | {"share": {kind: shares.get(kind, mean) for kind in TRAFFIC}}


def build(tables: Sequence[Rows]) -> dict[str, dict[str, Any]]:
    """Every entry that can be fitted on these tables, with the interval of each."""
    entries: dict[str, dict[str, Any]] = {}
    for link in sorted({rows.link for rows in tables}):
        members = [rows for rows in tables if rows.link == link]
        fitted = fit_rows(members)
        ratios = ratio_interval(*_together(members, fitted), widen=TRANSFER_WIDEN)
        entries[link] = _entry(fitted, ratios, seen=True)
    for kind in sorted({link_kind(rows.spec) for rows in tables}):
        members = [rows for rows in tables if link_kind(rows.spec) == kind]
        links = sorted({rows.link for rows in members})
        groups = []
        for link in links:
            others = [rows for rows in members if rows.link != link] or members
            left = [rows for rows in members if rows.link == link]
            groups.append(_together(left, fit_kind(kind, others)))
        entries[kind] = _entry(fit_kind(kind, members), transfer_interval(groups), seen=False)
    return entries


def fit_kind(kind: str, members: Sequence[Rows]) -> dict[str, Any]:
    """Constants of a kind of link: one fit of NVLink, the medians over machines of PCIe."""
    if kind == "nvlink":
        return fit_rows(members)
    links = sorted({rows.link for rows in members})
    fits = [fit_rows([rows for rows in members if rows.link == link]) for link in links]
    found: dict[str, Any] = {name: _median(fits, name) for name in fits[0] if name != "share"}
    crowding = [fitted["crowding"] for fitted in fits]
    found["crowding"] = float(np.median([*crowding, SERVED_CROWDING]))
    return found | {"share": {key: _median([f["share"] for f in fits], key) for key in TRAFFIC}}


def _median(fits: Sequence[Mapping[str, Any]], name: str) -> float:
    return float(np.median([fitted[name] for fitted in fits]))


def _together(members: Sequence[Rows], fitted: Mapping[str, Any]) -> tuple[Array, Array]:
    predicted = np.concatenate([rows.predicted(fitted) for rows in members])
    return predicted, np.concatenate([rows.seconds for rows in members])


def _entry(fitted: Mapping[str, Any], ratios: tuple[float, float], *, seen: bool) -> dict[str, Any]:
    stated = {"low_ratio": ratios[0], "high_ratio": ratios[1], "generation_seen": seen}
    return dict(fitted) | stated


def fit() -> dict[str, Any]:
    """Give the constants fitted on all tables, with their provenance."""
    tables = load()
    return {
        "provenance": provenance(*sorted({rows.table for rows in tables})),
        "links": build(tables),
    }


def score() -> list[dict[str, Any]]:
    """Errors of each generation's tables by constants fitted without it, and in sample."""
    tables = load()
    everything = build(tables)
    found = []
    for link in sorted({rows.link for rows in tables}):
        rest = build([rows for rows in tables if rows.link != link])
        for how, entry in (("in sample", everything[link]), ("left out", rest[link.split("/")[0]])):
            found += _score(link, how, entry, [rows for rows in tables if rows.link == link])
    return found


def _score(
    link: str, how: str, entry: Mapping[str, Any], tables: Sequence[Rows]
) -> list[dict[str, Any]]:
    ratios = (entry["low_ratio"], entry["high_ratio"])
    return [
        {"table": rows.table, "held_out": link, "how": how, "op": rows.kind}
        | errors(rows.predicted(entry), rows.seconds, ratios)
        | long_error(rows.predicted(entry), rows.seconds)
        for rows in tables
    ]
