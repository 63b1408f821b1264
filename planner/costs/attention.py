"""Seconds of one attention call of one layer on one device, over a prompt or for one token.

Both phases are the sum of a fixed launch, serial per-block work and the smooth maximum of what
may overlap: tensor-core products, the longest chain of one block, and bytes from cache or memory.
Constants belong to a kernel family and generation (`constants/attention.json`); how the kernels
of a family cut the work is public knowledge of their code and stated in `KERNELS`:

- FlashAttention-2 (arXiv 2307.08691; vllm-project/flash-attention): 128 query rows a block; a
  decode call splits the cache over blocks only where query heads share key heads, and then
  reorders queries of more than one sequence.
- FlashAttention-3 (arXiv 2407.08608): packs the query heads of one key head into one block, and
  up to 992 sequences plans on the device how to split each cache (`use_dynamic_split`).
- FlashInfer (arXiv 2501.01005) and the TensorRT-LLM kernels it carries for compute capability
  10.0: 128 and 256 rows a block, cache always split where blocks would be too few.

Where a generation has no measurement, its family's constants hold; where the family has none
(AMD, Gaudi, TPU, CPU), those fitted on all families together, and the source says `spec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from gangline.ir.specs.device import DeviceSpec

from .arithmetic import ARRAYS, Arithmetic, sizes
from .constants import constants
from .dtypes import FORMATS, peak

Array = npt.NDArray[np.float64]
Constants = Mapping[str, float]

TILE_TOKENS = 128
"""Cached tokens a block reads per iteration (all families named above)."""

REFERENCE_HEAD = 128
"""Head width of the measurements; per-tile costs scale with the width over it."""

ATTENTION_DTYPES = ("bf16", "fp16", "fp32", "fp8", "fp8_block")
"""Formats of queries; 8-bit ones run at the 16-bit fit of an 8-bit cache (see `_rate`)."""

DEFAULT_UNITS, DEFAULT_CLOCK_HZ, DEFAULT_CACHE_BYTES = 100, 1.7e9, 4.0e7
"""Stand-ins for a row that does not state its units, clock or cache: a mid-size accelerator."""

FEWEST_UNITS = 16
"""Rows with fewer units (TPU, Trainium, Gaudi) do not cut work into blocks of a GPU's size."""

