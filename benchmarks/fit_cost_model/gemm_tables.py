"""Measured matrix products of every shared table: aiconfigurator, apex and the layers of vidur."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from gangline.ir.specs.device import DeviceSpec
from gangline.planner.costs.dtypes import peak
from gangline.planner.costs.gemm import GemmCoefficients, derive, gemm_regime, gemm_with, traits

from .data import Columns, device, read, select, systems_with

Array = npt.NDArray[np.float64]

LAYERS = "vidur/linear_ops_ms.csv.gz"
V100 = "apex/v100_pcie_gemm_us.csv.gz"


@dataclass(frozen=True, slots=True)
class Table:
    """Measured products of one system and format; sizes as floats, seconds."""

    system: str
    dtype: str
    spec: DeviceSpec
    m: Array
    n: Array
    k: Array
    seconds: Array

    @property
    def type(self) -> str:
        """Catalogue type of the device, which several tables may share."""
        return self.spec.type

    def thinned(self, rows: int) -> Table:
        """About `rows` rows, evenly taken."""
        step = max(1, len(self.seconds) // rows)
        part = (values[::step] for values in (self.m, self.n, self.k, self.seconds))
        return Table(self.system, self.dtype, self.spec, *part)

    def coefficients(self, values: Mapping[str, float]) -> GemmCoefficients:
        """What the planner would work out from these values."""
        rate = peak(self.spec, self.dtype) or np.nan
        rate16 = peak(self.spec, "bf16") or rate
        return derive(values, self.dtype, rate, rate16, traits(self.spec))

    def estimate(self, values: Mapping[str, float]) -> Array:
        """Seconds of every row under these values."""
        return gemm_with(self.coefficients(values), self.m, self.n, self.k)

    def residuals(self, values: Mapping[str, float]) -> Array:
        """Log of measured over estimated seconds."""
        return np.asarray(np.log(self.seconds / self.estimate(values)))

    def regimes(self, values: Mapping[str, float]) -> npt.NDArray[np.intp]:
        """What bounds every row under these values."""
        return gemm_regime(self.coefficients(values), self.m, self.n, self.k)


@cache
def tables(without_model: str = "") -> tuple[Table, ...]:
    """All measured products, one table per system and format; layers of one model left out."""
    found = [_v100(), *(_layers(system, without_model) for system in ("a100", "a40"))]
    for system in systems_with("gemm"):
        rows = read(f"aiconfigurator/{system}_gemm.csv.gz")
        for name in sorted(set(rows["gemm_dtype"])):
            part = select(rows, rows["gemm_dtype"] == name)
            dtype = {"bfloat16": "bf16"}.get(str(name), str(name))
            seconds = part["latency_ms"] * 1e-3
            sizes = (part["m"], part["n"], part["k"])
            found.append(Table(system, dtype, device(system), *sizes, seconds))
    return tuple(found)


def tables_of(family: str, without_model: str = "") -> list[Table]:
    """Tables of one kernel family."""
    return [table for table in tables(without_model) if table.dtype == family]


def _v100() -> Table:
    """The V100 table where its sizes are those of language models."""
    rows = read(V100)
    wide = (rows["n"] >= 512) & (rows["k"] >= 512) & (rows["k"] <= 16384)
    rows = select(rows, wide & (rows["m"] <= 16384) & (rows["n"] % 512 == 0))
    sizes = (rows["m"], rows["n"], rows["k"])
    return Table("v100_pcie", "bf16", device("v100_pcie"), *sizes, rows["time(us)"] * 1e-6)


def layer_sizes(rows: Columns) -> dict[str, tuple[Array, Array]]:
    """Columns and depth (n, k) of each product of a layer, split over `tp` devices."""
    heads = rows["n_head"] + 2 * np.maximum(rows["n_kv_head"], rows["tp"])
    width, inner, tp = rows["n_embd"], rows["n_expanded_embd"], rows["tp"]
    return {
        "attn_pre_proj": (heads * width / rows["n_head"] / tp, width),
        "attn_post_proj": (width, width / tp),
        "mlp_up_proj": (inner * (1 + rows["gated"]) / tp, width),
        "mlp_down_proj": (width, inner / tp),
    }


def layer_rows(system: str, *, without: str = "") -> Columns:
    """Rows of the layer table on one system, one model left out."""
    rows = read(LAYERS)
    return select(rows, (rows["gpu"] == system) & (rows["model"] != without))


def layer_products(system: str, rows: Columns) -> dict[str, Table]:
    """The products of layers as one table per operation."""
    spec, tokens = device(system), rows["num_tokens"]
    return {
        name: Table(system, "bf16", spec, tokens, n, k, rows[f"{name}_ms"] * 1e-3)
        for name, (n, k) in layer_sizes(rows).items()
    }


def _layers(system: str, without_model: str) -> Table:
    parts = layer_products(system, layer_rows(system, without=without_model)).values()
    joined = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("m", "n", "k", "seconds")
    )
    return Table(system, "bf16", device(system), *joined)
