"""Seconds of attention of one engine step: all layers of a model, each kind of layer its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gangline.ir.specs.device import DeviceSpec

from .arithmetic import Arithmetic
from .attention import decode_s, mla_decode_s, mla_prefill_s, prefill_s
from .layer_work import kv_heads_per_device
from .shape import ModelShape

LINEAR_CHUNK = 64.0
"""Prompt tokens a linear attention layer folds into its state at once (chunked scan)."""


@dataclass(frozen=True, slots=True)
class StepAttention:
    """Attention of a model on one of `tp` devices; build it with `step_attention`.

    Attributes:
        rate: format the products run in.
        spans: (layers, tokens they look back) of each kind of layer; None for all tokens.
        state_s: seconds all linear layers take to read and write the state of one request.
        empty_s: seconds of empty calls of all layers, which a step counts among its launches.
    """

    spec: DeviceSpec
    shape: ModelShape
    rate: str
    kv_dtype: str
    heads: float
    kv_heads: float
    spans: tuple[tuple[int, float | None], ...]
    state_s: float
    empty_s: float

    def prompt_s(self, ops: Arithmetic, prompts: Any, tokens: Any, past: Any) -> Any:
        """Seconds beyond empty calls for `prompts` prompts of `tokens` new tokens each."""
        total: Any = -self.empty_s
        for count, span in self.spans:
            seen, length, calls = past, tokens, prompts
            if span is not None:
                # Each row of a window sees `span` tokens: causal calls of twice that length do
                # the same work, after a first one that still finds `past` tokens.
                seen = ops.smaller(past, ops.larger(span - 0.5 * tokens, 0.0))
                length = ops.smaller(tokens, 2.0 * span)
                calls = prompts * tokens / length
            total = total + count * self._prompt_call(calls, length, seen)
        return ops.larger(total, 0.0) + self.state_s * prompts * tokens / LINEAR_CHUNK

    def _prompt_call(self, calls: Any, length: Any, seen: Any) -> Any:
        shape = self.shape
        given = (self.spec, self.rate, self.kv_dtype, calls, length, seen, self.heads)
        if not shape.kv_lora_rank:
            return prefill_s(*given, self.kv_heads, shape.head_dim, warm=False)
        rank, rope = shape.kv_lora_rank, shape.qk_rope_head_dim
        nope, value = shape.qk_nope_head_dim, shape.v_head_dim
        return mla_prefill_s(*given, rank, rope, nope, value, warm=False)

    def decode_s(self, ops: Arithmetic, batch: Any, context: Any) -> Any:
        """Seconds beyond empty calls for one new token of each of `batch` requests."""
        total: Any = -self.empty_s
        for count, span in self.spans:
            seen = context if span is None else ops.smaller(context, span)
            total = total + count * self._decode_call(batch, seen)
        return ops.larger(total, 0.0) + self.state_s * batch

    def _decode_call(self, batch: Any, seen: Any) -> Any:
        shape = self.shape
        given = (self.spec, self.rate, self.kv_dtype, batch, seen, self.heads)
        if not shape.kv_lora_rank:
            return decode_s(*given, self.kv_heads, shape.head_dim, warm=False)
        return mla_decode_s(*given, shape.kv_lora_rank, shape.qk_rope_head_dim, warm=False)


def step_attention(
    spec: DeviceSpec, shape: ModelShape, form: str, kv_dtype: str, tp: int
) -> StepAttention:
    """Prepare the attention of a model whose weights have format `form`."""
    rate = form if form in ("fp32", "fp16") else "bf16"
    full = shape.softmax_layers - shape.window_layers
    far = float(shape.sparse_top_k) or None
    spans = ((full, far), (shape.window_layers, float(shape.window)))
    # Read and written once, in 32 bits.
    state = 8.0 * shape.linear_layers * shape.linear_value_heads * shape.linear_head_dim**2 / tp
    empty = float(decode_s(spec, rate, rate, 1.0, 1.0, 1.0, 1.0, 128.0))
    return StepAttention(
        spec=spec,
        shape=shape,
        rate=rate,
        kv_dtype=kv_dtype,
        heads=shape.heads / tp,
        kv_heads=kv_heads_per_device(shape, tp),
        spans=tuple((count, span) for count, span in spans if count > 0),
        state_s=state / spec.memory_bytes_per_s,
        empty_s=shape.softmax_layers * empty,
    )
