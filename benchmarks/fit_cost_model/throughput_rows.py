"""Runs of TensorRT-LLM's published maximum-load tables, as parts of a step, and a fit of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from gangline.planner.catalogue import find_type
from gangline.planner.costs.shape import find_shape
from gangline.planner.costs.step import StepCost
from gangline.planner.costs.throughput import (
    ENGINE,
    WorkingPoint,
    engine_constants,
    link,
    load_cost,
    ring_bytes,
    working_point,
)

from .data import read
from .positive import fit_positive

Array = npt.NDArray[np.float64]

TRTLLM = "trtllm/throughput_tok_s.csv"
BOARDS: Mapping[str, str] = {
    "A100": "A100-SXM-80",
    "L40S": "L40S",
    "H200": "H200-SXM-141",
    "GH200": "GH200",
    "B200": "B200-SXM-180",
    "RTX-PRO-6000": "RTX-PRO-6000-BW",
}
HELD_OUT: Mapping[str, tuple[str, ...]] = {
    "A100": ("A100-SXM-80",),
    "L40S": ("L40S",),
    "H200+GH200": ("H200-SXM-141", "GH200"),
    "B200": ("B200-SXM-180",),
    "RTX-PRO-6000": ("RTX-PRO-6000-BW",),
}
"""Boards left out together: H200 and GH200 carry one die."""

REQUESTS: Mapping[tuple[float, float], float] = {
    (128, 128): 30000,
    (128, 2048): 3000,
    (128, 4096): 1500,
    (500, 2000): 3000,
    (1000, 1000): 3000,
    (1000, 2000): 3000,
    (2048, 128): 3000,
    (2048, 2048): 1500,
    (5000, 500): 1500,
    (20000, 2000): 1000,
}
"""Requests of each run (TensorRT-LLM perf-overview, "Preparing a Dataset"): none has more in
flight. Those of 1000/2000 are not stated: taken as of its neighbours."""

TERMS = (*ENGINE, "peer", "host", "reduce_s")
START = {
    "gemm": 1.0,
    "expert_busy": 1.0,
    "attention": 1.0,
    "layer_s": 1e-5,
    "peer": 1 / 0.8,
    "host": 1 / 0.6,
    "reduce_s": 1e-5,
}
"""Where the fit starts: prices as they are, links at the shares NCCL reaches, overheads guessed.
That of experts stays there: the tables hold none, `mixtures` fits it."""

SPREAD = {term: 3.0 if start >= 1.0 else 10.0 for term, start in START.items()}
"""A constant e^0.3 (factors) or e^1 (overheads) off its start pays as one row 10 % off would."""

BOUNDS = {term: (start / 20.0, start * 20.0) for term, start in START.items()}

HELD = 1.0
"""The tables' engines admit a request only if its whole length fits (GUARANTEED_NO_EVICT)."""

RESERVES = (1e9, 3e9)
"""Bytes set aside for context and activations that are tried."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Runs of the tables with the seconds of a step split into parts of the fitted constants.

    Attributes:
        device: catalogue type of each row.
        model: model of each row.
        rate: measured output tokens per second.
        batch: batch of each row.
        parts: seconds or counts of `TERMS`, shape [rows, terms]; with the constants they give
            the seconds of a step.
    """

    device: npt.NDArray[np.str_]
    model: npt.NDArray[np.str_]
    rate: Array
    batch: Array
    parts: Array

    def only(self, mask: npt.NDArray[np.bool_]) -> Rows:
        """The rows where `mask` is true."""
        return Rows(
            self.device[mask], self.model[mask], self.rate[mask], self.batch[mask], self.parts[mask]
        )


@dataclass(frozen=True, slots=True)
class Fit:
    """Constants of `TERMS` with the bytes set aside they were fitted at."""

    terms: Array
    reserve_bytes: float
    loss: float


