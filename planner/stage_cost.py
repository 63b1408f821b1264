"""Price one stage on one device group: seconds with an interval, dollars, joules, their source."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gangline.ir.errors import ConfigError, ModelError
from gangline.ir.program import Stage
from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.fleet import SECONDS_PER_HOUR, FleetDevice
from gangline.ir.specs.model import ModelSpec

from .calibration import Calibration, Key, bucket_of
from .catalogue import near_matches
from .costs.shape import ModelShape, find_shape
from .engine_times import (
    MAX_BATCH,
    POWER_SPREAD,
    SPREADS,
    EngineTimes,
    engine_times,
)
from .profile import ENGINE_OPS, Amount, Sample, StageProfile


@dataclass(frozen=True, slots=True)
class Option:
    """A device group with the devices one copy of a model is spread over."""

    device: FleetDevice
    tp: int = 1

    @property
    def replicas(self) -> int:
        """Copies of a model the group holds."""
        return max(1, self.device.count // self.tp)


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """Expected seconds, dollars and joules of one visit, with 90 % intervals.

    `waves` is how many times the longest of the map items around the stage has to wait its
    turn plus one, so that `seconds * waves` is what the stage adds to the job's time.
    `usd_tokens` is the part of `usd` that is paid per token. `memory_bytes` is what the model's
    weights and the KV cache of the batch take on one replica.
    """

    seconds: float
    low_s: float
    high_s: float
    usd: float
    source: str
    waves: float = 1.0
    usd_tokens: float = 0.0
    joules: float = 0.0
    low_joules: float = 0.0
    high_joules: float = 0.0
    batch: float = 1.0
    dtype: str = ""
    memory_bytes: float = 0.0
    low_memory_bytes: float = 0.0
    high_memory_bytes: float = 0.0

    def usd_at(self, seconds: float) -> float:
        """Give the dollars of a visit that takes so long; tokens cost what they cost."""
        return self.usd_tokens + (self.usd - self.usd_tokens) * seconds / max(self.seconds, 1e-12)


@dataclass(slots=True)
class StageCosts:
    """Prices stages; remembers the times of (device type, model, tp) it was asked for.

    Attributes:
        jobs_in_flight: jobs expected to share the devices where no rate is known.
        tokens_per_s: output tokens all jobs want of a model each second; empty without a rate.
    """

    models: Mapping[str, ModelSpec]
    calibration: Calibration = field(default_factory=Calibration)
    jobs_in_flight: float = 1.0
    tokens_per_s: Mapping[str, float] = field(default_factory=dict)
    _times: dict[tuple[str, str, int], EngineTimes] = field(default_factory=dict)

    def model(self, name: str) -> ModelSpec | ModelShape:
        """Find a model: a row of the registry or a known shape; ModelError with near matches."""
        if name in self.models:
            return self.models[name]
        try:
            return find_shape(name)
        except ConfigError as error:
            near = near_matches(name, self.models)
            hint = f"Did you mean {' or '.join(near)}? " if near else ""
            raise ModelError(
                f"No model is called {name!r}",
                next_step=f"{hint or error.next_step}`gangline models list` names the models.",
            ) from None

    def times(self, option: Option, model: str) -> EngineTimes:
        """Give the times of a model on one replica of a device group."""
        key = (option.device.name, model, option.tp)
        if key not in self._times:
            spec = option.device.spec
            self._times[key] = engine_times(spec, self.model(model), option.tp)
        return self._times[key]

    def price(
        self, stage: Stage, work: StageProfile, option: Option, width: float = 1.0
    ) -> StageEstimate:
        """Price one visit of a stage; `width` is the number of items run side by side."""
        if stage.op not in ENGINE_OPS:
            return _price_host(work, option.device, width)
        model, device = str(stage.attributes["model"]), option.device
        op = engine_op(stage)
        batch = self.batch(op, option, width, model, work)
        sharing = self.jobs_in_flight if op == "decode" and not self.tokens_per_s else 1.0
        seconds = self.modelled_s(op, model, option, _shape(work), batch)
        spread = self._token_spread(op, model, option, work, batch)
        source, typical, low, high = self._correction(option, op, model, work, batch)
        expected = seconds * typical
        times = None if device.spec.kind == "api" else self.times(option, model)
        share = expected / batch if math.isfinite(batch) else math.inf
        low_s = expected * math.exp(-math.hypot(math.log(low), math.log(spread[0])))
        high_s = expected * math.exp(math.hypot(math.log(high), math.log(spread[1])))
        per_token = _token_usd(op, work, device)
        memory = [_memory_bytes(times, work, which, batch) for which in ("mean", "low", "high")]
        priced = StageEstimate(
            seconds=expected,
            low_s=low_s,
            high_s=high_s,
            usd=_device_usd(device, share) * option.tp + per_token,
            usd_tokens=per_token,
            source=source,
            waves=max(1.0, width * sharing / (option.replicas * batch)),
            batch=batch,
            dtype=times.dtype if times else "",
            memory_bytes=memory[0],
            low_memory_bytes=memory[1],
            high_memory_bytes=memory[2],
        )
        return _with_joules(priced, _joules(times, op, work, seconds, share, batch))

    def batch(self, op: str, option: Option, width: float, model: str, work: StageProfile) -> float:
        """Give the sequences expected to share one engine step; prefills go one by one."""
        if op != "decode":
            return 1.0
        most = self.most_sequences(option, model, work)
        alone = max(1.0, min(width / option.replicas, most))
        if not self.tokens_per_s:
            return max(1.0, min(width * self.jobs_in_flight / option.replicas, most))
        if option.device.spec.kind == "api":
            return alone
        each = self.tokens_per_s.get(model, 0.0) / option.replicas
        context = work.prompt_tokens.mean + 0.5 * work.output_tokens.mean
        return max(alone, min(self.times(option, model).batch_at(each, context, most), most))

    def most_sequences(self, option: Option, model: str, work: StageProfile) -> float:
        """Give the sequences of a stage that one replica decodes at once."""
        if option.device.spec.kind == "api":
            return float(MAX_BATCH["gpu"])
        tokens = work.prompt_tokens.mean + work.output_tokens.mean
        return self.times(option, model).most_sequences(tokens)

    def _correction(
        self, option: Option, op: str, model: str, work: StageProfile, batch: float
    ) -> tuple[str, float, float, float]:
        """Give the source of an estimate, its correction, and the 90 % bounds around that."""
        found = self.calibration.correction(self.key(option, op, model, _shape(work), batch))
        if found is not None:
            return "calibrated", found.factor, found.low, found.high
        if option.device.spec.kind == "api":
            return ("declared", 1.0, *SPREADS["declared"])
        times = self.times(option, model)
        return times.source, 1.0, *times.intervals[op]

    def key(self, option: Option, op: str, model: str, shape: Sample, batch: float) -> Key:
        """Give the calibration's key of some work on a device type."""
        device = (
            option.device.spec.type if option.tp == 1 else f"{option.device.spec.type} x{option.tp}"
        )
        if op == "prefill":
            new = shape.prompt_tokens - shape.cached_tokens
            return Key(device, op, model, bucket_of(new, shape.cached_tokens, 1.0))
        return Key(device, op, model, bucket_of(shape.output_tokens, shape.prompt_tokens, batch))

    def modelled_s(
        self, op: str, model: str, option: Option, shape: Sample, batch: float = 1.0
    ) -> float:
        """Give the uncalibrated seconds of a prefill or decode of that many tokens."""
        if option.device.spec.kind == "api":
            return _api_seconds(op, option.device.spec, shape)
        times = self.times(option, model)
        if op == "prefill":
            return float(times.prefill_s(shape.prompt_tokens, shape.cached_tokens))
        return times.decode_s(shape.prompt_tokens, shape.output_tokens, batch)

    def _token_spread(
        self, op: str, model: str, option: Option, work: StageProfile, batch: float
    ) -> tuple[float, float]:
        """Ratio of seconds at the low and high token counts to those at the mean."""
        few = Sample("", 0.0, *_tokens(work, "low"))
        many = Sample("", 0.0, *_tokens(work, "high"))
        mean = max(self.modelled_s(op, model, option, _shape(work), batch), 1e-9)
        low = self.modelled_s(op, model, option, few, batch) / mean
        high = self.modelled_s(op, model, option, many, batch) / mean
        return min(max(low, 1e-3), 1.0), max(high, 1.0)


