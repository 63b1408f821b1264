"""Fits tool durations: one sketch per kind of tool, scored on tasks it was not fitted on."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from gangline.planner.costs.tools import GRID, Durations

from .data import DATA_DATE, hardware_data

Array = npt.NDArray[np.float64]

TRACE = "traces/agentcgroup_tool_timing_local.jsonl.gz"
FEWEST = 40
"""Kinds with fewer calls in the trace get no sketch of their own."""

NAMES = {"TodoWrite": "todo"}
CHECKED = (0.5, 0.95, 0.99)


def load() -> tuple[Array, npt.NDArray[Any], Array]:
    """Tasks (numbered), kinds and seconds of every call, in trace order."""
    path = hardware_data().parent / TRACE
    tasks, kinds, seconds = [], [], []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            for call in json.loads(line)["tools"]:
                tasks.append(number)
                kinds.append(NAMES.get(call["tool"], call["tool"].lower()))
                seconds.append(call["dur_s"])
    return np.array(tasks, dtype=float), np.array(kinds), np.array(seconds, dtype=float)


def groups(kinds: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.bool_]]:
    """Which calls are of each kind with enough of them, and `any`: all calls."""
    names, counts = np.unique(kinds, return_counts=True)
    found = {
        str(name): kinds == name
        for name, count in zip(names, counts, strict=True)
        if count >= FEWEST
    }
    return found | {"any": np.ones(kinds.size, dtype=bool)}


def fit() -> dict[str, Any]:
    """Give one sketch per kind, with provenance."""
    _, kinds, seconds = load()
    provenance = {
        "files": [TRACE],
        "licences": {"agentcgroup": "GPL-2.0 repository; quantiles of its timings only"},
        "date": DATA_DATE,
        "rows": int(seconds.size),
    }
    sketches = {name: Durations.fit(seconds[at]).to_json() for name, at in groups(kinds).items()}
    return {"provenance": provenance, "probabilities": list(GRID), "kinds": sketches}


def score() -> list[dict[str, Any]]:
    """Errors of quantiles and mean on the odd tasks, fitted on the even ones, and of a constant.

    `constant_error` is the mean relative error of the mean alone taken as every call's duration.
    """
    tasks, kinds, seconds = load()
    even = tasks % 2.0 == 0.0
    rows = []
    for name, at in groups(kinds).items():
        fitted = Durations.fit(seconds[at & even])
        rows.append(_score(name, fitted, seconds[at & ~even]))
    return rows


def _score(name: str, fitted: Durations, left: Array) -> dict[str, Any]:
    off: Mapping[str, float] = {
        f"p{100 * share:.0f}_error": abs(
            float(fitted.quantile(share)) / float(np.quantile(left, share)) - 1.0
        )
        for share in CHECKED
    }
    # The largest gap between the two distribution functions (Kolmogorov-Smirnov).
    sorted_left = np.sort(left)
    levels = (np.arange(left.size) + 0.5) / left.size
    grid = np.linspace(0.0005, 0.9995, 2000)
    guessed = np.interp(np.log(sorted_left), np.log(fitted.quantile(grid)), grid)
    return {
        "table": "tool_durations",
        "held_out": "odd tasks",
        "op": name,
        "rows": int(left.size),
        "mean_error": abs(fitted.mean / float(left.mean()) - 1.0),
        "largest_gap": float(np.max(np.abs(guessed - levels))),
        "median_error": off["p50_error"],
        **off,
    }
