"""Fits what experts take at full load on MLPerf's Mixtral results, and how far mixtures are off.

NVIDIA's maximum-load tables hold no mixture of experts. Everything else of a step is kept as
fitted on dense models, the board's factor too, and one constant is left: the seconds of grouped
products that compute, over those of plain products of the same rows. At full load every expert
sees hundreds of rows, so tiles are full and it is the kernels that are slower. Deployments of
other mixtures at the highest concurrencies that were measured check how it carries over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt

from gangline.planner.catalogue import find_type
from gangline.planner.costs.interval import transfer_interval
from gangline.planner.costs.shape import find_shape

from .deployment_rows import Row, rows
from .mlperf import MODELS, Result, rate_per_device, steps
from .throughput_rows import TERMS, Fit, group_parts

Array = npt.NDArray[np.float64]
Pairs = list[tuple[float, float]]

FITTED_MODEL = "mixtral-8x7b"
"""The mixture that more than one generation has results of, in a steady state: a long answer of
DeepSeek-R1 outlasts its whole run, whose batch is never full for long."""

EXPERTS = TERMS.index("expert_busy")

MANY = 256.0
"""Concurrency from which a measured deployment counts as loaded."""


def is_mixture(result: Result) -> bool:
    """Whether a result is of a mixture of experts."""
    return find_shape(MODELS[result.model][0]).experts > 0


def with_experts(
    found: Fit,
    slower: Mapping[str, float],
    results: Collection[Result],
    left_out: Collection[str] = (),
) -> Fit:
    """Add the experts' constant to a fit of dense models.

    Args:
        slower: seconds of a step over the engine's by generation; 1 where absent.
        results: MLPerf's; Offline ones of the fitted model count, a generation as one.
        left_out: boards whose results do not count.
    """
    logs: dict[str, list[float]] = defaultdict(list)
    for result in results:
        if fits_experts(result) and result.device not in left_out:
            name = generation(result.device)
            logs[name].append(np.log(needed(found, result, slower.get(name, 1.0))))
    value = np.exp(np.mean([np.median(each) for each in logs.values()]))
    terms = found.terms.copy()
    terms[EXPERTS] = max(float(value), 1.0)
    return replace(found, terms=terms)


def fits_experts(result: Result) -> bool:
    """Whether the experts' constant is fitted on a result."""
    return result.model == FITTED_MODEL and result.scenario == "Offline"


def needed(found: Fit, result: Result, slower: float) -> float:
    """The experts' constant at which a result is predicted as measured.

    Every group of devices falls with the constant, so the last one to reach the measured rate is
    the best group there.
    """
    values = []
    for batch, parts in steps(found, result):
        others = float(parts @ found.terms) - parts[EXPERTS] * found.terms[EXPERTS]
        values.append((batch / (result.rate * slower) - others) / parts[EXPERTS])
    return float(max(values))


def generation(device: str) -> str:
    """Generation of a catalogue type."""
    return find_type(device).spec.generation


@cache
def loaded() -> tuple[Row, ...]:
    """Runs of mixtures on one group of devices that share every layer, with many users."""
    return tuple(
        row
        for row in rows()
        if row.agg is not None
        and row.agg.workers == row.agg.dp == row.agg.pp == 1
        and row.shape.experts
        and row.concurrency >= MANY
    )


def loaded_rates(found: Fit, row: Row, slower: float) -> tuple[float, float]:
    """Predicted and measured output tokens per second of a run at its concurrency."""
    assert row.agg is not None
    group = (row.spec.type, row.shape.name, row.dtype, row.agg.tp)
    batch, parts = group_parts(
        group, np.array([row.isl]), np.array([row.osl]), row.concurrency, found.reserve_bytes
    )
    measured = row.concurrency * row.osl / (row.ttft_s + row.osl * row.tpot_s)
    return float(batch[0] / (parts[0] @ found.terms)) / slower, measured


def loaded_pairs(found: Fit, slower: Mapping[str, float], *, latent: bool) -> dict[str, Pairs]:
    """Predicted and measured rates of loaded runs, by table and board."""
    pairs: dict[str, Pairs] = defaultdict(list)
    for row in loaded():
        if bool(row.shape.kv_lora_rank) == latent:
            factor = slower.get(row.spec.generation, 1.0)
            pairs[f"silicon {row.spec.type}"].append(loaded_rates(found, row, factor))
    return dict(pairs)


def latent_pairs(
    found: Fit, slower: Mapping[str, float], results: Collection[Result]
) -> dict[str, Pairs]:
    """Predicted and measured rates of mixtures with latent attention, by table and board.

    MLPerf's boards served them as one group of all devices, which the prediction is for as well.
    """
    pairs = loaded_pairs(found, slower, latent=True)
    for result in results:
        latent = find_shape(MODELS[result.model][0]).kv_lora_rank
        if latent and result.scenario == "Offline":
            batch, parts = list(steps(found, result))[-1]
            seconds = float(parts @ found.terms) * slower.get(generation(result.device), 1.0)
            pairs[f"mlperf {result.device}"] = [(batch / seconds, result.rate)]
    return pairs


def sides(pairs: Pairs) -> tuple[Array, Array]:
    """Predicted and measured rates apart."""
    guessed, measured = np.array(pairs, dtype=float).T
    return guessed, measured


def interval(groups: Iterable[Pairs]) -> tuple[float, float]:
    """Ratios that mixtures on a board in no group lie between."""
    return transfer_interval([sides(pairs) for pairs in groups])


def result_pair(found: Fit, slower: Mapping[str, float], result: Result) -> tuple[float, float]:
    """Predicted and measured rate of a result per device."""
    return rate_per_device(found, result) / slower.get(generation(result.device), 1.0), result.rate
