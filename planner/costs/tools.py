"""How long tools take: heavy-tailed distributions, never a constant; SQL and embedding beside them.

A distribution is a sketch of quantiles (log-linear in between) and a bounded Pareto tail above the
last one, whose index makes the mean right. Shell commands of agents are neither log-normal nor
one-humped (half list a file in 20 ms, half run a test suite for 7 s), which a sketch shows and
a fitted curve of two parameters hides. Kinds were fitted on a trace of coding agents
(`constants/tools.json`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from gangline.ir.errors import ConfigError
from gangline.ir.specs.device import DeviceSpec

from .attention import prefill_s
from .constants import constants
from .gemm import gemm_s

Array = npt.NDArray[np.float64]

GRID = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Probabilities whose quantiles a sketch keeps; the tail begins at the last."""

TAIL_SHARE = 1.0 - GRID[-1]
TAIL_REACH = 2.0
"""The tail ends at this many times the longest duration seen: tools have time limits."""

LEAST_S = 1e-6
INDEX_BOUNDS = (0.05, 20.0)


@dataclass(frozen=True, slots=True)
class Durations:
    """Durations of one kind of tool, seconds.

    Attributes:
        quantiles: durations at the probabilities of `GRID`, ascending.
        tail_index: index of the Pareto tail; smaller is heavier.
        most_s: longest duration the tail reaches.
        samples: how many durations it was fitted on; 0 for one made by hand.
    """

    quantiles: tuple[float, ...]
    tail_index: float
    most_s: float
    samples: int = 0

    @staticmethod
    def fit(samples: npt.ArrayLike) -> Durations:
        """Fit durations in seconds; ConfigError where there are none or one is not positive."""
        seconds = np.asarray(samples, dtype=float).ravel()
        if seconds.size == 0 or not np.all(np.isfinite(seconds)) or np.any(seconds < 0.0):
            raise ConfigError(
                "Tool durations must be one or more finite seconds, none negative",
                where="samples",
                next_step="Give the measured durations in seconds.",
            )
        seconds = np.maximum(seconds, LEAST_S)
        kept = np.maximum.accumulate(np.quantile(seconds, GRID))
        most = max(TAIL_REACH * float(seconds.max()), kept[-1] * TAIL_REACH)
        beyond = np.sort(seconds)[-max(1, round(TAIL_SHARE * seconds.size)) :]
        wanted = max(float(beyond.mean()), float(kept[-1]) * 1.01)
        index = _index_for(wanted, float(kept[-1]), most)
        return Durations(tuple(kept.tolist()), index, most, int(seconds.size))

    @staticmethod
    def lognormal(median_s: float, sigma: float) -> Durations:
        """Sketch a log-normal of a median and a standard deviation of the logarithm."""
        from scipy.stats import norm

        inside = np.clip(GRID, 1e-3, None)
        kept = median_s * np.exp(sigma * norm.ppf(inside))
        mean_beyond = median_s * np.exp(0.5 * sigma**2) * norm.cdf(sigma - norm.ppf(GRID[-1]))
        most = float(median_s * np.exp(6.0 * max(sigma, 0.1)))
        wanted = max(float(mean_beyond) / TAIL_SHARE, float(kept[-1]) * 1.01)
        return Durations(tuple(kept.tolist()), _index_for(wanted, float(kept[-1]), most), most)

    @property
    def mean(self) -> float:
        """Mean seconds, tail counted."""
        low, high = np.array(self.quantiles[:-1]), np.array(self.quantiles[1:])
        grown = np.log(high / low)
        inside = np.where(grown > 1e-9, (high - low) / np.maximum(grown, 1e-9), low)
        body = float(np.sum(np.diff(GRID) * inside))
        return body + TAIL_SHARE * _tail_mean(self.tail_index, self.quantiles[-1], self.most_s)

    @property
    def p50(self) -> float:
        """Median seconds."""
        return float(self.quantile(0.5))

    @property
    def p95(self) -> float:
        """Seconds that 95 % stay below."""
        return float(self.quantile(0.95))

    @property
    def p99(self) -> float:
        """Seconds that 99 % stay below."""
        return float(self.quantile(0.99))

    def quantile(self, probability: npt.ArrayLike) -> Array:
        """Seconds that this share of durations stays below; probabilities from 0 to 1."""
        share = np.asarray(probability, dtype=float)
        body = np.exp(np.interp(share, GRID, np.log(self.quantiles)))
        start, index = self.quantiles[-1], self.tail_index
        above = np.clip((1.0 - share) / TAIL_SHARE, 0.0, 1.0)
        cut = (start / self.most_s) ** index
        tail = start * (cut + above * (1.0 - cut)) ** (-1.0 / index)
        found: Array = np.where(share > GRID[-1], tail, body)
        return found

    def sample(self, generator: np.random.Generator, size: int | tuple[int, ...] = ()) -> Array:
        """Draw durations with a seeded generator."""
        return self.quantile(generator.random(size))

    def scaled(self, factor: float) -> Durations:
        """Give the durations on a machine that takes `factor` times as long."""
        kept = tuple(factor * value for value in self.quantiles)
        return Durations(kept, self.tail_index, factor * self.most_s, self.samples)

    def to_json(self) -> dict[str, Any]:
        """Give the sketch as plain JSON."""
        return asdict(self) | {"quantiles": list(self.quantiles)}