PRODUCT_SHARE = 0.5
"""Share of the 16-bit peak that products of a decode call reach; binds on CPUs and in MLA."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """How one family of kernels cuts an attention call into blocks.

    Attributes:
        family: key of its constants.
        rows: query rows of one block.
        packed: rows of the query heads that share a key head fill blocks together.
        splits_all: a decode call splits the cache even where no heads share a key head.
        reorders: a decode call of several sequences moves grouped queries first.
        planned: most sequences whose split a decode call plans on the device first; 0 for none.
    """

    family: str
    rows: int = 128
    packed: bool = False
    splits_all: bool = True
    reorders: bool = False
    planned: int = 0


KERNELS = {
    "fa2": Kernel("fa2", splits_all=False, reorders=True),
    "fa3": Kernel("fa3", packed=True, planned=992),
    "flashinfer": Kernel("flashinfer", packed=True),
    "trtllm": Kernel("trtllm", rows=256),
    "xe": Kernel("xe"),
    "any": Kernel("any"),
    "cpu": Kernel("any", rows=16),
}


def kernel_of(spec: DeviceSpec, kv_dtype: str) -> Kernel:
    """The kernels an engine (vLLM's choice of backend) runs on a device for a cache format."""
    eight_bit = cache_width(kv_dtype) == "kv8"
    if spec.generation in ("hopper", "blackwell"):
        return KERNELS["fa3" if spec.generation == "hopper" else "trtllm"]
    if spec.vendor == "NVIDIA" and spec.kind == "gpu":
        return KERNELS["flashinfer" if eight_bit else "fa2"]
    if spec.kind == "cpu":
        return KERNELS["cpu"]
    return KERNELS["xe" if spec.generation == "xe2" else "any"]


def _level(spec: DeviceSpec, phase: str, kv_dtype: str) -> tuple[Kernel, Mapping[str, float]]:
    return level_of(constants("attention")[phase], spec, kv_dtype)


def level_of(
    fitted: Mapping[str, Mapping[str, float]], spec: DeviceSpec, kv_dtype: str
) -> tuple[Kernel, Mapping[str, float]]:
    """Kernel and the nearest fitted entry: its generation, its family, or all together."""
    kernel = kernel_of(spec, kv_dtype)
    width = cache_width(kv_dtype)
    for key in (f"{kernel.family}/{spec.generation}/{width}", f"{kernel.family}/{width}"):
        if key in fitted:
            return kernel, fitted[key]
    return kernel, fitted[f"any/{width}"]


def cache_width(kv_dtype: str) -> str:
    """`kv8` for a cache of 8 bits an element or fewer, else `kv16`: calls were fitted apart."""
    return "kv8" if FORMATS[kv_dtype].weight_bytes < 2.0 else "kv16"


def attention_source(spec: DeviceSpec, kv_dtype: str = "bf16", phase: str = "decode") -> str:
    """`fitted` where the device's generation was measured with this cache format, else `spec`."""
    return "fitted" if _level(spec, phase, kv_dtype)[1]["generation_seen"] else "spec"


def prefill_interval(spec: DeviceSpec, kv_dtype: str = "bf16") -> tuple[float, float]:
    """Ratios (low, high) that 90 % of measured over predicted prompt calls lie between."""
    found = _level(spec, "prefill", kv_dtype)[1]
    return found["low_ratio"], found["high_ratio"]


def decode_interval(spec: DeviceSpec, kv_dtype: str = "bf16") -> tuple[float, float]:
    """Ratios (low, high) that 90 % of measured over predicted decode calls lie between."""
    found = _level(spec, "decode", kv_dtype)[1]
    return found["low_ratio"], found["high_ratio"]


def prefill_s(
    spec: DeviceSpec,
    dtype: str,
    kv_dtype: str,
    batch: npt.ArrayLike,
    isl: npt.ArrayLike,
    past: npt.ArrayLike,
    n_heads: npt.ArrayLike,
    n_kv_heads: npt.ArrayLike,
    head_dim: npt.ArrayLike,
    *,
    warm: bool = True,
) -> Array:
    """Seconds of causal attention of `isl` new tokens each, over `past` cached tokens too.

    Storing the new keys and values in the cache is counted, as in the measurements. Arrays
    broadcast; NaN where the device lacks the format. `warm` as in `decode_s`.
    """
    ops, given = sizes(batch, isl, past, n_heads, n_kv_heads, head_dim)
    rate = _rate(spec, dtype)
    if rate is None:
        return _nan(*given)
    kernel, fitted = _level(spec, "prefill", kv_dtype)
    element = FORMATS[kv_dtype].weight_bytes
    batch, new, cached, *heads = given
    call = (batch, ops.larger(new, 2.0), cached, *heads)
    seconds = prefill_with(spec, kernel, fitted, rate, element, *call, warm=warm, ops=ops)
    if _some(ops, cached > 0.0):
        seconds = _split_past(seconds, spec, (rate, element), kv_dtype, call, warm=warm, ops=ops)
    prompts = new > 1.0
    if np.all(prompts) if ops is ARRAYS else prompts:
        return seconds
    # One token is a decode call, and no slower than two.
    single = decode_s(spec, dtype, kv_dtype, batch, cached, *heads, warm=warm)
    return cast(Array, ops.choose(prompts, seconds, ops.smaller(single, seconds)))


def _split_past(
    seconds: Any,
    spec: DeviceSpec,
    rates: tuple[float, float],
    kv_dtype: str,
    given: tuple[Any, ...],
    *,
    warm: bool,
    ops: Arithmetic,
) -> Any:
    """Bound what a past adds to a prompt call by what it adds to a decode call of as many rows.

    Kernels split a long past over units for a short query as they do for one token: `seconds` of
    whole blocks are taken where those are quicker. No call with a past was measured.
    """
    batch, isl, past, heads, kv_heads, width = given
    kernel, fitted = _level(spec, "decode", kv_dtype)
    first, many = _level(spec, "prefill", kv_dtype)
    call = (spec, kernel, fitted, *rates, batch)
    sizes_of_heads = (heads, kv_heads, width)
    with_past, without = (
        decode_with(*call, cached, *sizes_of_heads, queries=isl, warm=warm, ops=ops)
        for cached in (past, 0.0 * past)
    )
    alone = prefill_with(
        spec, first, many, *rates, batch, isl, 0.0 * past, *sizes_of_heads, warm=warm, ops=ops
    )
    # No fewer than the one-token call of the same kernels, so that a second token costs no less.
    return ops.smaller(seconds, ops.larger(alone + with_past - without, with_past))


def decode_s(
    spec: DeviceSpec,
    dtype: str,
    kv_dtype: str,
    batch: npt.ArrayLike,
    context: npt.ArrayLike,
    n_heads: npt.ArrayLike,
    n_kv_heads: npt.ArrayLike,
    head_dim: npt.ArrayLike,
    *,
    warm: bool = True,
) -> Array:
    """Seconds of attention of one new token per sequence over `context` cached tokens.

    `warm` says whether a cache that fits the last-level cache is read from there, as it is where
    one call repeats (every operation benchmark); in an engine step other layers evict it.
    Arrays broadcast; NaN where the device lacks the format.
    """
    ops, given = sizes(batch, context, n_heads, n_kv_heads, head_dim)
    rate = _rate(spec, dtype)
    if rate is None:
        return _nan(*given)
    kernel, fitted = _level(spec, "decode", kv_dtype)
    element = FORMATS[kv_dtype].weight_bytes
    return decode_with(spec, kernel, fitted, rate, element, *given, warm=warm, ops=ops)


def mla_decode_s(
    spec: DeviceSpec,
    dtype: str,
    kv_dtype: str,
    batch: npt.ArrayLike,
    context: npt.ArrayLike,
    n_heads: npt.ArrayLike,
    kv_lora_rank: npt.ArrayLike,
    rope_dim: npt.ArrayLike,
    *,
    warm: bool = True,
) -> Array:
    """Seconds of one decode call of multi-head latent attention (arXiv 2405.04434, absorbed form).

    Every head reads one shared latent of `kv_lora_rank + rope_dim` elements a token, so the call
    is a decode with one key head whose keys and values are the same bytes, and its products (all
    heads against all cached tokens) bind sooner. No MLA call was measured here: constants are
    those of ordinary decode calls, by spec.
    """
    ops, given = sizes(batch, context, n_heads, kv_lora_rank, rope_dim)
    rate = _rate(spec, dtype)
    if rate is None:
        return _nan(*given)
    count, cached, heads, rank, rope = given
    _, fitted = _level(spec, "decode", kv_dtype)
    latent = rank + rope
    element = FORMATS[kv_dtype].weight_bytes
    moved = count * (cached + 1.0) * latent * element + 2.0 * count * heads * (latent + rank)
    flop = 2.0 * count * heads * (cached + 1.0) * (latent + rank)
    seconds = _decode(
        spec, fitted, ops,
        groups=count, rows=ops.smaller(heads, 64.0),
        tiles=ops.ceil((cached + 1.0) / TILE_TOKENS), tile_width=latent / (2.0 * REFERENCE_HEAD), moved=moved,
        product_s=flop / (PRODUCT_SHARE * rate), splits=True, warm=warm,
    )  # fmt: skip
    return cast(Array, seconds)


def mla_prefill_s(
    spec: DeviceSpec,
    dtype: str,
    kv_dtype: str,
    batch: npt.ArrayLike,
    isl: npt.ArrayLike,
    past: npt.ArrayLike,
    n_heads: npt.ArrayLike,
    kv_lora_rank: npt.ArrayLike,
    rope_dim: npt.ArrayLike,
    nope_dim: npt.ArrayLike = 128,
    v_dim: npt.ArrayLike = 128,
    *,
    warm: bool = True,
) -> Array:
    """Seconds of one prompt call of multi-head latent attention, keys and values expanded.

    Engines expand the latent to one key head per query head for a prompt (the expansion itself
    is a matrix product of the layer, not counted here): products of width `nope_dim + rope_dim`
    against keys and `v_dim` against values. By spec, as `mla_decode_s`; `kv_lora_rank` does not
    enter.
    """
    del kv_lora_rank
    _, (nope, rope, value) = sizes(nope_dim, rope_dim, v_dim)
    width = 0.5 * (nope + rope + value)
    return prefill_s(
        spec, dtype, kv_dtype, batch, isl, past, n_heads, n_heads, width, warm=warm
    )  # fmt: skip


def prefill_with(
    spec: DeviceSpec,
    kernel: Kernel,
    fitted: Constants,
    rate: float,
    element: float,
    batch: Any,
    isl: Any,
    past: Any,
    heads: Any,
    kv_heads: Any,
    width: Any,
    *,
    warm: bool = True,
    ops: Arithmetic = ARRAYS,
) -> Array:
    """`prefill_s` with given constants (what the fit varies); `element` is bytes of a KV element.

    Seconds = launch + storing new tokens + smooth maximum of
    - products on padded blocks at a share of peak, plus a fixed cost of each block, over units;
    - the longest block: all its key tiles in turn on one unit;
    - bytes of queries, outputs and KV.
    """
    units, clock = _units(spec), spec.clock_hz or DEFAULT_CLOCK_HZ
    group = heads / kv_heads
    per_block = kernel.rows / group if kernel.packed else kernel.rows + 0.0 * group
    cuts = ops.ceil(isl / per_block)
    blocks = batch * (kv_heads if kernel.packed else heads) * cuts
    diagonal = 0.5 * isl * (isl + ops.smaller(per_block, isl))
    area = batch * heads * (cuts * per_block * past + diagonal)
    if spec.kind != "cpu":  # loops of a CPU are as short as the prompt
        area = ops.larger(area, blocks * kernel.rows * 0.5 * TILE_TOKENS)
    flop_s = 4.0 * width / (fitted["compute_share"] * rate)
    work = flop_s * area + fitted["block_s"] * blocks / units
    chain = fitted["chain"] * flop_s * units * kernel.rows * (past + isl) + fitted["block_s"]
    stored = 2.0 * batch * isl * kv_heads * width
    moved = 2.0 * batch * (past + isl) * kv_heads * width * element
    moved = moved + 4.0 * batch * isl * heads * width + stored * (2.0 + element)
    memory = _memory_s(spec, fitted, ops, moved, units * clock, 4.0, warm)
    store = fitted["token_s"] * batch * isl / units
    stored_width = kv_heads * width
    store = store * stored_width / (1.0 + stored_width / fitted["token_width"])
    power = fitted["sharpness"]
    together = (work**power + chain**power + memory**power) ** (1.0 / power)
    return cast(Array, fitted["launch_s"] + store + together)


def decode_with(
    spec: DeviceSpec,
    kernel: Kernel,
    fitted: Constants,
    rate: float,
    element: float,
    batch: Any,
    context: Any,
    heads: Any,
    kv_heads: Any,
    width: Any,
    *,
    queries: Any = 1.0,
    warm: bool = True,
    ops: Arithmetic = ARRAYS,
) -> Array:
    """`decode_s` with given constants (what the fit varies); `element` is bytes of a KV element.

    `queries` new tokens of each sequence share its cache; the splits of one token serve several.
    """
    tokens = context + 1.0
    group = heads / kv_heads * queries
    moved = 2.0 * batch * tokens * kv_heads * width * element
    moved = moved + 4.0 * batch * heads * queries * width
    rows = group if spec.kind == "cpu" else ops.larger(group, 16.0)
    flop = 4.0 * batch * kv_heads * rows * width * tokens
    splits = heads / kv_heads > (0.0 if kernel.splits_all else 1.0)
    seconds = _decode(
        spec, fitted, ops,
        groups=batch * kv_heads, rows=group, tiles=ops.ceil(tokens / TILE_TOKENS),
        tile_width=width / REFERENCE_HEAD,
        moved=moved, product_s=flop / (PRODUCT_SHARE * rate), splits=splits, warm=warm,
    )  # fmt: skip
    if kernel.reorders:
        seconds = seconds + fitted["reorder_s"] * ((heads > kv_heads) & (batch > 1.0))
    if kernel.planned and _some(ops, batch <= kernel.planned):
        planned = seconds + fitted["sequence_s"] * batch * (batch <= kernel.planned)
        if _some(ops, fitted["sequence_s"] * batch > fitted["launch_s"]):
            # Planning ends at some number of sequences; fewer take no longer than that many do.
            most = ops.larger(batch, kernel.planned + 1.0)
            given = (spec, kernel, fitted, rate, element, most, context, heads, kv_heads, width)
            rest = decode_with(*given, queries=queries, warm=warm, ops=ops)
            planned = ops.smaller(planned, rest)
        seconds = planned
    return cast(Array, seconds)


def _decode(
    spec: DeviceSpec,
    fitted: Constants,
    ops: Arithmetic,
    *,
    groups: Any,
    rows: Any,
    tiles: Any,
    tile_width: Any,
    moved: Any,
    product_s: Any,
    splits: Any,
    warm: bool,
) -> Any:
    """Decode seconds of `groups` independent caches of `tokens` each, `rows` query rows a group.

    Seconds = launch + one block + joining splits + smooth maximum of further blocks and the tiles
    of the busiest unit, bytes from cache or memory, and products.
    """
    units, clock = _units(spec), spec.clock_hz or DEFAULT_CLOCK_HZ
    slots = units * fitted["blocks_per_unit"]
    block = fitted["block_s"] * (1.0 + fitted["row_share"] * rows / 8.0)
    power = fitted["sharpness"]

    def cut(parts: Any, more: Any) -> Any:
        """Seconds beside the launch of `more` times the groups, each cut into `parts`."""
        count = groups * more
        waves = ops.larger(count * parts / slots, 1.0)
        busy = ops.larger(count / units - 1.0, 0.0) * block
        busy = busy + waves * ops.ceil(tiles / parts) * fitted["tile_s"] * tile_width
        join = (parts > 1.0) * fitted["join_s"] * (1.0 + 0.25 * ops.log2(parts))
        memory = _memory_s(spec, fitted, ops, moved * more, units * clock, 8.0, warm)
        return join + (busy**power + ops.larger(memory, product_s * more) ** power) ** (1.0 / power)

    parts = ops.smaller(ops.larger(ops.floor(slots / groups), 1.0), tiles)
    parts = ops.ceil(tiles / ops.ceil(tiles / parts))  # none is left without a tile
    parts = ops.choose(splits, parts, 1.0)
    found = cut(parts, 1.0)
    # Where joining costs more than it saves, a call takes no longer than with so many more groups
    # that it is not split: seconds do not fall where splitting ends. Unsplit calls take no less
    # than all their tiles in turn, so that most need not be compared.
    if _some(ops, (parts > 1.0) & (found > tiles * fitted["tile_s"] * tile_width)):
        found = ops.smaller(found, cut(1.0, ops.larger(0.5 * slots / groups, 1.0)))
    return fitted["launch_s"] + block + found


def _some(ops: Arithmetic, condition: Any) -> bool:
    """Whether a condition holds anywhere."""
    return bool(np.any(condition) if ops is ARRAYS else condition)


def _memory_s(
    spec: DeviceSpec,
    fitted: Constants,
    ops: Arithmetic,
    moved: Any,
    cycles_per_s: float,
    steepness: float,
    warm: bool,
) -> Any:
    """Seconds to move bytes: from the last-level cache while they fit it, else from memory."""
    memory = moved / (fitted["bandwidth_share"] * spec.memory_bytes_per_s)
    if not warm:
        return memory
    cache = fitted["cache_share"] * (spec.cache_bytes or DEFAULT_CACHE_BYTES)
    outside = ops.smaller(moved / cache, 1e3) ** steepness
    inside = 1.0 / (1.0 + outside)
    rate = max(fitted["cache_bytes_per_cycle"] * cycles_per_s, spec.memory_bytes_per_s)
    return inside * (moved / rate) + (1.0 - inside) * memory


def _units(spec: DeviceSpec) -> int:
    """Units that run blocks side by side; a few wide matrix units count as a mid-size device."""
    if spec.kind == "cpu":
        return spec.units or spec.cores or 1
    return spec.units if spec.units >= FEWEST_UNITS else DEFAULT_UNITS


def _rate(spec: DeviceSpec, dtype: str) -> float | None:
    """Peak that products of queries run at; None where the device lacks the format.

    8-bit queries were measured only as the 16-bit calls on an 8-bit cache that engines turn into
    them, and those reach a share of the 16-bit peak, so that peak is theirs too.
    """
    if dtype not in ATTENTION_DTYPES or (found := peak(spec, dtype)) is None:
        return None
    if not dtype.startswith("fp8"):
        return found
    return peak(spec, "bf16") or found


def _nan(*given: Any) -> Array:
    return np.full(np.broadcast(*given).shape, np.nan)