def engine_op(stage: Stage) -> str:
    """Give the op whose cost a stage on an engine has: `prefill` or `decode`.

    An embedding reads its text as a prompt, from which no token is written.
    """
    return "prefill" if stage.op == "embed" else stage.op


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


def _price_host(work: StageProfile, device: FleetDevice, width: float) -> StageEstimate:
    """Price a tool or text stage: declared or measured seconds on one core."""
    seconds = work.seconds or Amount.exactly(0.0)
    fixed = device.spec.efficiency.get("tool_s", 0.0) if work.op == "tool" else 0.0
    fixed = fixed if work.source == "declared" else 0.0
    cores = device.spec.cores
    # Text stages of a device without cores run on the host of its engine, at no charge.
    usd = _device_usd(device, (seconds.mean + fixed) / cores) if cores else 0.0
    priced = StageEstimate(
        seconds=seconds.mean + fixed,
        low_s=seconds.low + fixed,
        high_s=seconds.high + fixed,
        usd=usd,
        source={"observed": "calibrated"}.get(work.source, work.source),
        waves=max(1.0, width / (device.count * max(cores, 1))),
    )
    watts = device.spec.tdp_w / cores if cores else 0.0  # as if all cores were busy
    return _with_joules(priced, priced.seconds * watts)


def _memory_bytes(times: EngineTimes | None, work: StageProfile, which: str, batch: float) -> float:
    """Give weights and the batch's KV cache on one replica, at few, expected or many tokens."""
    if times is None or not math.isfinite(batch):
        return 0.0
    prompt, _, output = _tokens(work, which)
    return times.weight_bytes + batch * (prompt + output) * times.kv_bytes_per_token


