"""Readers of the shared measurements as numpy columns, and the device each table was taken on.

The measurements themselves are never part of the project: `GANGLINE_SHARED_DATA` names the
folder that holds them, or it is `../shared/data` beside the checkout.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gangline.ir.errors import ConfigError
from gangline.ir.specs.device import DeviceSpec
from gangline.planner.catalogue import find_type

Columns = dict[str, npt.NDArray[Any]]

CHECKOUT = Path(__file__).resolve().parents[2]

DATA_DATE = "2026-11-23"
"""When the shared measurements were collected; stated in every fitted file."""

SYSTEMS: Mapping[str, str] = {
    "a100_sxm": "A100-SXM-80",
    "l40s": "L40S",
    "h200_sxm": "H200-SXM-141",
    "b200_sxm": "B200-SXM-180",
    "rtx_pro_6000_server": "RTX-PRO-6000-BW",
    "b60": "B60",
    "v100_pcie": "V100-PCIE-16",
    "a100": "A100-SXM-80",
    "a40": "A40",
}
"""Catalogue type of each system that the tables name."""

LICENCES: Mapping[str, str] = {
    "aiconfigurator": "Apache-2.0 (ai-dynamo/aiconfigurator 0.12.0)",
    "vidur": "MIT (microsoft/vidur, commit 7d475133)",
    "apex": "MIT (microsoft/apex_plus, commit 8769096)",
    "silicon": "Apache-2.0 (aiconfigurator-core 0.12.0)",
    "trtllm": "Apache-2.0 (NVIDIA/TensorRT-LLM perf-overview)",
    "mlperf": "Apache-2.0 (MLPerf v4.1 results, unverified by MLCommons when derived)",
}
"""Licence and origin of each folder of tables."""


def find_shared_data() -> Path | None:
    """Find the folder of shared measurements; None where there is none."""
    named = os.environ.get("GANGLINE_SHARED_DATA")
    folder = Path(named) if named else CHECKOUT.parent / "shared" / "data"
    return folder if (folder / "hardware").is_dir() else None


def hardware_data() -> Path:
    """The folder of hardware tables; ConfigError where the shared measurements are absent."""
    folder = find_shared_data()
    if folder is None:
        raise ConfigError(
            "The shared measurements were not found",
            where=os.environ.get("GANGLINE_SHARED_DATA", "../shared/data"),
            next_step="Set GANGLINE_SHARED_DATA to the folder that holds `hardware/`.",
        )
    return folder / "hardware"


def device(system: str) -> DeviceSpec:
    """The catalogue row of a system as the tables name it (`h200_sxm`) or of a catalogue type."""
    return find_type(SYSTEMS.get(system, system)).spec


@cache
def read(name: str) -> Columns:
    """Read one table (path under `hardware/`) as columns: floats where every cell is a number.

    Empty cells of a numeric column are NaN. Callers must not write into the arrays.
    """
    path = hardware_data() / name
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    reader = csv.reader(io.StringIO(text, newline=""))
    header = next(reader)
    cells = [list(column) for column in zip(*reader, strict=True)]
    return {title: _column(values) for title, values in zip(header, cells, strict=True)}


def _column(values: list[str]) -> npt.NDArray[Any]:
    try:
        return np.array([float(value) if value else np.nan for value in values])
    except ValueError:
        return np.array(values)


def systems_with(operation: str) -> list[str]:
    """Systems that have a table `aiconfigurator/SYSTEM_<operation>.csv[.gz]`, sorted."""
    paths = (hardware_data() / "aiconfigurator").glob(f"*_{operation}.csv*")
    return sorted(path.name.split(f"_{operation}.csv")[0] for path in paths)


def provenance(*names: str) -> dict[str, Any]:
    """Data files, licences, date and row count, as every fitted file states them."""
    folders = sorted({name.split("/")[0] for name in names})
    return {
        "files": sorted(names),
        "licences": {folder: LICENCES[folder] for folder in folders},
        "date": DATA_DATE,
        "rows": sum(len(next(iter(read(name).values()))) for name in names),
    }


def select(columns: Columns, mask: npt.NDArray[np.bool_]) -> Columns:
    """The rows of every column where `mask` is true."""
    return {name: values[mask] for name, values in columns.items()}
