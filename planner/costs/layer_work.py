"""What one device computes and sends in one pass through a model's layers, as sizes of products.

A device of a group of `tp` x `dp` holds 1/tp of every dense projection and 1/(tp x dp) of the
experts: data-parallel attention (`dp`) keeps whole requests apart but shares the experts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .shape import ModelShape

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LayerWork:
    """Sizes of the products of one pass on one device; m is the number of its tokens.

    Attributes:
        n: output widths of the products that see every token, shape [products].
        k: their inner widths.
        count: how often each occurs in one pass.
        group: devices that share the experts.
        dp: groups with attention of their own whose tokens meet in the experts.
        touched: bytes of activations each token moves between products, per pass.
    """

    shape: ModelShape
    n: Array
    k: Array
    count: Array
    tp: int
    dp: int
    touched: float

    @property
    def group(self) -> int:
        """Devices that share one set of experts."""
        return self.tp * self.dp

    def experts_hit(self, tokens: npt.ArrayLike) -> Array:
        """Distinct routed experts that `tokens` tokens visit in one layer, on average.

        Each token visits k of E experts; were the routes uniform and independent, an expert is
        left out by all tokens with probability (1 - k/E)^tokens.
        """
        experts, top = self.shape.experts, self.shape.experts_per_token
        missed = np.power(1.0 - top / experts, np.asarray(tokens, dtype=float))
        return np.asarray(experts * (1.0 - missed))

    def expert_products(self, tokens: npt.ArrayLike) -> tuple[Array, Array, Array]:
        """Rows, output widths and inner widths of one layer's two grouped expert products.

        The products of all experts hit run at once: they read as one product of the rows one
        expert sees and of the joint width of this device's share of the experts.

        Args:
            tokens: tokens of one attention group, shape [...].

        Returns:
            Three arrays of shape [..., 2]: (gate and up, down).
        """
        shape = self.shape
        together = np.asarray(tokens, dtype=float)[..., None] * self.dp
        hit = self.experts_hit(together)
        rows = np.maximum(together * shape.experts_per_token / hit, 1.0)
        up = (2.0 if shape.gated else 1.0) * shape.expert_ffn
        share = hit / self.group
        n = share * np.array([up, float(shape.hidden)])
        k = np.broadcast_to([float(shape.hidden), float(shape.expert_ffn)], n.shape)
        return np.broadcast_to(rows, n.shape), n, k


def layer_work(shape: ModelShape, tp: int, dp: int = 1) -> LayerWork:
    """List the products of one pass through all layers on one of `tp` x `dp` devices."""
    rows = [*_softmax(shape, tp), *_linear(shape, tp), *_feed_forward(shape, tp)]
    kept = np.array([row for row in rows if row[2] > 0], dtype=float)
    wide = shape.heads * shape.head_dim + 3.0 * (shape.ffn or shape.expert_ffn)
    # Residual, norm and quantiser read and write the hidden state about 10 times a layer, the
    # activation and rotary embedding their own width twice; 2 bytes each.
    touched = 2.0 * shape.layers * (10.0 * shape.hidden + 2.0 * wide / tp)
    # Every expert a token visits gets a copy of its state: sorted, read, written, summed. All
    # devices that split the experts' widths do this; those that split the experts, their share.
    touched += 2.0 * shape.moe_layers * shape.experts_per_token * 4.0 * shape.hidden
    return LayerWork(shape, kept[:, 0], kept[:, 1], kept[:, 2], tp, dp, touched)


def kv_heads_per_device(shape: ModelShape, tp: int) -> float:
    """Key/value heads one device keeps: never less than one, heads are copied then."""
    return max(shape.kv_heads / tp, 1.0)


def _softmax(shape: ModelShape, tp: int) -> list[tuple[float, float, int]]:
    heads, count = shape.heads / tp, shape.softmax_layers
    if shape.kv_lora_rank:
        head = shape.qk_nope_head_dim + shape.qk_rope_head_dim
        down = shape.q_lora_rank + shape.kv_lora_rank + shape.qk_rope_head_dim
        up = shape.qk_nope_head_dim + shape.v_head_dim
        return [
            (down, shape.hidden, count),  # every device of a group computes the latents
            (heads * head, shape.q_lora_rank or shape.hidden, count),
            (heads * up, shape.kv_lora_rank, count),
            (shape.hidden, heads * shape.v_head_dim, count),
        ]
    queries = (2.0 if shape.output_gate else 1.0) * heads
    width = (queries + 2.0 * kv_heads_per_device(shape, tp)) * shape.head_dim
    return [(width, shape.hidden, count), (shape.hidden, heads * shape.head_dim, count)]


def _linear(shape: ModelShape, tp: int) -> list[tuple[float, float, int]]:
    values = shape.linear_value_heads * shape.linear_head_dim / tp
    keys = shape.linear_key_heads * shape.linear_head_dim / tp
    count = shape.linear_layers
    return [(2.0 * keys + 2.0 * values, shape.hidden, count), (shape.hidden, values, count)]


def _feed_forward(shape: ModelShape, tp: int) -> list[tuple[float, float, int]]:
    gate = 2.0 if shape.gated else 1.0
    dense, mixture = shape.layers - shape.moe_layers, shape.moe_layers
    shared = shape.shared_experts * shape.expert_ffn / tp
    return [
        (gate * shape.ffn / tp, shape.hidden, dense),
        (shape.hidden, shape.ffn / tp, dense),
        (gate * shared, shape.hidden, mixture if shared else 0),
        (shape.hidden, shared, mixture if shared else 0),
    ]
