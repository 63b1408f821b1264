"""Operations and bytes of a model's prompts and decode steps, whatever device computes them.

Matrix products are 2 operations per weight and token; attention adds, per token and token of
context, 2 products of the width of all heads (scores, weighted values). `costs/layer_work.py`
lists the same products one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from gangline.ir.specs.model import ModelSpec

from .costs.shape import ModelShape

Number = TypeVar("Number", float, npt.NDArray[np.float64])

KV_BYTES_PER_ELEMENT = 2
"""KV blocks are bf16 or fp16 wherever weights are narrower than fp32."""

CHUNK_TOKENS = 512
"""Prompt tokens per engine step in chunked prefill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWork:
    """One model's work as coefficients; build it with `model_work`.

    Attributes:
        flop_per_token: of all products a token goes through, the output head among them.
        head_flop: of the output head, which of a prompt sees the last token alone.
        attention_flop: per token and token of its context.
        weight_bytes: weights that a step reads for one token.
        kv_bytes_per_token: bytes of cache.
    """

    flop_per_token: float
    head_flop: float
    attention_flop: float
    weight_bytes: float
    kv_bytes_per_token: float

    def prefill_work(
        self, prompt_tokens: Number, cached_tokens: Number
    ) -> tuple[Number, Number, Number]:
        """Give operations, bytes and engine steps of a prompt, part of which is cached.

        At least one token is always computed: the engine needs its logits.
        """
        new = np.maximum(prompt_tokens - cached_tokens, 1.0)
        steps = np.ceil(new / CHUNK_TOKENS)
        context = cached_tokens + 0.5 * new
        flop = new * (self.flop_per_token - self.head_flop + self.attention_flop * context)
        moved = steps * self.weight_bytes + self.kv_bytes_per_token * (cached_tokens + new)
        return flop + self.head_flop, moved, steps

    def step_work(self, context_tokens: Number, batch: Number) -> tuple[Number, Number]:
        """Give operations and bytes of a decode step of sequences with that much context each."""
        flop = batch * (self.flop_per_token + self.attention_flop * context_tokens)
        return flop, self.weight_bytes + batch * self.kv_bytes_per_token * context_tokens

    def decode_work(self, prompt_tokens: float, output_tokens: float) -> tuple[float, float]:
        """Give operations and bytes of decoding one sequence alone.

        The first token comes from the prefill, so `output_tokens - 1` steps remain.
        """
        steps = max(output_tokens - 1.0, 0.0)
        flop, moved = self.step_work(prompt_tokens + 0.5 * output_tokens, 1.0)
        return steps * flop, steps * moved


def model_work(model: ModelSpec | ModelShape, bytes_per_weight: float = 2.0) -> ModelWork:
    """Reduce a model to coefficients; a mixture counts the experts that a token visits."""
    if isinstance(model, ModelSpec):
        return ModelWork(
            flop_per_token=model.flops_per_token(),
            head_flop=2.0 * model.vocab_size * model.hidden_size,
            attention_flop=4.0 * model.num_layers * model.num_heads * model.head_dim,
            weight_bytes=0.5 * model.flops_per_token() * bytes_per_weight,
            kv_bytes_per_token=float(model.kv_bytes_per_token(KV_BYTES_PER_ELEMENT)),
        )
    width = 2.0 * model.head_dim
    if model.kv_lora_rank:
        width = float(model.qk_nope_head_dim + model.qk_rope_head_dim + model.v_head_dim)
    return ModelWork(
        flop_per_token=2.0 * model.active_params,
        head_flop=2.0 * model.embedding_params,
        attention_flop=2.0 * model.softmax_layers * model.heads * width,
        weight_bytes=model.active_params * bytes_per_weight,
        kv_bytes_per_token=model.kv_bytes_per_token(),
    )
