"""Errors of the cost model per device and table, each device left out of what predicts it.

    python -m benchmarks.cost_model            a table of rows and of targets
    python -m benchmarks.cost_model --json     the same as one JSON document
    python -m benchmarks.cost_model --keep     also write benchmarks/results/cost_model.json

Calls `score()` of every fitting module (`benchmarks/fit_cost_model`). Rows say what was left out;
rows marked `in sample` show how well the form fits where it was fitted. Single operations stand
beside a roofline of three constants fitted on the same devices in the same run. Widths and
Winkler scores are of 90 % intervals, widths relative to the estimate, Winkler scores in logs.
Progress goes to stderr.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fit_cost_model.data import find_shared_data
from gangline.ir.errors import ConfigError

Row = dict[str, Any]

MODULES = ("gemm", "linear", "attention", "collective", "tools", "throughput", "deployment")
KEPT = Path(__file__).parent / "results" / "cost_model.json"
LEFT_OUT = ("B200-SXM-180", "L40S", "A100-SXM-80", "H200-SXM-141")
"""Devices whose being left out the project's targets are about."""


@dataclass(frozen=True, slots=True)
class Target:
    """One target of the project: the median error of chosen rows, and the most it may be."""

    name: str
    most: float
    chosen: Callable[[Row], bool]


def _gemm(dtype: str, devices: Iterable[str]) -> Callable[[Row], bool]:
    held = tuple(devices)
    return lambda row: (
        row["module"] == "gemm" and row["table"] not in LAYERS
        and row.get("dtype") == dtype and row["held_out"] in held
    )  # fmt: skip


def _attention(phase: str, width: str) -> Callable[[Row], bool]:
    return lambda row: (
        row["table"] == f"attention_{phase}" and row["dtype"] == width
        and row["how"] == "left out" and row["held_out"] in LEFT_OUT
    )  # fmt: skip


def _deployed(quantity: str, family: str) -> Callable[[Row], bool]:
    return lambda row: (
        row["module"] == "deployment" and row.get("left_out") == "device"
        and row["op"].startswith(quantity) and row["family"] == family
    )  # fmt: skip


LAYERS = ("gemm/a100", "gemm/a40")
"""Tables of whole layers' products (vidur), beside those of single products."""

OTHERS = tuple(name for name in LEFT_OUT if name != "B200-SXM-180")

TARGETS = (
    Target("gemm bf16, device left out", 0.08, _gemm("bf16", LEFT_OUT)),
    Target("gemm fp8, device left out", 0.12, _gemm("fp8", OTHERS)),
    Target("gemm fp8, B200 left out", 0.18, _gemm("fp8", ("B200-SXM-180",))),
    Target(
        "linear ops (vidur), device left out", 0.12,
        lambda row: row["module"] == "linear" and row["op"] == "all"
        and row["held_out"] in ("A100-SXM-80", "A40"),
    ),
    Target("attention, prompts, 16-bit cache", 0.2, _attention("prefill", "kv16")),
    Target("attention, prompts, 8-bit cache", 0.2, _attention("prefill", "kv8")),
    Target("attention, decoding, 16-bit cache", 0.2, _attention("decode", "kv16")),
    Target("attention, decoding, 8-bit cache", 0.2, _attention("decode", "kv8")),
    Target(
        "throughput at full load (trtllm), board left out", 0.12,
        lambda row: row["table"] == "trtllm" and row["held_out"] != "none"
        and not row["held_out"].endswith("only"),
    ),
    Target("deployed TPOT, dense, device left out", 0.1, _deployed("tpot", "dense")),
    Target("deployed TPOT, mixtures and MLA", 0.2, _deployed("tpot", "moe_mla")),
    Target("deployed TTFT, dense, device left out", 0.25, _deployed("ttft", "dense")),
    Target("deployed TTFT, mixtures and MLA", 0.25, _deployed("ttft", "moe_mla")),
)  # fmt: skip


def collect(names: Sequence[str] = MODULES) -> tuple[list[Row], dict[str, float]]:
    """Rows of every module that has a score, and the seconds each took."""
    rows: list[Row] = []
    seconds: dict[str, float] = {}
    for name in names:
        score = _score_of(name)
        if score is None:
            print(f"{name}: no score", file=sys.stderr)
            continue
        start = time.perf_counter()
        found = [{"module": name, "how": _how(row), **row} for row in score()]
        rows += _beside_peer(name, found)
        seconds[name] = time.perf_counter() - start
        print(f"{name}: {len(found)} rows in {seconds[name]:.1f} s", file=sys.stderr)
    return rows, seconds


