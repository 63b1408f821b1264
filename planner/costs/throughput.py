"""Output tokens per second of a deployment at full load: the batch its memory allows, kept full.

In the steady state of in-flight batching (Orca, OSDI 2022; vLLM, TensorRT-LLM) every finished
request is replaced at once, so a step decodes one token of each of B requests and computes the
B x isl / osl prompt tokens of the newcomers beside them. The rate is B over the seconds of that
mixed step. B is what the cache holds beside the weights, the engine's own buffers set aside.
Constants (`constants/throughput.json`) are fitted on NVIDIA's published maximum-load tables of
TensorRT-LLM, and on MLPerf for experts and for boards that only it covers; docs/decisions/0012.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from gangline.ir.specs.device import DeviceSpec

from .constants import constants
from .interval import Estimate
from .shape import ModelShape
from .step import PARTS, StepConstants, StepCost, step_cost, weight_format

Array = npt.NDArray[np.float64]

MAX_BATCH = 4096.0
"""Requests an engine keeps in flight at most (TensorRT-LLM's largest tuned max_batch_size)."""

MAX_TOKENS = 16384.0
"""Tokens one step computes at most (TensorRT-LLM's largest tuned max_num_tokens)."""

KV_SHARE = 0.9
"""Share of the memory left beside weights and buffers that the cache takes (engine default)."""

DEFAULT_HOST_BYTES_PER_S = 1.6e10
"""Host link of a device whose row states none: PCIe 3.0 x16."""

EIGHT_BIT_CACHE = ("fp8", "fp8_block", "nvfp4")
"""Weight formats whose quantised checkpoints also keep the cache in 8 bits."""


ENGINE: Mapping[str, tuple[str, ...]] = {
    "gemm": ("gemm", "gemm_busy", "launch", "expert"),
    "expert_busy": ("expert_busy",),
    "attention": ("attention", "prompt_attention"),
    "layer_s": ("layer_s",),
}
"""Constants fitted here, and the constants of a step each sets. The tables hold no mixture of
experts: reading experts' weights and their layers are taken as others', and computing experts is
fitted on MLPerf's Mixtral results. Fixed seconds of a step or a request are left at 0: beside
those of a layer the tables do not tell them apart."""

MULTIPLIERS = ("expert_fp4", "expert_mixed")
"""Constants of a step that multiply another: 1, as nothing is known of them here."""


def engine_constants(terms: Mapping[str, float]) -> StepConstants:
    """Give a step's constants from those of `ENGINE`; what no term sets (collectives) is 0."""
    values = {part: float(part in MULTIPLIERS) for part in PARTS}
    for term, parts in ENGINE.items():
        values |= {part: terms.get(term, 0.0) for part in parts if part in PARTS}
    return StepConstants(**values)


@dataclass(frozen=True, slots=True)
class LoadConstants:
    """Fitted constants of an engine at full load.

    Attributes:
        engine: factors and fixed seconds of a step, its collectives left out.
        link_share: share of a link's rate that all-reduces reach, by `peer` (NVLink, xGMI, ...)
            and `host` (PCIe).
        reduce_s: fixed seconds of one all-reduce.
        held: share of its output a request is counted with when the engine admits it: 1 would be
            no eviction ever, 0.5 the mean of requests at all stages.
        reserve_bytes: device memory that is neither weights nor cache (context, activations).
        generations: seconds of a step over the engine's, by generation; 1 where absent.
        benchmarked: generations whose factor comes from one benchmark only, not the tables.
        vendors: makers of the boards in the tables.
        intervals: ratios (low, high) of 90 % intervals: `fitted` and `unseen` generations of
            these makers, and boards of `foreign` ones; what a `mixture` of experts adds, and one
            with `latent` attention.
    """

    engine: StepConstants
    link_share: Mapping[str, float]
    reduce_s: float
    held: float
    reserve_bytes: float
    generations: Mapping[str, float]
    benchmarked: tuple[str, ...]
    vendors: tuple[str, ...]
    intervals: Mapping[str, tuple[float, float]]

    def interval(self, spec: DeviceSpec, shape: ModelShape) -> tuple[float, float]:
        """Ratios to an estimate between which 90 % of measured rates are expected to lie.

        What is not known of a board and of mixtures is apart: it adds in squares of logarithms.
        """
        board = self._board_interval(spec)
        if not shape.experts:
            return board
        low, high = self.intervals["latent" if shape.kv_lora_rank else "mixture"]
        down = np.hypot(np.log(board[0]), np.log(low))
        up = np.hypot(np.log(board[1]), np.log(high))
        return float(np.exp(-down)), float(np.exp(up))

    def _board_interval(self, spec: DeviceSpec) -> tuple[float, float]:
        if spec.generation in self.generations and spec.generation not in self.benchmarked:
            return self.intervals["fitted"]
        near = spec.generation in self.benchmarked or spec.vendor in self.vendors
        return self.intervals["unseen" if near else "foreign"]


@cache
def load_constants() -> LoadConstants:
    """Read the packaged constants."""
    values = constants("throughput")
    return LoadConstants(
        engine_constants(values["engine"]),
        dict(values["collectives"]["link_share"]),
        float(values["collectives"]["reduce_s"]),
        float(values["memory"]["held"]),
        float(values["memory"]["reserve_bytes"]),
        dict(values["generations"]),
        tuple(values["benchmarked"]),
        tuple(values["vendors"]),
        {source: (low, high) for source, (low, high) in values["intervals"].items()},
    )


@dataclass(frozen=True, slots=True)
class WorkingPoint:
    """One step of an engine at full load; arrays of one shape.

    Attributes:
        batch: requests that each decode a token (of one micro-batch, with pipeline stages).
        new_tokens: prompt tokens computed beside them.
        past: tokens of the same prompts computed in earlier steps, on average.
        context: cached tokens of each decoding request, on average.
        prompts: prompts that finish, as a fraction.
    """

    batch: Array
    new_tokens: Array
    past: Array
    context: Array
    prompts: Array

    def step_s(self, cost: StepCost) -> Array:
        """Seconds of the step."""
        return cost.mixed_step_s(self.new_tokens, self.past, self.batch, self.context, self.prompts)


def working_point(
    cost: StepCost,
    isl: npt.ArrayLike,
    osl: npt.ArrayLike,
    *,
    held: float,
    reserve_bytes: float,
    concurrency: npt.ArrayLike = np.inf,
) -> WorkingPoint:
    """Find the step a full engine repeats; the batch is 0 where not one request fits.

    Args:
        isl: prompt tokens of every request, 1 or more.
        osl: output tokens of every request, 1 or more.
        held: as in `LoadConstants`.
        reserve_bytes: as in `LoadConstants`.
        concurrency: requests in flight at most, where load and not the engine limits them.
    """
    prompt, output = (np.maximum(np.asarray(size, float), 1.0) for size in (isl, osl))
    free = KV_SHARE * (cost.spec.memory_bytes - cost.weight_bytes - reserve_bytes)
    fits = free / _cache_bytes(cost, prompt + held * output)
    batch = np.minimum(np.where(fits >= 1.0, fits, 0.0), np.minimum(MAX_BATCH, concurrency))
    # One micro-batch for each pipeline stage is under way: what fits is shared out among them.
    batch = batch / cost.pp
    # Each decoded token brings isl / osl prompt tokens with it, and a step has room for so many.
    batch = np.minimum(batch, MAX_TOKENS / (1.0 + prompt / output))
    new = batch * prompt / output
    # A prompt longer than its share of a step comes in pieces: on average the others are cached.
    past = np.maximum(prompt - new, 0.0) / 2.0
    return WorkingPoint(batch, new, past, prompt + 0.5 * output, batch / output)


def _cache_bytes(cost: StepCost, context: Array) -> Array:
    lengths, where = np.unique(context, return_inverse=True)
    each = np.array([cost.kv_bytes_per_request(float(length)) for length in lengths])
    return np.asarray(each[where].reshape(context.shape))


def reduces_s(cost: StepCost, point: WorkingPoint, known: LoadConstants) -> Array:
    """Seconds of a step's all-reduces, two a layer, as rings: 2 (n - 1) / n of the bytes each.

    Not those of `collective`: an engine at full load runs reductions fused and tuned to its
    machine, and measured PCIe machines differ tenfold among themselves by how boards are wired.
    """
    if cost.tp == 1:
        return np.zeros_like(point.batch)
    kind, rate = link(cost.spec)
    reduces = 2.0 * cost.shape.layers
    moved = ring_bytes(cost, point) / (known.link_share[kind] * rate)
    return np.asarray(reduces * known.reduce_s + moved)


def ring_bytes(cost: StepCost, point: WorkingPoint) -> Array:
    """Bytes that cross each device's link in one step: 16-bit states of every token."""
    state = 2.0 * (point.batch + point.new_tokens) * cost.shape.hidden
    return np.asarray(2.0 * cost.shape.layers * 2.0 * (cost.tp - 1.0) / cost.tp * state)


def link(spec: DeviceSpec) -> tuple[str, float]:
    """Give the link a group's all-reduces use, `peer` or `host`, and its bytes per second."""
    if spec.link_bytes_per_s:
        return "peer", spec.link_bytes_per_s
    return "host", spec.host_bytes_per_s or DEFAULT_HOST_BYTES_PER_S


def load_cost(
    spec: DeviceSpec, shape: ModelShape, dtype: str, tp: int, pp: int, chosen: StepConstants
) -> StepCost:
    """Price steps as the maximum-load tables ran them: an 8-bit cache beside 8- or 4-bit weights."""
    form = weight_format(dtype.lower())
    cache_form = form if form in ("fp32", "fp16") else "bf16"
    if form in EIGHT_BIT_CACHE and "fp8" in spec.flops:
        cache_form = "fp8"
    return step_cost(spec, shape, form, tp, pp, kv_dtype=cache_form, chosen=chosen)


@dataclass(frozen=True, slots=True)
class FullLoad:
    """A group of devices at full load.

    Attributes:
        cost: prices of its steps.
        point: the step it repeats (of one micro-batch).
        step_s: seconds of that step.
        tokens_per_s: output tokens per second of the whole group; 0 where nothing fits.
    """

    cost: StepCost
    point: WorkingPoint
    step_s: Array
    tokens_per_s: Array


def full_load(
    spec: DeviceSpec,
    shape: ModelShape,
    dtype: str,
    tp: int,
    isl: npt.ArrayLike,
    osl: npt.ArrayLike,
    *,
    pp: int = 1,
    concurrency: npt.ArrayLike = np.inf,
) -> FullLoad:
    """Find the step a group repeats at full load, and what it serves; see below for arguments."""
    known = load_constants()
    cost = load_cost(spec, shape, dtype, tp, pp, known.engine)
    memory = {"held": known.held, "reserve_bytes": known.reserve_bytes}
    point = working_point(cost, isl, osl, **memory, concurrency=concurrency)
    slower = known.generations.get(spec.generation, 1.0)
    seconds = np.asarray(slower * (point.step_s(cost) + reduces_s(cost, point, known)))
    rate = np.where(point.batch > 0.0, pp * point.batch / seconds, 0.0)
    return FullLoad(cost, point, seconds, rate)


def throughput_tokens_per_s(
    spec: DeviceSpec,
    shape: ModelShape,
    dtype: str,
    tp: int,
    isl: npt.ArrayLike,
    osl: npt.ArrayLike,
    *,
    pp: int = 1,
    concurrency: npt.ArrayLike = np.inf,
) -> Array:
    """Output tokens per second at full load, summed over the `tp` x `pp` devices of one group.

    Args:
        dtype: format of the weights (`fp16`, `bf16`, `fp8`, `fp4`, ...), any case.
        isl: prompt tokens of every request.
        osl: output tokens of every request.
        concurrency: requests in flight at most; without it memory and engine decide.

    Returns:
        One rate for each pair of lengths; 0 where weights or one request do not fit, NaN where
        the device cannot compute in the format.
    """
    load = full_load(spec, shape, dtype, tp, isl, osl, pp=pp, concurrency=concurrency)
    return load.tokens_per_s


def throughput_estimate(
    spec: DeviceSpec,
    shape: ModelShape,
    dtype: str,
    tp: int,
    isl: npt.ArrayLike,
    osl: npt.ArrayLike,
    *,
    pp: int = 1,
    concurrency: npt.ArrayLike = np.inf,
) -> Estimate:
    """Give `throughput_tokens_per_s` with its 90 % interval and what it rests on.

    The source is `fitted` where the tables hold a board of the device's generation, else `spec`.
    """
    rate = throughput_tokens_per_s(spec, shape, dtype, tp, isl, osl, pp=pp, concurrency=concurrency)
    known = load_constants()
    source = "fitted" if spec.generation in known.generations else "spec"
    low, high = known.interval(spec, shape)
    return Estimate(rate, rate * low, rate * high, source)