@cache
def trtllm_rows(reserve_bytes: float) -> Rows:
    """Read TensorRT-LLM's tables and price every row's step, so many bytes set aside."""
    table = read(TRTLLM)
    names = list(zip(*(table[key] for key in ("gpu", "model", "precision", "tp")), strict=True))
    found = []
    for gpu, model, precision, tp in dict.fromkeys(names):
        mask = np.array([name == (gpu, model, precision, tp) for name in names])
        isl, osl = table["isl"][mask], table["osl"][mask]
        requests = np.array([REQUESTS[pair] for pair in zip(isl, osl, strict=True)])
        batch, parts = group_parts(
            (BOARDS[str(gpu)], str(model), str(precision), int(tp)),
            isl, osl, requests, reserve_bytes,
        )  # fmt: skip
        names_of = np.full(isl.shape, BOARDS[str(gpu)]), np.full(isl.shape, str(model))
        found.append(Rows(*names_of, table["total_output_tok_s"][mask], batch, parts))
    return _join(found)


def _join(found: Sequence[Rows]) -> Rows:
    return Rows(
        np.concatenate([rows.device for rows in found]),
        np.concatenate([rows.model for rows in found]),
        np.concatenate([rows.rate for rows in found]),
        np.concatenate([rows.batch for rows in found]),
        np.concatenate([rows.parts for rows in found]),
    )


@cache
def _unit_cost(group: tuple[str, str, str, int], term: str) -> StepCost:
    """Price steps with the constants of one term at 1 and all others at 0."""
    device, model, precision, tp = group
    values = engine_constants({term: 1.0})
    spec = find_type(device).spec
    return load_cost(spec, find_shape(model), precision, tp, 1, values)


def group_parts(
    group: tuple[str, str, str, int],
    isl: Array,
    osl: Array,
    requests: Array | float,
    reserve_bytes: float,
) -> tuple[Array, Array]:
    """Give the batch and the parts of a step of one group at several lengths."""
    cost = _unit_cost(group, "gemm")
    point = working_point(
        cost, isl, osl, held=HELD, reserve_bytes=reserve_bytes, concurrency=requests
    )
    parts = {term: point.step_s(_unit_cost(group, term)) for term in ENGINE}
    parts |= _reduce_parts(cost, point)
    return point.batch, np.stack([parts[term] for term in TERMS], axis=-1)


def _reduce_parts(cost: StepCost, point: WorkingPoint) -> dict[str, Array]:
    none = np.zeros_like(point.batch)
    if cost.tp == 1:
        return {"peer": none, "host": none, "reduce_s": none}
    kind, rate = link(cost.spec)
    moved = {"peer": none, "host": none} | {kind: ring_bytes(cost, point) / rate}
    return {**moved, "reduce_s": none + 2.0 * cost.shape.layers}


def fit_terms(rows: Rows) -> tuple[Array, float]:
    """Fit the constants, every board weighing alike; gives the mean absolute error in logs too."""
    boards = np.unique(rows.device)
    counts = np.array([np.sum(rows.device == board) for board in boards])
    share = np.mean(counts) / counts[np.searchsorted(boards, rows.device)]

    def residuals(values: Mapping[str, float]) -> Array:
        return np.asarray(np.sqrt(share) * _off(rows, values))

    found = fit_positive(residuals, START, SPREAD, BOUNDS)
    return (
        np.array([found[term] for term in TERMS]),
        float(np.mean(share * np.abs(_off(rows, found)))),
    )


def _off(rows: Rows, values: Mapping[str, float]) -> Array:
    seconds = rows.parts @ np.array([values[term] for term in TERMS])
    return np.asarray(np.log(rows.rate * seconds / rows.batch))


def best_fit(left_out: Iterable[str] = ()) -> Fit:
    """Fit the constants for every choice of bytes set aside, some boards left out, keep the best."""
    absent = list(left_out)
    fits = []
    for reserve in RESERVES:
        rows = trtllm_rows(reserve)
        terms, loss = fit_terms(rows.only(~np.isin(rows.device, absent)))
        fits.append(Fit(terms, reserve, loss))
    return min(fits, key=lambda found: found.loss)


def predicted(found: Fit, rows: Rows) -> Array:
    """Output tokens per second of every row by a fit, before any factor of its generation."""
    return np.asarray(rows.batch / (rows.parts @ found.terms))
