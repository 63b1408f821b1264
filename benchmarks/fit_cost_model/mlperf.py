"""MLPerf's results of language models as rates per device, the second table that full load is checked on.

MLPerf v4.1 results, unverified by MLCommons when derived; of v5.1 facts only. Submitters tune
their engines: what a round and the Server scenario change against plain tables is fitted as one
factor each, on other boards than the one predicted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gangline.planner.catalogue import catalogue
from gangline.planner.costs.shape import find_shape

from .data import Columns, read
from .throughput_rows import Fit, group_parts

Array = npt.NDArray[np.float64]

V41, V51 = "mlperf/v4.1_llm.csv", "mlperf/v5.1_llm.csv"

BOARDS: Mapping[str, str] = {
    "MI300X": "MI300X",
    "H200-SXM": "H200-SXM-141",
    "GH200 Grace Hopper Superchip 96GB": "GH200",
    "B200-SXM": "B200-SXM-180",
    "L40S": "L40S",
    "RTX PRO 6000": "RTX-PRO-6000-BW",
    "GB300": "GB300",
}
"""Catalogue type by what an accelerator's name contains; others are left aside."""

MODELS: Mapping[str, tuple[str, float, float]] = {
    "llama2-70b": ("Llama-2-70B", 294.0, 294.0),
    "llama3.1-8b": ("Llama-3.1-8B", 950.0, 128.0),
    "llama3.1-405b": ("Llama-3.1-405B", 9428.0, 684.0),
    "mixtral-8x7b": ("Mixtral-8x7B", 377.0, 145.9),
    "deepseek-r1": ("DeepSeek-R1", 800.0, 3880.0),
}
"""Shape and mean prompt and output tokens of the benchmarks' data sets.

Source: MLCommons inference rules and references; prompts of the 8B model and of Mixtral from a
public list of the data sets' lengths (openshift-psap/performance-dashboard, 700 articles counted;
a third each of GSM8K with its examples, 661, OpenOrca, 294, and MBXP, 177). The 8B reference
answers with 611 characters on average, about its limit of 128 tokens. Mixtral's output is tokens
over samples of v4.1. DeepSeek's lengths are the task force's, from memory.
"""

FORMATS = {"fp8": "fp8", "fp4": "nvfp4"}
GROUPS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Result:
    """Median rate of one device over all submissions of a kind.

    Attributes:
        round: `v4.1` or `v5.1`.
        scenario: `Offline` or `Server`.
        rate: output tokens per second of one device.
        submissions: systems the median is of.
    """

    round: str
    device: str
    model: str
    dtype: str
    scenario: str
    rate: float
    submissions: int

    @property
    def kind(self) -> str:
        """Round and scenario, what the tuning factor depends on."""
        return f"{self.round} {self.scenario}"


def results() -> list[Result]:
    """Read both rounds: closed division, valid, Offline and Server, boards of `BOARDS`."""
    rates: dict[tuple[str, str, str, str, str], list[float]] = defaultdict(list)
    for key, rate in [*_v41(read(V41)), *_v51(read(V51))]:
        rates[key].append(rate)
    return [
        Result(*key, rate=float(np.median(found)), submissions=len(found))
        for key, found in sorted(rates.items())
    ]


def _board(accelerator: str) -> str | None:
    if "Virtual" in accelerator:
        return None
    return next((name for part, name in BOARDS.items() if part in accelerator), None)


def _v41(table: Columns) -> Iterable[tuple[tuple[str, str, str, str, str], float]]:
    """Rows of v4.1; it states no format: 8 bits, and 4 on the only board that had them."""
    for index, accelerator in enumerate(table["accelerator_model_name"]):
        row = {name: values[index] for name, values in table.items()}
        board, model = _board(str(accelerator)), str(row["benchmark"])
        model = model.removesuffix("-99")
        if board is None or model not in MODELS or row["division"] != "closed":
            continue
        if row["result_valid"] != "VALID" or row["scenario"] not in ("Offline", "Server"):
            continue
        devices = float(row["accelerators_per_node"]) * float(row["number_of_nodes"])
        dtype = "nvfp4" if board.startswith("B200") else "fp8"
        key = ("v4.1", board, model, dtype, str(row["scenario"]))
        yield key, float(row["tokens_per_s"]) / devices


def _v51(table: Columns) -> Iterable[tuple[tuple[str, str, str, str, str], float]]:
    for index, accelerator in enumerate(table["Accelerator"]):
        row = {name: values[index] for name, values in table.items()}
        board, model = _board(str(accelerator)), str(row["Model"]).removesuffix("-99")
        dtype = FORMATS.get(str(row["weight_data_types"]))
        if board is None or dtype is None or model not in MODELS or row["Category"] != "closed":
            continue
        if row["Scenario"] not in ("Offline", "Server") or row["Performance_Units"] != "Tokens/s":
            continue
        devices = float(row["accelerators_per_node"]) * float(row["Nodes"])
        key = ("v5.1", board, model, dtype, str(row["Scenario"]))
        yield key, float(row["Performance_Result"]) / devices


def rate_per_device(found: Fit, result: Result) -> float:
    """Predict a result by a fit: the best of groups of 1 to 8 devices, per device."""
    rates = [batch / float(parts @ found.terms) for batch, parts in steps(found, result)]
    return max(rates, default=0.0)


def steps(found: Fit, result: Result) -> Iterable[tuple[float, Array]]:
    """Give requests per device and parts of a step for every group of devices that can serve."""
    name, isl, osl = MODELS[result.model]
    shape = find_shape(name)
    for tp in GROUPS:
        if shape.heads % tp:
            continue
        batch, parts = group_parts(
            (result.device, name, result.dtype, tp),
            np.array([isl]), np.array([osl]), np.inf, found.reserve_bytes,
        )  # fmt: skip
        if batch[0] > 0.0:
            yield float(batch[0]) / tp, parts[0]


def tuning(kinds: Collection[str], logs: Mapping[str, list[float]]) -> dict[str, float]:
    """Fit the factor of every kind: the median of measured over predicted, in logarithms.

    `logs` holds one logarithm per board; a kind that no board has is taken as of all kinds.
    """
    everything = [log for found in logs.values() for log in found]
    return {kind: float(np.exp(np.median(logs.get(kind) or everything))) for kind in sorted(kinds)}


def rank_order(measured: Mapping[str, float], guessed: Mapping[str, float]) -> tuple[int, int]:
    """Count pairs of boards whose order of tokens per dollar is right, and all pairs.

    Prices are the catalogue's; boards without one are left aside.
    """
    priced = {name: catalogue()[name].usd_per_hour for name in sorted(measured)}
    names = [name for name, price in priced.items() if price]
    right = pairs = 0
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            price = (priced[first] or 1.0) / (priced[second] or 1.0)
            truth = measured[first] / measured[second] > price
            guess = guessed[first] / guessed[second] > price
            right, pairs = right + (truth == guess), pairs + 1
    return right, pairs
