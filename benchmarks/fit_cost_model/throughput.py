"""Fits full-load throughput on TensorRT-LLM's published tables, and checks it on MLPerf's.

`fit` gives `constants/throughput.json`: engine constants and memory policy from the TensorRT-LLM
tables (v0.17 and v1.0), a factor per generation, and intervals; generations that only MLPerf
covers get their factor from its newest Offline results, and experts their constant (`mixtures`).
`score` leaves each board out in turn, of both tables.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from gangline.planner.catalogue import find_type
from gangline.planner.costs.interval import errors, ratio_interval, transfer_interval
from gangline.planner.costs.throughput import ENGINE

from . import mixtures
from .data import provenance
from .deployment_rows import TABLE as SILICON
from .mlperf import V41, V51, Result, rank_order, rate_per_device, results, tuning
from .throughput_rows import (
    HELD,
    TERMS,
    TRTLLM,
    Fit,
    best_fit,
    predicted,
    trtllm_rows,
)

Array = npt.NDArray[np.float64]

HELD_OUT: Mapping[str, tuple[str, ...]] = {
    "A100": ("A100-SXM-80",),
    "L40S": ("L40S",),
    "H200+GH200": ("H200-SXM-141", "GH200"),
    "B200": ("B200-SXM-180",),
    "RTX-PRO-6000": ("RTX-PRO-6000-BW",),
}
"""Boards left out together: H200 and GH200 carry one die."""

SIBLINGS = ("H200-SXM-141", "GH200")
"""Boards of one generation, each left out alone: how well a generation's factor carries over."""

MIXTURE_BOARDS = (("H200-SXM-141", "GH200"), ("MI300X",), ("RTX-PRO-6000-BW",))
"""Boards with results of MLPerf's Mixtral, those of one generation together."""

CHECKED_MODEL = "llama2-70b"
"""The MLPerf benchmark every board has results of; the factor of a generation is fitted on it."""


@cache
def _fit_without(left_out: tuple[str, ...]) -> Fit:
    return best_fit(left_out)


def _generation(device: str) -> str:
    return mixtures.generation(str(device))


def _slower(left_out: tuple[str, ...] = ()) -> dict[str, float]:
    """Seconds of a step over the engine's, by generation, of the tables' boards and of MLPerf's."""
    found = _fit_without(left_out)
    return _factors(found, left_out) | _mlperf_factors(found, left_out)


@cache
def _complete(left_out: tuple[str, ...]) -> Fit:
    """The fit of dense models with the experts' constant, boards left out of both."""
    dense = _fit_without(left_out)
    return mixtures.with_experts(dense, _slower(left_out), results(), left_out)


def _factors(found: Fit, left_out: Collection[str] = ()) -> dict[str, float]:
    """Seconds of a step over the engine's, by generation: the median of its rows' ratios."""
    rows = trtllm_rows(found.reserve_bytes)
    logs = np.log(predicted(found, rows) / rows.rate)
    generations = np.array([_generation(name) for name in rows.device])
    kept = ~np.isin(rows.device, list(left_out))
    return {
        str(name): float(np.exp(np.median(logs[kept & (generations == name)])))
        for name in np.unique(generations[kept])
    }


def _pairs(left_out: tuple[str, ...], devices: Collection[str]) -> tuple[Array, Array]:
    """Predicted and measured rates of `devices` by constants of all boards but `left_out`."""
    found = _fit_without(left_out)
    rows = trtllm_rows(found.reserve_bytes)
    mask = np.isin(rows.device, list(devices))
    factors = _factors(found, left_out)
    slower = np.array([factors.get(_generation(name), 1.0) for name in rows.device])
    return (predicted(found, rows) / slower)[mask], rows.rate[mask]


def _unseen_interval(without: tuple[str, ...] = ()) -> tuple[float, float]:
    """Ratios about a board of no fitted generation, by leaving boards out; `without` is unseen."""
    groups = [
        _pairs(tuple(sorted({*boards, *without})), boards)
        for boards in HELD_OUT.values()
        if not set(boards) & set(without)
    ]
    return transfer_interval(groups)


def _fitted_interval() -> tuple[float, float]:
    """Ratios about a board of a fitted generation: of all boards, and of siblings left out."""
    boards = tuple(name for group in HELD_OUT.values() for name in group)
    alone = [_pairs((name,), (name,)) for name in SIBLINGS]
    guessed, measured = (np.concatenate(side) for side in zip(*alone, strict=True))
    return _widest([ratio_interval(*_pairs((), boards)), ratio_interval(guessed, measured)])