KINDS = {
    "shell": "bash",
    "execute": "bash",
    "view": "read",
    "open": "read",
    "todowrite": "todo",
    "replace": "edit",
    "search": "grep",
    "find": "glob",
}
"""Other names of the fitted kinds of tools, lower case."""


def tool_distribution(kind: str) -> Durations:
    """Durations of a kind of tool; of all tools together for a kind that was not measured."""
    return _fitted(_entry(kind))


def tool_source(kind: str) -> str:
    """`measured` for a kind that the trace holds, `spec` where all tools stand in for it."""
    return "spec" if _entry(kind) == "any" else "measured"


def _entry(kind: str) -> str:
    plain = kind.strip().lower()
    name = KINDS.get(plain, plain)
    return name if name in constants("tools")["kinds"] else "any"


@cache
def _fitted(name: str) -> Durations:
    entry: Mapping[str, Any] = constants("tools")["kinds"][name]
    return Durations(
        tuple(entry["quantiles"]), entry["tail_index"], entry["most_s"], entry["samples"]
    )


SQL_ROWS_PER_S = 2e6
SQL_START_S = 1e-3
SQL_SIGMA = {"lookup": 0.5, "scan": 0.8, "join": 1.3}
SQL_SCANS = {"lookup": 0.0, "scan": 1.0, "join": 3.0}


def sql_s(rows: float, kind: str = "scan") -> Durations:
    """Seconds of one SQL query on a row store over tables of `rows` rows together.

    A house estimate, no table stands behind it: a millisecond to start, two million rows a second
    on one core (SQLite reads short rows at 1 to 5 million a second), none of them for a `lookup`
    by an index, three times over for a `join`; log-normal, wider the more a plan may go wrong.
    """
    if kind not in SQL_SIGMA or not 0.0 <= rows < float("inf"):
        raise ConfigError(
            f"No SQL estimate for kind {kind!r} over {rows!r} rows",
            where="kind",
            next_step=f"Kinds are {', '.join(SQL_SIGMA)}; rows are 0 or more.",
        )
    median = SQL_START_S + SQL_SCANS[kind] * rows / SQL_ROWS_PER_S
    return Durations.lognormal(median, SQL_SIGMA[kind])


def embedding_s(
    spec: DeviceSpec,
    dtype: str,
    tokens: npt.ArrayLike,
    *,
    batch: npt.ArrayLike = 1,
    layers: int = 12,
    hidden: int = 768,
    heads: int = 12,
    ffn: int = 3072,
) -> Array:
    """Seconds of one pass of a text encoder over `batch` texts of `tokens` tokens each.

    Four products and one attention call a layer; attention sees the whole text, about twice the
    causal call. The default sizes are those of BERT-base (arXiv 1810.04805).
    """
    rows = np.asarray(batch, dtype=float) * np.asarray(tokens, dtype=float)
    pairs = ((3 * hidden, hidden), (hidden, hidden), (ffn, hidden), (hidden, ffn))
    products = sum((gemm_s(spec, dtype, rows, n, k) for n, k in pairs), start=np.zeros(()))
    causal = prefill_s(spec, dtype, "bf16", batch, tokens, 0, heads, heads, hidden // heads)
    return np.asarray(layers * (products + 2.0 * causal))


def _tail_mean(index: float, start: float, most: float) -> float:
    """Mean of a Pareto distribution of an index, from `start` and cut at `most`."""
    ratio = start / most
    if abs(index - 1.0) < 1e-9:
        return start * float(np.log(1.0 / ratio)) / (1.0 - ratio)
    left, kept = 1.0 - ratio ** (index - 1.0), 1.0 - ratio**index
    return float(start * index / (index - 1.0) * left / kept)


def _index_for(mean: float, start: float, most: float) -> float:
    """Index of the tail with a mean (bisection: the mean falls as the index grows)."""
    low, high = INDEX_BOUNDS
    # The index wanted lies between `low` and `high`, or the nearest bound stands for it.
    for _ in range(80):
        middle = 0.5 * (low + high)
        if _tail_mean(middle, start, most) > mean:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
