"""Replay the TCO study of arXiv 2507.19635: value of every ordered pair of its six devices.

    python -m benchmarks.heterogeneous_tco --json      all figures
    python -m benchmarks.heterogeneous_tco --page      the tables of the page, in Markdown
    python -m benchmarks.heterogeneous_tco --write     put them into the page

The study: Llama 3 8B and 70B in FP16 and FP8, 512 tokens in and 4096 out ("reasoning") or 4096
in and 512 out ("summarisation"), prefill on one device type and decode on another (or the same),
under a latency SLA (time to first token <= 250 ms, <= 20 ms between tokens) or none ("throughput").
Value is the cost per request of H100::H100 over that of the pair: higher is better, 1 is equal.

Nothing waits and every device is always busy, as in the paper: a pair's cost per request is the
device time its prefill and its decode take, at their hourly prices, with tp and batch chosen per
phase for the least cost that the SLA and the memory allow.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.fleet import SECONDS_PER_HOUR
from gangline.planner.catalogue import catalogue
from gangline.planner.costs.kv_transfer import (
    amortised_bytes_per_s,
    peak_egress_bytes_per_s,
    peak_ingress_bytes_per_s,
)
from gangline.planner.costs.shape import ModelShape, find_shape
from gangline.planner.tco.financing import PAPER_FULL, PAPER_OPERATING, Own
from gangline.planner.tco.step_model import StepModels, fitted, stated

MODELS = {"8B": "Llama-3.1-8B", "70B": "Llama-3.1-70B"}
"""Llama 3 and 3.1 have equal shapes."""

LENGTHS = {"512/4096": (512, 4096), "4096/512": (4096, 512)}
DTYPES = {"FP16": "fp16", "FP8": "fp8"}
SLAS = {"latency": (0.25, 0.02), "throughput": (math.inf, math.inf)}
BASELINE = ("H100", "H100")
TPS = (1, 2, 4, 8)
BATCHES = np.unique(np.round(np.geomspace(1, 4096, 61)))
PROMPTS = np.array([1.0, 2.0, 4.0, 8.0, 16.0])


@dataclass(frozen=True, slots=True)
class PaperDevice:
    """A row of the paper's table 5, and what it does not print.

    Attributes:
        usd: mean of reseller listings, June 2025.
        printed_tflops: FP16, as printed (1979 for H100 is its rate with 2:4 sparsity).
        printed_operating: USD per hour, as printed.
        fp8_tflops: dense, 0 where there is none; not printed, from the vendors' datasheets.
        tdp_w: not printed, from the datasheets; 900 W for Gaudi3 is its OAM card.
        catalogue_name: row of our catalogue, for dense FP16 rates and links.
    """

    usd: float
    memory_gb: float
    bandwidth_gbps: float
    printed_tflops: float
    printed_operating: float
    fp8_tflops: float
    tdp_w: float
    catalogue_name: str


DEVICES = {
    "A40": PaperDevice(3000, 48, 696, 75, 0.15, 0, 300, "A40"),
    "A100": PaperDevice(8000, 80, 2039, 322, 0.25, 0, 400, "A100-SXM-80"),
    "Gaudi3": PaperDevice(12500, 128, 3700, 1678, 0.49, 1678, 900, "Gaudi3"),
    "MI300x": PaperDevice(20000, 192, 5300, 1307, 0.52, 2614, 750, "MI300X"),
    "H100": PaperDevice(25000, 80, 3350, 1979, 0.60, 1979, 700, "H100-SXM-80"),
    "B200": PaperDevice(40000, 192, 8000, 2250, 0.83, 4500, 1000, "B200-SXM-180"),
}


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the study rests on; each variant of the page changes one of them.

    Attributes:
        financing: turns a price into USD per hour.
        dense: FP16 rates of our catalogue instead of the printed ones.
        old_fp8: FP8 weights on devices without FP8 arithmetic, computed in 16 bits.
        models: prices engine steps.
        usd: prices of devices that differ from the table.
    """

    financing: Own = PAPER_FULL
    dense: bool = False
    old_fp8: bool = False
    models: StepModels = field(default_factory=stated)
    usd: Mapping[str, float] = field(default_factory=dict)

    def spec(self, name: str) -> DeviceSpec:
        """Give a device as the cost model takes it."""
        row = DEVICES[name]
        ours = catalogue()[row.catalogue_name].spec
        rate = ours.flops["fp16"] if self.dense else row.printed_tflops * 1e12
        flops = {"fp16": rate, "bf16": rate}
        if row.fp8_tflops:
            flops["fp8"] = row.fp8_tflops * 1e12
        return replace(
            ours,
            flops=flops,
            memory_bytes=int(row.memory_gb * 1e9),
            memory_bytes_per_s=row.bandwidth_gbps * 1e9,
        )

    def usd_per_hour(self, name: str) -> float:
        """Price a device-hour."""
        row = DEVICES[name]
        return self.financing.hourly(self.usd.get(name, row.usd), row.tdp_w).total