def _foreign_interval(benchmarked: Mapping[str, float]) -> tuple[float, float]:
    """Ratios about a board of another maker: as of an unseen one, and as far off as those seen.

    The only one seen (MI300X) serves at well under what its data sheet promises; that another
    maker's software does better than the tables' is allowed for as of an unseen board.
    """
    low, high = _unseen_interval()
    return low * min(1.0, *(1.0 / slower for slower in benchmarked.values())), high


def _mixture_groups(left_out: tuple[str, ...] = ()) -> dict[str, mixtures.Pairs]:
    """Mixtures predicted by constants of other boards' experts: by generation, and by table.

    Dense results of a board stay in, so what is off is due to experts. Boards `left_out` give no
    rows and no constants.
    """
    dense, slower = _fit_without(()), _slower()
    groups: dict[str, mixtures.Pairs] = {}
    for name in MIXTURE_BOARDS:
        if not set(name) & set(left_out):
            found = mixtures.with_experts(dense, slower, results(), {*name, *left_out})
            groups[name[0]] = [
                mixtures.result_pair(found, slower, result)
                for result in results()
                if result.device in name and mixtures.fits_experts(result)
            ]
    found = mixtures.with_experts(dense, slower, results(), left_out)
    return groups | mixtures.loaded_pairs(found, slower, latent=False)


def _mixture_interval(left_out: tuple[str, ...] = ()) -> tuple[float, float]:
    return mixtures.interval(_mixture_groups(left_out).values())


def _latent_interval() -> tuple[float, float]:
    """Ratios about mixtures with latent attention: of the others, and as far as any was off.

    Every device of a group keeps a copy of the latents. Engines that deal requests out to the
    devices instead hold more of them, which a group's size does not say.
    """
    low, high = _mixture_interval()
    groups = mixtures.latent_pairs(_complete(()), _slower(), results())
    ends = ratio_interval(*mixtures.sides([pair for pairs in groups.values() for pair in pairs]))
    return min(low, ends[0]), max(high, ends[1])


def _vendors() -> set[str]:
    return {find_type(name).spec.vendor for boards in HELD_OUT.values() for name in boards}


def _widest(intervals: Iterable[tuple[float, float]]) -> tuple[float, float]:
    lows, highs = zip(*intervals, strict=True)
    return min(lows), max(highs)


def fit() -> dict[str, Any]:
    """Fit all constants on all rows."""
    found = _complete(())
    benchmarked = _mlperf_factors(found)
    terms = dict(zip(TERMS, found.terms.tolist(), strict=True))
    return {
        "engine": {term: terms[term] for term in ENGINE},
        "collectives": {
            "link_share": {kind: 1.0 / terms[kind] for kind in ("peer", "host")},
            "reduce_s": terms["reduce_s"],
        },
        "memory": {"held": HELD, "reserve_bytes": found.reserve_bytes},
        "generations": _factors(found) | benchmarked,
        "benchmarked": sorted(benchmarked),
        "vendors": sorted(_vendors()),
        "intervals": {
            "fitted": list(_fitted_interval()),
            "unseen": list(_unseen_interval()),
            "foreign": list(_foreign_interval(benchmarked)),
            "mixture": list(_mixture_interval()),
            "latent": list(_latent_interval()),
        },
        "provenance": provenance(TRTLLM, V41, V51, SILICON)
        | {
            "form": "steady state of in-flight batching, docs/decisions/0012",
            "note": "generations with MLPerf results only (cdna3) and experts are fitted on those, "
            "Offline; MLPerf v4.1 results, unverified by MLCommons when derived",
        },
    }


def _mlperf_factors(found: Fit, left_out: Collection[str] = ()) -> dict[str, float]:
    """Factors of generations that have MLPerf results of the checked model and no table."""
    fitted = _factors(found, left_out)
    newest: dict[str, Result] = {}
    for result in results():
        known = _generation(result.device) in fitted or result.device in left_out
        if not known and result.model == CHECKED_MODEL and result.scenario == "Offline":
            newest[_generation(result.device)] = result  # rounds come in order
    return {name: rate_per_device(found, result) / result.rate for name, result in newest.items()}


def score() -> list[dict[str, Any]]:
    """Errors and coverage of every board, left out of the fit, its factors and its interval."""
    return [*score_tables(), *score_mlperf(), *score_mixtures()]


