"""Time to first token and time per token of a whole deployment at a given concurrency.

A deployment is a number of workers of one kind, or some that only prefill and some that only
decode. Which engine serves is not known when planning: the middle is an engine that sends every
token as it comes, and the interval is as wide as engines, versions, blocks of tokens and
speculative decoding made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from gangline.ir.errors import ConfigError
from gangline.ir.specs.device import DeviceSpec

from .closed_loop import (
    PACKED_TOKENS,
    Array,
    LoopConstants,
    StepTimes,
    aggregated,
    disaggregated,
)
from .constants import constants
from .interval import Estimate
from .shape import ModelShape
from .step import StepCost, served_format, step_cost

TRANSFER_BYTES_PER_S = 5e10
"""One 400 Gb/s port per device carries a cache from the prefill to the decode workers."""

SCALE_UP = {"GB200": 72, "GB300": 72}
"""Devices within reach of the fast links, where that is more than a board of 8."""

BOARD = 8

ROUNDS = 4
"""Rounds of the fixed point of decoding requests; the last changes a time by less than 0.1 %."""


@dataclass(frozen=True, slots=True)
class Workers:
    """Workers of one kind: `count` groups of tp x pp x dp devices of one type.

    `dp` counts attention groups that share the experts of a mixture; of a dense model, copies.
    """

    count: int = 1
    tp: int = 1
    pp: int = 1
    dp: int = 1
    spec: DeviceSpec | None = None


@dataclass(frozen=True, slots=True)
class DeploymentTimes:
    """What users of a deployment wait for.

    Attributes:
        ttft: seconds to the first token, mean over requests, with a 90 % interval.
        tpot: seconds per further token, mean over requests, with a 90 % interval.
        fits: whether weights and one request fit into memory; if not, the times are those of a
            device with the memory to hold them.
    """

    ttft: Estimate
    tpot: Estimate
    fits: bool


def deployment_s(
    spec: DeviceSpec, shape: ModelShape, dtype: str, **load: Any
) -> tuple[Array, Array]:
    """Give the middle (ttft, tpot) in seconds; arguments as for `deployment_times`."""
    found = deployment_times(spec, shape, dtype, **load)
    return found.ttft.mid, found.tpot.mid


def deployment_times(
    spec: DeviceSpec,
    shape: ModelShape,
    dtype: str,
    *,
    isl: npt.ArrayLike,
    osl: npt.ArrayLike,
    concurrency: npt.ArrayLike,
    tp: int = 1,
    pp: int = 1,
    dp: int = 1,
    prefill: Workers | Mapping[str, Any] | None = None,
    decode: Workers | Mapping[str, Any] | None = None,
    engine: str | None = None,
    kv_dtype: str | None = None,
) -> DeploymentTimes:
    """Estimate the times of a deployment whose users each wait for one request at a time.

    Args:
        spec: device of all workers that name no other.
        dtype: format of the weights; where the device has no products in it, they are unpacked.
        isl: tokens of a prompt, none of them cached.
        osl: tokens of an answer.
        concurrency: requests under way over the whole deployment.
        tp, pp, dp: the one worker, where prefill and decode share it.
        prefill: workers that only prefill, as `Workers` or a mapping with `workers`, `tp`, `pp`,
            `dp`; with `decode`, in place of tp, pp and dp.
        decode: workers that only decode.
        engine: `vllm`, `sglang` or `trtllm` where it is known: moves the middle to it.
        kv_dtype: format of the cache; 8 bits where weights are of 8 bits or less.

    Raises:
        ConfigError: sizes below 1, one of prefill and decode without the other, unknown names, a
            format the device has no rate for.
    """
    load = _load(isl, osl, concurrency)
    together = prefill is None and decode is None
    if not together and (prefill is None or decode is None):
        raise ConfigError(
            "A split deployment needs both prefill and decode workers",
            next_step="Give both, or neither for workers that do both.",
        )
    one = Workers(tp=tp, pp=pp, dp=dp) if decode is None else as_workers(decode, "decode")
    first = one if prefill is None else as_workers(prefill, "prefill")
    costs = [_cost(w, w.spec or spec, shape, dtype, kv_dtype) for w in (first, one)]
    loop, values = engine_loop(engine), constants("deployment")
    if together:
        ttft, tpot, fits = _together(costs[1], one, load, loop)
    else:
        ttft, tpot, fits = _apart(costs, (first, one), load, loop)
    names = (shape.family, "agg" if together else "disagg")
    known = all(cost.spec.generation in values["generations"] for cost in costs)
    estimates = [
        _estimate(middle, quantity, names, engine, known)
        for middle, quantity in ((ttft, "ttft"), (tpot, "tpot"))
    ]
    return DeploymentTimes(estimates[0], estimates[1], fits)


@dataclass(frozen=True, slots=True)
class _Load:
    isl: Array
    osl: Array
    concurrency: Array


def _load(isl: npt.ArrayLike, osl: npt.ArrayLike, concurrency: npt.ArrayLike) -> _Load:
    named = {"isl": isl, "osl": osl, "concurrency": concurrency}
    for name, value in named.items():
        size = np.asarray(value, dtype=float)
        if not np.all(np.isfinite(size)) or np.any(size < (0.0 if name == "isl" else 1.0)):
            raise ConfigError(
                f"{name} = {value!r} is too small or no number",
                next_step=f"Give {name} as {'tokens' if name != 'concurrency' else 'requests'}.",
            )
    whole = np.broadcast_arrays(*[np.asarray(value, dtype=float) for value in named.values()])
    return _Load(np.maximum(whole[0], 1.0), whole[1], whole[2])


def as_workers(value: Workers | Mapping[str, Any], name: str) -> Workers:
    """Read workers from a mapping with `workers`, `tp`, `pp`, `dp`; ConfigError names a bad key."""
    if isinstance(value, Workers):
        return value
    known = {"workers": "count", "count": "count", "tp": "tp", "pp": "pp", "dp": "dp"}
    for key, size in value.items():
        if key not in known:
            raise ConfigError(
                f"{name} workers have no key {key!r}", next_step=f"Keys: {', '.join(known)}."
            )
        if isinstance(size, bool) or not isinstance(size, int | float) or size < 1 or size % 1:
            raise ConfigError(
                f"{name}: {key} = {size!r} is not a whole number of 1 or more",
                next_step=f"Give {key} as 1 or more.",
            )
    sizes = {known[key]: int(size) for key, size in value.items()}
    return Workers(
        sizes.get("count", 1), sizes.get("tp", 1), sizes.get("pp", 1), sizes.get("dp", 1)
    )


def _cost(
    workers: Workers, spec: DeviceSpec, shape: ModelShape, dtype: str, kv_dtype: str | None
) -> StepCost:
    """Price a worker; tensor parallelism beyond the fast links gains nothing and is left out.

    It is believed where the weights would not fit otherwise.
    """
    reach = SCALE_UP.get(spec.type, BOARD)
    form = served_format(spec, dtype)
    shared = workers.dp if shape.experts else 1

    def priced(tp: int) -> StepCost:
        return step_cost(spec, shape, form, tp, workers.pp, dp=shared, kv_dtype=kv_dtype)

    cost = priced(min(workers.tp, reach))
    return priced(workers.tp) if workers.tp > reach and cost.max_batch(1.0, 1.0) == 0 else cost


def _together(
    cost: StepCost, workers: Workers, load: _Load, loop: LoopConstants
) -> tuple[Array, Array, bool]:
    times, fits = _times(cost, cost, workers, load, loop)
    share = np.asarray(0.95)
    ttft, tpot = aggregated(times(share), loop)
    for _ in range(ROUNDS - 1):
        share = _decoding_share(ttft, tpot, load.osl, times(share))
        ttft, tpot = aggregated(times(share), loop)
    return ttft, tpot, fits


def _apart(
    costs: list[StepCost], workers: tuple[Workers, Workers], load: _Load, loop: LoopConstants
) -> tuple[Array, Array, bool]:
    first, last = costs
    times, fits = _times(first, last, workers[1], load, loop)
    servers = np.asarray(float(workers[0].count * workers[0].dp))
    bytes_each = [first.kv_bytes_per_request(float(length)) for length in load.isl.ravel()]
    transfer = np.reshape(bytes_each, load.isl.shape) / TRANSFER_BYTES_PER_S
    share = np.asarray(0.95)
    ttft, tpot = disaggregated(times(share), servers, transfer, load.concurrency, loop)
    for _ in range(ROUNDS - 1):
        share = _decoding_share(ttft, tpot, load.osl, times(share))
        ttft, tpot = disaggregated(times(share), servers, transfer, load.concurrency, loop)
    return ttft, tpot, fits


def _decoding_share(ttft: Array, tpot: Array, osl: Array, times: StepTimes) -> Array:
    """Share of running requests that decode; those that wait for memory do not run."""
    rounds = np.maximum(times.waiting / times.running, 1.0)
    life = (ttft + osl * tpot) / rounds
    return np.clip(osl * tpot / life, 0.05, 1.0)


def _times(
    first: StepCost, last: StepCost, workers: Workers, load: _Load, loop: LoopConstants
) -> tuple[Any, bool]:
    """Give the step times as a function of the share of running requests that decode."""
    waiting = np.maximum(load.concurrency / (workers.count * workers.dp), 1.0)
    sizes = zip(load.isl.ravel(), load.osl.ravel(), strict=True)
    capacity = np.reshape([last.max_batch(a, b) for a, b in sizes], load.isl.shape).astype(float)
    fits = capacity >= 1.0
    running = np.where(fits, np.minimum(waiting, capacity), waiting)
    context = load.isl + 0.5 * load.osl
    isl, far = _plain(load.isl), _plain(context)
    prompt = first.mixed_step_s(isl, 0.0, 0.0, 0.0)
    packed = np.maximum(PACKED_TOKENS / load.isl, 1.0)
    many = _plain(packed)
    full = first.mixed_step_s(_plain(packed * load.isl), 0.0, 0.0, 0.0, many) / packed
    fixed = np.asarray(prompt_fixed_s(last.shape, loop))

    def at(share: Array) -> StepTimes:
        batch = _plain(np.maximum(running * share, 1.0) / last.pp)
        decode = last.decode_step_s(batch, far)
        both = last.mixed_step_s(isl, 0.0, batch, far)
        return StepTimes(
            decode_s=decode,
            prompt_s=prompt,
            added_s=(both - decode) / last.pp,
            packed_s=full,
            packed=packed,
            fixed_s=fixed,
            running=running,
            waiting=waiting,
            groups=np.asarray(float(last.dp)),
            output=load.osl,
        )

    return at, bool(np.all(fits))


def _plain(size: Array) -> Any:
    """Give a single size as a plain number, which prices a step ten times as fast."""
    return float(size) if np.ndim(size) == 0 else size


def prompt_fixed_s(shape: ModelShape, loop: LoopConstants) -> float:
    """Seconds per layer of a prompt, summed over the layers of a model."""
    latent = shape.layers if shape.kv_lora_rank else 0
    return (
        shape.layers * loop.prompt_layer_s
        + shape.moe_layers * loop.prompt_moe_layer_s
        + shape.linear_layers * loop.prompt_linear_layer_s
        + latent * loop.prompt_latent_layer_s
    )


@cache
def loop_constants() -> LoopConstants:
    """Read the packaged constants of closed loops."""
    return LoopConstants(**constants("deployment")["loop"])


def engine_loop(engine: str | None) -> LoopConstants:
    """Constants of a named engine's loop, or of one that sends every token as it comes.

    Raises:
        ConfigError: an engine without measured runs.
    """
    if engine is None:
        return loop_constants()
    steps = _engine(engine)["send_steps"]
    return replace(loop_constants(), send_steps=steps)


def _estimate(
    middle: Array, quantity: str, names: tuple[str, str], engine: str | None, known: bool
) -> Estimate:
    values = constants("deployment")
    if engine is not None and quantity == "tpot":
        middle = middle * _engine(engine)["tpot"]
    ratios = values["intervals"][f"{names[0]}_{names[1]}"][quantity]
    low, high = ratios["known" if known else "unknown"]
    return Estimate(middle, middle * low, middle * high, "fitted" if known else "spec")


def _engine(engine: str) -> Mapping[str, float]:
    engines: Mapping[str, Mapping[str, float]] = constants("deployment")["engines"]
    if engine not in engines:
        raise ConfigError(
            f"No engine is called {engine!r}", next_step=f"Engines: {', '.join(engines)}."
        )
    return engines[engine]
