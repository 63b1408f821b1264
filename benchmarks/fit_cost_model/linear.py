"""Fits the small operations of a layer, and scores whole layers by leaving devices and models out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from gangline.ir.specs.device import DeviceSpec
from gangline.planner.costs.gemm import balance
from gangline.planner.costs.interval import errors, ratio_interval, transfer_interval
from gangline.planner.costs.linear import OPERATIONS, elementwise_with

from . import gemm
from .data import Columns, device, provenance, read, select
from .gemm_tables import LAYERS, layer_products, layer_rows

Array = npt.NDArray[np.float64]
Values = dict[str, float]

PRIORS: dict[str, tuple[float, float]] = {
    "launch_s": (1.5e-6, 0.5),
    "stream": (0.85, 0.1),
    "cache_bytes_per_clock": (20.0, 0.5),
    "blend": (3.0, 0.5),
    **dict.fromkeys(OPERATIONS, (8.0, 0.7)),
}
"""Centre and standard deviation (in logs) of every value before the data is seen."""

LAUNCH_CLOCK = -2.0
"""As of matrix products: the fixed part shrinks with the clock."""

TICK_S = 1e-6
"""The table's resolution: a row of few ticks says little."""
SCALE = 0.1
ALIKE_ROWS = 12
"""Rows of one operation repeat each other: so many count as one."""

SYSTEMS = ("a100", "a40")


@dataclass(frozen=True, slots=True)
class Rows:
    """Measured times of one operation on one system; seconds."""

    system: str
    operation: str
    spec: DeviceSpec
    rows: Array
    width: Array
    times: Array
    seconds: Array

    def estimate(self, values: Values) -> Array:
        """Seconds of every row under these values."""
        one = elementwise_with(values, self.spec, self.operation, self.rows, self.width)
        return np.asarray(one * self.times)


def operations(system: str, table: Columns) -> list[Rows]:
    """The small operations in rows of the layer table."""
    spec, found = device(system), []
    plain = table["gated"] == 0
    for part, activation in ((~plain, "activation"), (plain, "plain_activation")):
        rows = select(table, part)
        heads = (rows["n_head"] + np.maximum(rows["n_kv_head"], rows["tp"])) / rows["tp"]
        inner = rows["n_expanded_embd"] / rows["tp"]
        # A block with attention and feed-forward side by side adds two branches, and norms once.
        adds = 2.0 if activation == "plain_activation" else 1.0
        widths = {
            "emb": ("embedding", rows["n_embd"], 1.0),
            "input_layernorm": ("norm", rows["n_embd"], 1.0),
            "post_attention_layernorm": ("norm", rows["n_embd"], 1.0),
            "attn_rope": ("rope", heads * rows["n_embd"] / rows["n_head"], 1.0),
            "mlp_act": (activation, inner, 1.0),
            "add": ("add", rows["n_embd"], adds),
        }
        for column, (name, width, times) in widths.items():
            seconds = rows[f"{column}_ms"] * 1e-3
            known = np.isfinite(seconds) & (seconds > 0)
            sizes = (rows["num_tokens"][known], width[known], np.full(known.sum(), times))
            if known.any():
                found.append(Rows(system, name, spec, *sizes, seconds[known]))
    return found


def fit_values(train: Sequence[Rows]) -> Values:
    """All values, fitted on `train` around the priors."""
    names = list(PRIORS)
    centre = np.log([PRIORS[name][0] for name in names])
    spread = np.array([PRIORS[name][1] for name in names])

    def objective(point: Array) -> Array:
        values = _values(names, point)
        return np.concatenate([(point - centre) / spread, *(_weighted(p, values) for p in train)])

    return _values(names, least_squares(objective, centre).x)


def _values(names: Sequence[str], point: Array) -> Values:
    found = {name: float(np.exp(x)) for name, x in zip(names, point, strict=True)}
    return {**found, "launch_clock": LAUNCH_CLOCK}