def score_tables() -> list[dict[str, Any]]:
    """Errors and coverage on TensorRT-LLM's tables."""
    scored: list[dict[str, Any]] = []
    for name, boards in HELD_OUT.items():
        ratios = _unseen_interval(boards)
        row = errors(*_pairs(boards, boards), ratios)
        scored.append({"table": "trtllm", "held_out": name, "op": "throughput"} | row)
    for name in SIBLINGS:
        row = errors(*_pairs((name,), (name,)), _fitted_interval())
        scored.append({"table": "trtllm", "held_out": f"{name} only", "op": "throughput"} | row)
    everything = tuple(name for group in HELD_OUT.values() for name in group)
    row = errors(*_pairs((), everything), _fitted_interval())
    scored.append({"table": "trtllm", "held_out": "none", "op": "throughput"} | row)
    return scored


def score_mlperf() -> list[dict[str, Any]]:
    """Every system of MLPerf predicted without its board, then with the shipped constants."""
    return [*_score_guesses(_mlperf_guesses(hold=True)), *_score_guesses(_mlperf_guesses())]


def score_mixtures() -> list[dict[str, Any]]:
    """Mixtures by constants of other boards' experts, in an interval of other boards' mixtures."""
    groups, whole = _mixture_groups(), _mixture_interval()
    scored = []
    for names in MIXTURE_BOARDS:
        row = errors(*mixtures.sides(groups.pop(names[0])), _mixture_interval(names))
        scored.append({"table": "mlperf experts", "held_out": "+".join(names)} | row)
    latent = mixtures.latent_pairs(_complete(()), _slower(), results())
    for kind, found, ratios in (
        ("mixtures", groups, whole),
        ("latent mixtures", latent, _latent_interval()),
    ):
        for table, pairs in found.items():
            row = errors(*mixtures.sides(pairs), ratios)
            scored.append({"table": f"{table} {kind}", "held_out": "all experts"} | row)
    return [row | {"op": "throughput"} for row in scored]


def _score_guesses(guesses: Mapping[tuple[Result, str], float]) -> list[dict[str, Any]]:
    scored = []
    for name, model in sorted({(held, result.model) for result, held in guesses}):
        pairs = [
            (guess, result.rate)
            for (result, held), guess in guesses.items()
            if (held, result.model) == (name, model)
        ]
        guessed, measured = (np.array(side) for side in zip(*pairs, strict=True))
        row = errors(guessed, measured)
        row |= {"bias": float(np.median(guessed / measured - 1.0))}
        scored.append({"table": f"mlperf {model}", "held_out": name, "op": "throughput"} | row)
    return [*scored, _rank_row(guesses)]


def _mlperf_guesses(*, hold: bool = False) -> dict[tuple[Result, str], float]:
    """Predict every result, tuned by what other boards gained; with `hold` without its board.

    Keyed by the result and the board left out (`none` without `hold`).
    """
    found = results()
    guesses: dict[tuple[Result, str], float] = {}
    for device in sorted({result.device for result in found}):
        left_out = _left_out_of(device) if hold else ()
        factors = _tuning(found, left_out)
        for result in found:
            if result.device == device:
                plain = _plain_rate(left_out, result)
                name = device if hold else "none"
                # Experts are fitted on results as they are, tuning included.
                tuned = 1.0 if mixtures.is_mixture(result) else factors[result.kind]
                guesses[result, name] = tuned * plain
    return guesses


def _left_out_of(device: str) -> tuple[str, ...]:
    return next((boards for boards in HELD_OUT.values() if device in boards), (device,))


def _tuning(found: Collection[Result], left_out: tuple[str, ...]) -> dict[str, float]:
    """What every round and scenario gains over the tables, by the boards the tables hold."""
    known = _factors(_fit_without(left_out), left_out)
    logs: dict[str, list[float]] = defaultdict(list)
    for result in found:
        counts = result.model == CHECKED_MODEL and result.device not in left_out
        if counts and _generation(result.device) in known:
            logs[result.kind].append(float(np.log(result.rate / _plain_rate(left_out, result))))
    return tuning({result.kind for result in found}, logs)


@cache
def _plain_rate(left_out: tuple[str, ...], result: Result) -> float:
    return mixtures.result_pair(_complete(left_out), _slower(left_out), result)[0]


def _rank_row(guesses: Mapping[tuple[Result, str], float]) -> dict[str, Any]:
    right = pairs = 0
    for kind, model in sorted({(result.kind, result.model) for result, _ in guesses}):
        same = {
            result: guess
            for (result, _), guess in guesses.items()
            if (result.kind, result.model) == (kind, model)
        }
        counted = rank_order(
            {result.device: result.rate for result in same},
            {result.device: guess for result, guess in same.items()},
        )
        right, pairs = right + counted[0], pairs + counted[1]
    held = "none" if any(held == "none" for _, held in guesses) else "each"
    row = {"table": "mlperf order of tokens per dollar", "held_out": held, "op": "throughput"}
    return row | {"pairs": pairs, "right": right, "share": right / pairs}