def _joules(
    times: EngineTimes | None,
    op: str,
    work: StageProfile,
    modelled_s: float,
    share_s: float,
    batch: float,
) -> float:
    """Give the joules of one visit: its share of the replica's time, at the power of its steps."""
    if times is None or not math.isfinite(share_s):
        return 0.0
    if op == "prefill":
        new = max(work.prompt_tokens.mean - work.cached_tokens.mean, 1.0)
        return share_s * float(times.power_w(new, work.prompt_tokens.mean, modelled_s))
    steps = max(work.output_tokens.mean - 1.0, 1.0)
    context = work.prompt_tokens.mean + 0.5 * work.output_tokens.mean
    return share_s * float(times.power_w(batch, batch * context, modelled_s / steps))


def _with_joules(priced: StageEstimate, joules: float) -> StageEstimate:
    """Add energy: in proportion to the seconds, with the doubt about power on top."""
    if priced.seconds <= 0.0 or not joules:
        return priced
    low, high = priced.low_s / priced.seconds, priced.high_s / priced.seconds
    few = math.hypot(math.log(max(low, 1e-9)), math.log(POWER_SPREAD[0]))
    many = math.hypot(math.log(high), math.log(POWER_SPREAD[1]))
    return replace(
        priced,
        joules=joules,
        low_joules=joules * math.exp(-few),
        high_joules=joules * math.exp(many),
    )


def _device_usd(device: FleetDevice, seconds: float) -> float:
    return seconds * device.usd_per_hour / SECONDS_PER_HOUR


def _token_usd(op: str, work: StageProfile, device: FleetDevice) -> float:
    if op == "prefill":
        return work.prompt_tokens.mean * device.usd_per_mtok_in / 1e6
    return work.output_tokens.mean * device.usd_per_mtok_out / 1e6