def _weighted(part: Rows, values: Values) -> Array:
    off = np.log(part.seconds / part.estimate(values))
    sure = SCALE / np.hypot(SCALE, 0.3 * TICK_S / part.seconds)
    z = off / SCALE * sure
    robust = np.sign(z) * np.sqrt(2 * (np.sqrt(1 + z * z) - 1))
    return np.asarray(robust * np.sqrt(1 / ALIKE_ROWS))


@cache
def values_without(left_out: str = "", model: str = "") -> Values:
    """Values fitted without one system or one model ("" for none)."""
    keep = [system for system in SYSTEMS if system != left_out]
    return fit_values([part for s in keep for part in operations(s, layer_rows(s, without=model))])


def fit() -> dict[str, Any]:
    """Fit everything on all rows."""
    values, inside, pairs = values_without(), {}, []
    for system in SYSTEMS:
        guess, seconds = _pairs(operations(system, layer_rows(system)), values)
        inside[system] = float(np.median(np.abs(guess / seconds - 1)))
        pairs.append((guess, seconds))
    left = [_pairs(operations(s, layer_rows(s)), values_without(s)) for s in SYSTEMS]
    specs = [device(system) for system in SYSTEMS]
    whole = [np.concatenate(parts) for parts in zip(*pairs, strict=True)]
    return {
        "provenance": provenance(LAYERS),
        "values": values,
        "groups": [{"generation": s.generation, "balance": balance(s)} for s in specs],
        "in_sample_median_error": inside,
        "interval": {
            "fitted": ratio_interval(*whole, widen=1.2),
            "spec": transfer_interval(left),
        },
    }


def _pairs(parts: Sequence[Rows], values: Values) -> tuple[Array, Array]:
    guess = np.concatenate([part.estimate(values) for part in parts])
    return guess, np.concatenate([part.seconds for part in parts])


def score() -> list[dict[str, Any]]:
    """Errors of whole layers: each system left out in turn, then each model."""
    rows = []
    for system in SYSTEMS:
        held_out, table = device(system).type, layer_rows(system)
        products = gemm.common_without("bf16", held_out)
        found = _layer(system, table, products, values_without(system))
        other = next(name for name in SYSTEMS if name != system)
        guessed = _pairs(operations(other, layer_rows(other)), values_without(other))
        ratios = transfer_interval([guessed])
        small = _join({name: found[name] for name in OPERATIONS if name in found})
        rows += [_scored(system, held_out, name, pair) for name, pair in found.items()]
        rows.append(_scored(system, held_out, "small operations", small, ratios))
        rows.append(_scored(system, held_out, "all", _join(found)))
    return rows + [_model_row(*pair) for pair in _models()]


def _models() -> list[tuple[str, str]]:
    table = read(LAYERS)
    return sorted({(str(s), str(m)) for s, m in zip(table["gpu"], table["model"], strict=True)})


def _model_row(system: str, model: str) -> dict[str, Any]:
    table = layer_rows(system)
    part = select(table, table["model"] == model)
    products = gemm.own_values("bf16", model)[device(system).type]
    found = _layer(system, part, products, values_without(model=model))
    return _scored(system, model, "all", _join(found))


def _layer(
    system: str, table: Columns, products: Values, values: Values
) -> dict[str, tuple[Array, Array]]:
    """Estimated and measured seconds by operation, products included."""
    found = {
        name: (part.estimate(products), part.seconds)
        for name, part in layer_products(system, table).items()
    }
    for part in operations(system, table):
        pair = (part.estimate(values), part.seconds)
        before = {"": found[part.operation]} if part.operation in found else {}
        found[part.operation] = _join(before | {"more": pair})
    return found


def _join(found: Mapping[str, tuple[Array, Array]]) -> tuple[Array, Array]:
    guess, seconds = zip(*found.values(), strict=True)
    return np.concatenate(guess), np.concatenate(seconds)


def _scored(
    system: str,
    held_out: str,
    name: str,
    pair: tuple[Array, Array],
    ratios: tuple[float, float] | None = None,
) -> dict[str, Any]:
    named = {"table": f"linear/{system}", "held_out": held_out, "op": name}
    return named | errors(*pair, ratios)