def _how(row: Row) -> str:
    """Whether a row that does not say was fitted with its own table: `none` was left out then."""
    return "in sample" if row["held_out"] == "none" else "left out"


def _score_of(name: str) -> Callable[[], list[Row]] | None:
    path = f"benchmarks.fit_cost_model.{name}"
    if importlib.util.find_spec(path) is None:
        return None
    found: Callable[[], list[Row]] | None = getattr(importlib.import_module(path), "score", None)
    return found


def _beside_peer(name: str, rows: list[Row]) -> list[Row]:
    """Rows of left-out devices, with the median error of a roofline beside them."""
    from benchmarks.fit_cost_model import roofline

    if name not in roofline.WORK:
        return rows
    peers = roofline.peer_errors(name)
    for row in rows:
        key = (row["table"], row["held_out"], str(row.get("op", row.get("dtype"))))
        if row["how"] != "in sample" and key in peers:
            row["roofline_error"] = peers[key]
    return rows


def against_targets(rows: Sequence[Row]) -> list[Row]:
    """What each target asks and what its rows have: the median over rows, and the worst of them."""
    found = []
    for target in TARGETS:
        off = [row["median_error"] for row in rows if target.chosen(row)]
        if off:
            measured = {"median_error": float(np.median(off)), "worst_error": max(off)}
            met = measured["median_error"] <= target.most
            found.append({"target": target.name, "most": target.most, **measured, "met": met})
    return found


def document(names: Sequence[str] = MODULES) -> Mapping[str, Any]:
    """Everything one run finds, as JSON."""
    rows, seconds = collect(names)
    return {
        "rows": _rounded(rows),
        "targets": _rounded(against_targets(rows)),
        "seconds": _rounded(seconds),
        "peer": "roofline_error: three constants fitted on the same training devices",
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


COLUMNS = (
    ("median_error", "median"), ("long_error", "of >50us"), ("p90_error", "p90"),
    ("roofline_error", "roofline"),
    ("coverage", "cover"), ("median_width", "width"), ("winkler", "winkler"),
)  # fmt: skip


def text(found: Mapping[str, Any]) -> str:
    """The document as tables of plain text."""
    title = f"{'table':42s} {'left out':22s} {'of':19s} {'how':9s} {'rows':>6s}"
    lines = [title + "".join(f"{name:>9s}" for _, name in COLUMNS)]
    for row in found["rows"]:
        about = str(row.get("op", row.get("dtype", "")))
        about += f" {row['family']}" if "family" in row else ""
        line = f"{row['table'][:42]:42s} {row['held_out'][:22]:22s} {about[:19]:19s} "
        line += f"{row['how'][:9]:9s} {row.get('rows', ''):>6}"
        cells = (row.get(key) for key, _ in COLUMNS)
        lines.append(
            line + "".join(f"{'' if cell is None else f'{cell:.3f}':>9s}" for cell in cells)
        )
    lines += ["", f"{'target':52s} {'most':>8s} {'median':>8s} {'worst':>8s}"]
    for row in found["targets"]:
        line = f"{row['target']:52s} {row['most']:8.3f} {row['median_error']:8.3f}"
        lines.append(f"{line} {row['worst_error']:8.3f}  {'met' if row['met'] else 'MISSED'}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Score, print, and keep where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--only", default=",".join(MODULES), help="comma-separated modules")
    parser.add_argument("--out", type=Path, help="also write the JSON document to this file")
    parser.add_argument("--keep", action="store_true", help=f"also write {KEPT.name} to results")
    chosen = parser.parse_args(arguments)
    names = tuple(chosen.only.split(","))
    unknown = [name for name in names if name not in MODULES]
    if unknown:
        parser.error(f"no module {', '.join(unknown)}; there are {', '.join(MODULES)}")
    if find_shared_data() is None:
        print("the shared measurements are absent: set GANGLINE_SHARED_DATA", file=sys.stderr)
        return 1
    found = document(names)
    written = json.dumps(found, indent=1) + "\n"
    for path in (chosen.out, KEPT if chosen.keep else None):
        if path is not None:
            path.write_text(written, encoding="utf-8")
    print(written if chosen.json else text(found), end="\n" if not chosen.json else "")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ConfigError as error:
        sys.exit(str(error))