@dataclass(frozen=True, slots=True)
class Phase:
    """The cheapest way to run one phase on one device type.

    Attributes:
        device_s: device-seconds one request takes, all devices of the replica counted.
        seconds: TTFT of a prefill, seconds per token of a decode.
        batch: prompts, or sequences, at once.
    """

    device_s: float
    seconds: float
    tp: int
    batch: float


@dataclass(frozen=True, slots=True)
class Case:
    """One column of the study."""

    sla: str
    lengths: str
    model: str
    dtype: str

    @property
    def name(self) -> str:
        return f"{self.sla} {self.lengths} {self.model} {self.dtype}"


def cases() -> Iterator[Case]:
    """Yield the sixteen cases of the study."""
    for sla in SLAS:
        for lengths in LENGTHS:
            for model in MODELS:
                for dtype in DTYPES:
                    yield Case(sla, lengths, model, dtype)


def phases(case: Case, assumptions: Assumptions) -> dict[str, tuple[Phase | None, Phase | None]]:
    """Give the cheapest prefill and decode of a case on every device; None where impossible."""
    shape = find_shape(MODELS[case.model])
    return {
        name: (_prefill(case, shape, name, assumptions), _decode(case, shape, name, assumptions))
        for name in DEVICES
    }


def _dtype(case: Case, name: str, assumptions: Assumptions) -> str | None:
    if case.dtype == "FP16":
        return "fp16"
    if DEVICES[name].fp8_tflops:
        return "fp8"
    return "w8a16" if assumptions.old_fp8 else None


def _prefill(case: Case, shape: ModelShape, name: str, assumptions: Assumptions) -> Phase | None:
    isl, limit_s = LENGTHS[case.lengths][0], SLAS[case.sla][0]
    found: list[Phase] = []
    for tp, step in _steps(case, shape, name, assumptions):
        if step.max_batch(isl, 1) < 1:
            continue
        seconds = step.mixed_step_s(isl * PROMPTS, 0.0, 0.0, 0.0, PROMPTS)
        fits = step.max_batch(isl, 1) >= PROMPTS
        for count, taken in zip(PROMPTS[fits], seconds[fits], strict=True):
            if taken <= limit_s:
                found.append(
                    Phase(tp * float(taken) / float(count), float(taken), tp, float(count))
                )
    return min(found, key=lambda phase: phase.device_s, default=None)


def _decode(case: Case, shape: ModelShape, name: str, assumptions: Assumptions) -> Phase | None:
    isl, osl = LENGTHS[case.lengths]
    limit_s = SLAS[case.sla][1]
    found: list[Phase] = []
    for tp, step in _steps(case, shape, name, assumptions):
        batches = BATCHES[step.max_batch(isl, osl) >= BATCHES]
        if not batches.size:
            continue
        seconds = step.mixed_step_s(0.0, 0.0, batches, isl + 0.5 * osl, 0.0)
        for batch, taken in zip(batches, seconds, strict=True):
            if taken <= limit_s:
                device_s = tp * osl * float(taken) / float(batch)
                found.append(Phase(device_s, float(taken), tp, float(batch)))
    return min(found, key=lambda phase: phase.device_s, default=None)


def _steps(case: Case, shape: ModelShape, name: str, assumptions: Assumptions) -> Iterator[Any]:
    dtype = _dtype(case, name, assumptions)
    for tp in TPS:
        step = assumptions.models(assumptions.spec(name), shape, dtype, tp, 1) if dtype else None
        if step is not None:
            yield tp, step


def values(case: Case, assumptions: Assumptions) -> dict[str, float | None]:
    """Give the value of every ordered pair, `prefill::decode`; None where it cannot serve."""
    found = phases(case, assumptions)
    usd = {
        (first, second): _usd(found[first][0], found[second][1], first, second, assumptions)
        for first in DEVICES
        for second in DEVICES
    }
    base = usd[BASELINE]
    return {
        f"{first}::{second}": None if cost is None or base is None else base / cost
        for (first, second), cost in usd.items()
    }


def _usd(
    prefill: Phase | None,
    decode: Phase | None,
    first: str,
    second: str,
    assumptions: Assumptions,
) -> float | None:
    if prefill is None or decode is None:
        return None
    first_usd = prefill.device_s * assumptions.usd_per_hour(first)
    return (first_usd + decode.device_s * assumptions.usd_per_hour(second)) / SECONDS_PER_HOUR


