"""Rows of measured deployments: repeats merged, sizes as they were run.

The table repeats most runs two or three times, written out of different dumps. Some of these
copies give the product of tensor and expert parallelism as the number of devices (a run on 8
devices with tp 8 and ep 8 reads tp 64); some leave out workers and attention groups. Copies of one
run are merged by their measured times, and the sizes of the most complete one are kept.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from gangline.ir.specs.device import DeviceSpec
from gangline.planner.catalogue import find_type
from gangline.planner.costs.shape import ModelShape, find_shape

from .data import read

TABLE = "silicon/e2e_ttft_tpot.csv.gz"

TYPES = {
    "h200_sxm": "H200-SXM-141",
    "b200_sxm": "B200-SXM-180",
    "b300_sxm": "B300-SXM-288",
    "gb300": "GB300",
}

BOARD = 8
"""Devices of one board; no aggregated run of the table spans two."""


@dataclass(frozen=True, slots=True)
class Group:
    """Workers of one kind: how many, and the parallelism of each."""

    workers: int
    tp: int
    pp: int
    dp: int


@dataclass(frozen=True, slots=True)
class Row:
    """One measured run. `agg` is its one group of workers, or None where `prefill` and `decode`
    are apart. Times in seconds, lengths in tokens."""

    system: str
    spec: DeviceSpec
    model: str
    shape: ModelShape
    dtype: str
    engine: str
    isl: float
    osl: float
    concurrency: float
    agg: Group | None
    prefill: Group | None
    decode: Group | None
    ttft_s: float
    tpot_s: float

    @property
    def family(self) -> str:
        """`dense` or `moe_mla`."""
        return self.shape.family

    @property
    def mode(self) -> str:
        """`agg` or `disagg`."""
        return "agg" if self.agg else "disagg"

    @property
    def deciding(self) -> Group:
        """The workers that decode."""
        group = self.agg or self.decode
        assert group is not None
        return group


@cache
def rows() -> tuple[Row, ...]:
    """Read all runs whose workers are known, each once, in the order of the table."""
    columns = read(TABLE)
    names = list(columns)
    copies: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for cells in zip(*columns.values(), strict=True):
        line = dict(zip(names, cells, strict=True))
        found = re.search(r"silicon_concurrency=(\d+)", str(line["silicon_data_source"]))
        if not found:
            continue
        line["concurrency"] = float(found.group(1))
        times = (round(line["silicon_ttft_ms"]), round(line["silicon_tpot_ms"], 3))
        copies[(line["concurrency"], line["isl"], *times)].append(line)
    made = (_row(lines) for lines in copies.values())
    return tuple(row for row in made if row is not None)


def _row(lines: list[dict[str, Any]]) -> Row | None:
    """Merge the copies of one run; None where none of them names its workers."""
    disagg = lines[0]["mode"] == "disagg"
    known = [line for line in lines if not np.isnan(line["decode_num_workers"])]
    if disagg and not known:
        return None
    line = known[0] if disagg else lines[0]
    model = str(line["model_path"])
    return Row(
        system=str(line["system"]),
        spec=find_type(TYPES[str(line["system"])]).spec,
        model=model.split("/")[-1],
        shape=find_shape(model),
        dtype=str(line["precision"]),
        engine=str(line["backend"]),
        isl=float(line["isl"]),
        osl=float(line["osl"]),
        concurrency=float(line["concurrency"]),
        agg=None if disagg else as_run(_group(line, "")),
        prefill=_group(line, "prefill_")[0] if disagg else None,
        decode=_group(line, "decode_")[0] if disagg else None,
        ttft_s=float(line["silicon_ttft_ms"]) / 1e3,
        tpot_s=float(line["silicon_tpot_ms"]) / 1e3,
    )


def _group(line: dict[str, Any], part: str) -> tuple[Group, int, int]:
    """One kind of workers as stated, with its tensor and expert parallelism in the experts."""

    def size(name: str) -> int:
        value = line.get(part + name, 1.0)
        return 1 if np.isnan(value) or not value else int(value)

    tensor, expert = size("moe_tp_size"), size("moe_ep_size")
    dp = size("attention_dp_size")
    if np.isnan(line.get(part + "attention_dp_size", np.nan)):
        dp = max(1, tensor * expert // size("tp_size"))  # not stated: what the experts span
    group = Group(size("num_workers"), size("tp_size"), size("pp_size"), dp)
    return group, tensor, expert


def as_run(stated: tuple[Group, int, int]) -> Group:
    """Undo a product of sizes: a group wider than a board was one of its root."""
    group, tensor, expert = stated
    if tensor == expert > 1 and group.tp * group.dp == tensor * expert > BOARD:
        wide = group.dp == 1
        return Group(group.workers, tensor if wide else 1, group.pp, 1 if wide else tensor)
    if group.tp == group.dp > 1 and tensor == 1 and expert == group.tp * group.dp:
        return Group(group.workers, group.tp, group.pp, 1)  # its copies say tp alone
    return group
