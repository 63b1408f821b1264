"""Price one stage on one device group: seconds with an interval, dollars, and their source."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from gangline.ir.errors import ModelError
from gangline.ir.program import Stage
from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.fleet import FleetDevice
from gangline.ir.specs.model import ModelSpec

from .calibration import Calibration
from .catalogue import near_matches
from .cost_model import Roofline, roofline
from .profile import Amount, Sample, StageProfile

MAX_BATCH = 32
"""Sequences one engine decodes in a step at most, as a plan assumes."""

SPREADS = {"probed": (0.6, 1.8), "spec": (0.45, 2.5), "declared": (0.3, 3.0)}
"""90 % interval of actual over modelled seconds by source. A pure roofline on specs misses
kernels by 53 % in the median; rates measured on the device itself leave the engine's part."""

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """Expected seconds and dollars of one visit.

    `waves` is how many times the longest of the map items around the stage has to wait its
    turn plus one, so that `seconds * waves` is what the stage adds to the job's time.
    """

    seconds: float
    low_s: float
    high_s: float
    usd: float
    source: str
    waves: float = 1.0


@dataclass(slots=True)
class StageCosts:
    """Prices stages; remembers the coefficients of (device type, model) pairs."""

    models: Mapping[str, ModelSpec]
    calibration: Calibration = field(default_factory=Calibration)
    jobs_in_flight: float = 1.0
    _rooflines: dict[tuple[str, str], Roofline] = field(default_factory=dict)

    def model(self, name: str) -> ModelSpec:
        """Find a model row; ModelError with near matches when there is none."""
        if name in self.models:
            return self.models[name]
        near = near_matches(name, self.models)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise ModelError(
            f"No model is called {name!r}",
            next_step=f"{hint}`gangline models list` names the models.",
        )

    def roofline(self, device: FleetDevice, model: str) -> Roofline:
        """Give the coefficients of a model on a device group."""
        key = (device.name, model)
        if key not in self._rooflines:
            self._rooflines[key] = roofline(device.spec, self.model(model))
        return self._rooflines[key]

    def price(
        self, stage: Stage, work: StageProfile, device: FleetDevice, width: float = 1.0
    ) -> Estimate:
        """Price one visit of a stage; `width` is the number of items run side by side."""
        if stage.op not in ("prefill", "decode"):
            return _price_host(work, device, width)
        model = str(stage.attributes["model"])
        batch = self.batch(stage.op, device, width)
        sharing = self.jobs_in_flight if stage.op == "decode" else 1.0
        seconds = self.modelled_s(stage.op, model, device, _shape(work), batch)
        spread = self._token_spread(stage.op, model, device, work, batch)
        source, typical, low, high = self._correction(device, stage.op, model)
        expected = seconds * typical
        return Estimate(
            seconds=expected,
            low_s=expected * math.exp(-math.hypot(math.log(low), math.log(spread[0]))),
            high_s=expected * math.exp(math.hypot(math.log(high), math.log(spread[1]))),
            usd=_device_usd(device, expected / batch) + _token_usd(stage.op, work, device),
            source=source,
            waves=max(1.0, width * sharing / (device.count * batch)),
        )

    def batch(self, op: str, device: FleetDevice, width: float) -> float:
        """Give the sequences expected to share one engine step; prefills go one by one."""
        if op != "decode":
            return 1.0
        return max(1.0, min(width * self.jobs_in_flight / device.count, MAX_BATCH))

    def _correction(
        self, device: FleetDevice, op: str, model: str
    ) -> tuple[str, float, float, float]:
        """Give the source of an estimate, its correction, and the 90 % bounds around that."""
        ratio = self.calibration.ratio(device.name, op, model)
        if ratio is None:
            source = _source(device.spec)
            return (source, 1.0, *SPREADS[source])
        return "calibrated", ratio.typical, ratio.low / ratio.typical, ratio.high / ratio.typical

    def modelled_s(
        self, op: str, model: str, device: FleetDevice, shape: Sample, batch: float = 1.0
    ) -> float:
        """Give the uncalibrated seconds of a prefill or decode of that many tokens."""
        if device.spec.kind == "api":
            return _api_seconds(op, device.spec, shape)
        line = self.roofline(device, model)
        if op == "prefill":
            return float(line.prefill_s(shape.prompt_tokens, shape.cached_tokens))
        return float(line.decode_s(shape.prompt_tokens, shape.output_tokens, batch))

    def _token_spread(
        self, op: str, model: str, device: FleetDevice, work: StageProfile, batch: float
    ) -> tuple[float, float]:
        """Ratio of seconds at the low and high token counts to those at the mean."""
        few = Sample("", 0.0, *_tokens(work, "low"))
        many = Sample("", 0.0, *_tokens(work, "high"))
        mean = max(self.modelled_s(op, model, device, _shape(work), batch), 1e-9)
        low = self.modelled_s(op, model, device, few, batch) / mean
        high = self.modelled_s(op, model, device, many, batch) / mean
        return min(max(low, 1e-3), 1.0), max(high, 1.0)


def _source(spec: DeviceSpec) -> str:
    if spec.kind == "api":
        return "declared"
    return "probed" if spec.source.startswith("probed") else "spec"


def _shape(work: StageProfile) -> Sample:
    return Sample("", 0.0, *_tokens(work, "mean"))


def _tokens(work: StageProfile, which: str) -> tuple[float, float, float]:
    # Few prompt tokens go with few cached ones, so each bound keeps the cached share.
    prompt = float(getattr(work.prompt_tokens, which))
    cached = work.cached_tokens.mean * prompt / max(work.prompt_tokens.mean, 1.0)
    return prompt, cached, float(getattr(work.output_tokens, which))


def _api_seconds(op: str, spec: DeviceSpec, shape: Sample) -> float:
    constants = spec.efficiency
    if op == "decode":
        return max(shape.output_tokens - 1.0, 0.0) * constants.get("tpot_s", 0.02)
    rate = constants.get("prefill_tokens_per_s", 5000.0)
    new = shape.prompt_tokens - shape.cached_tokens
    return constants.get("ttft_s", 0.5) + new / rate


def _price_host(work: StageProfile, device: FleetDevice, width: float) -> Estimate:
    """Price a tool or text stage: declared or measured seconds on one core."""
    seconds = work.seconds or Amount.exactly(0.0)
    fixed = device.spec.efficiency.get("tool_s", 0.0) if work.op == "tool" else 0.0
    fixed = 0.0 if work.source == "observed" else fixed
    cores = device.spec.cores
    # Text stages of a device without cores run on the host of its engine, at no charge.
    usd = _device_usd(device, (seconds.mean + fixed) / cores) if cores else 0.0
    return Estimate(
        seconds=seconds.mean + fixed,
        low_s=seconds.low + fixed,
        high_s=seconds.high + fixed,
        usd=usd,
        source="calibrated" if work.source == "observed" else "declared",
        waves=max(1.0, width / (device.count * max(cores, 1))),
    )


def _device_usd(device: FleetDevice, seconds: float) -> float:
    return seconds * device.usd_per_hour / SECONDS_PER_HOUR


def _token_usd(op: str, work: StageProfile, device: FleetDevice) -> float:
    if op == "prefill":
        return work.prompt_tokens.mean * device.usd_per_mtok_in / 1e6
    return work.output_tokens.mean * device.usd_per_mtok_out / 1e6