@dataclass(frozen=True, slots=True)
class PairTraffic:
    """KV-cache traffic of one pair; rates per device, in bytes per second.

    Taken literally, the ingress of one request must not take longer than one token: a peak that
    no engine needs, since the transfer overlaps with the decoding of others.

    Attributes:
        kv_bytes: cache of one request's prompt.
        egress_peak: the caches of a batch of prompts leave within its time to first token.
        ingress_peak: the cache of one request arrives within one token.
        ingress_mean: what a decode device receives on average at full load.
    """

    kv_bytes: float
    egress_peak: float
    ingress_peak: float
    ingress_mean: float

    def fits(self, link_bytes_per_s: float) -> bool:
        """Tell whether a link per device carries the egress peak and the mean ingress."""
        return max(self.egress_peak, self.ingress_mean) <= link_bytes_per_s


def pair_traffic(kv_bytes: float, osl: float, prefill: Phase, decode: Phase) -> PairTraffic:
    """Give the traffic between a prefill and a decode replica, each at full load.

    Args:
        kv_bytes: cache of one request's prompt.
        osl: output tokens of a request.
    """
    served_per_s = decode.batch / (osl * decode.seconds)
    return PairTraffic(
        kv_bytes,
        peak_egress_bytes_per_s(kv_bytes * prefill.batch, prefill.seconds, prefill.tp),
        peak_ingress_bytes_per_s(kv_bytes, decode.seconds, decode.tp),
        amortised_bytes_per_s(kv_bytes, served_per_s, decode.tp),
    )


def transfers(case: Case, assumptions: Assumptions) -> dict[str, PairTraffic | None]:
    """Give the KV traffic of every ordered pair, by the paper's equations 1 to 3."""
    found = phases(case, assumptions)
    shape = find_shape(MODELS[case.model])
    isl, osl = LENGTHS[case.lengths]
    kv_dtype = "fp8" if case.dtype == "FP8" else "fp16"
    kv_bytes = shape.kv_bytes(isl, kv_dtype)
    checked: dict[str, PairTraffic | None] = {}
    for first, (prefill, _) in found.items():
        for second, (_, decode) in found.items():
            pair = f"{first}::{second}"
            checked[pair] = None
            if prefill is not None and decode is not None:
                checked[pair] = pair_traffic(kv_bytes, osl, prefill, decode)
    return checked


def gaudi3_break_even(
    case: Case, pair: str, against: str, assumptions: Assumptions
) -> float | None:
    """Give the Gaudi3 price in USD at which two pairs cost the same; None where there is none.

    Costs are linear in the price, so two prices give the line.
    """

    def ratio(usd: float) -> float | None:
        found = values(case, replace(assumptions, usd={"Gaudi3": usd}))
        mine, other = found[pair], found[against]
        return None if mine is None or other is None else 1.0 / mine - 1.0 / other

    low, high = ratio(0.0), ratio(10000.0)
    if low is None or high is None or high == low or low > 0.0:
        return None
    return -low * 10000.0 / (high - low)


VARIANTS = {
    "as printed": Assumptions(),
    "dense FLOPS": Assumptions(dense=True),
    "operating cost alone": Assumptions(financing=PAPER_OPERATING),
    "FP8 weights on older parts": Assumptions(old_fp8=True),
    "Gaudi3 at list (15,625 USD)": Assumptions(usd={"Gaudi3": 15625.0}),
    "fitted cost model, dense": Assumptions(dense=True, models=fitted),
}
"""The study under one changed assumption each."""


def study(variants: Mapping[str, Assumptions] | None = None) -> dict[str, Any]:
    """Compute all values: variant -> case -> pair."""
    chosen = VARIANTS if variants is None else variants
    return {
        name: {case.name: values(case, assumptions) for case in cases()}
        for name, assumptions in chosen.items()
    }


def rounded(value: Any, digits: int = 4) -> Any:
    """Round all figures of a document, for a golden file."""
    if isinstance(value, dict):
        return {key: rounded(item, digits) for key, item in value.items()}
    return round(value, digits) if isinstance(value, float) else value


def main() -> None:
    """Print the study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="all figures as JSON")
    parser.add_argument("--page", action="store_true", help="the page's tables as Markdown")
    parser.add_argument("--write", action="store_true", help="put the tables into the page")
    chosen = parser.parse_args()
    if chosen.json:
        print(json.dumps(rounded(study()), indent=1))
        return
    from benchmarks.heterogeneous_tco_page import tables, write_tables

    if chosen.write:
        write_tables()
        return
    print("\n\n".join(tables().values()))


if __name__ == "__main__":
    main()
