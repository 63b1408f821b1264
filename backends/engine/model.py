"""The forward pass of Llama-like models over a ragged batch and a paged KV cache."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .architecture import Architecture
from .batch import Batch, Chunk, Decodes
from .kv_cache import KVCache
from .linear import Linear, build
from .weights import Weights

MLP_ROWS = 256
"""Rows the feed-forward part computes at once: beyond, its temporaries are so large that the
allocator maps and clears fresh pages for each of them."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One block: norms are float32 vectors, matrices are kernels."""

    attn_norm: Tensor
    qkv: Linear
    o: Linear
    mlp_norm: Tensor
    gate_up: Linear
    down: Linear


class Model:
    """Weights on one device. Norms, rotary embedding and the residual stay in float32."""

    def __init__(self, weights: Weights, device: torch.device) -> None:
        self.shape = weights.architecture
        self.device = device
        self._embed = weights.group("embed")["embed"].to(device)
        self._layers = [_layer(weights, n, device) for n in range(self.shape.num_layers)]
        last = _on(weights, device, "head", "norm")
        self._norm, self._head = last["norm"], build(last, "head")
        self._rope = _rotations(self.shape, device)

    @property
    def kernels(self) -> dict[str, str]:
        """Name what computes each kind of layer."""
        first = self._layers[0]
        named = {"qkv": first.qkv, "o": first.o, "gate_up": first.gate_up, "down": first.down}
        kernels = {name: linear.kernel for name, linear in named.items()}
        return kernels | {"head": self._head.kernel, "attention": "torch.sdpa.paged"}

    def forward(self, batch: Batch, cache: KVCache) -> Tensor:
        """Compute a batch, fill its KV slots, and give float32 logits of its sampled rows."""
        return self.logits(self.hidden(batch, cache), batch.sampled_rows)

    def logits(self, hidden: Tensor, rows: Tensor) -> Tensor:
        """Give float32 logits [rows, vocab] of some rows of `hidden`."""
        picked = hidden.index_select(0, rows)
        return self._head(self._normed(picked, self._norm)).float()

    def last_states(self, hidden: Tensor, rows: slice) -> Tensor:
        """Give the last hidden states [rows, hidden_size] of some rows, normed as the head sees."""
        return self._normed(hidden[rows], self._norm)

    def hidden(self, batch: Batch, cache: KVCache) -> Tensor:
        """Compute a batch, fill its KV slots, and give the residual stream [tokens, hidden_size]."""
        hidden = F.embedding(batch.tokens, self._embed).float()
        rotation = self._rope[0][batch.positions], self._rope[1][batch.positions]
        for number, layer in enumerate(self._layers):
            normed = self._normed(hidden, layer.attn_norm)
            attended = self._attention(number, layer.qkv(normed), rotation, batch, cache)
            hidden += layer.o(attended)
            for part in torch.split(hidden, MLP_ROWS):
                gate, up = layer.gate_up(self._normed(part, layer.mlp_norm)).chunk(2, dim=-1)
                part += layer.down(F.silu(gate).mul_(up))
        return hidden

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), weight, self.shape.norm_eps)

    def _attention(
        self,
        number: int,
        qkv: Tensor,
        rotation: tuple[Tensor, Tensor],
        batch: Batch,
        cache: KVCache,
    ) -> Tensor:
        shape = self.shape
        heads = qkv.float().view(len(qkv), -1, shape.head_dim)
        turned = _rotate(heads[:, : shape.num_heads + shape.num_kv_heads], rotation)
        turned = turned.to(cache.dtype)
        values = heads[:, shape.num_heads + shape.num_kv_heads :]
        cache.write(number, batch.slots, turned[:, shape.num_heads :], values)
        queries = turned[:, : shape.num_heads]
        if len(batch.decodes) == 1 and not batch.chunks:
            return self._decodes(number, queries, batch.decodes[0], cache)
        out = queries.new_empty((len(qkv), shape.query_size))
        for group in batch.decodes:
            picked = queries.index_select(0, group.rows)
            out[group.rows] = self._decodes(number, picked, group, cache)
        for chunk in batch.chunks:
            picked = queries[chunk.start : chunk.stop]
            out[chunk.start : chunk.stop] = self._chunk(number, picked, chunk, cache)
        return out

    def _chunk(self, number: int, queries: Tensor, chunk: Chunk, cache: KVCache) -> Tensor:
        keys, values = cache.gather(number, chunk.blocks)
        attended = F.scaled_dot_product_attention(
            queries.transpose(0, 1)[None],
            keys[: chunk.context].transpose(0, 1)[None],
            values[: chunk.context].transpose(0, 1)[None],
            attn_mask=chunk.mask,
            is_causal=chunk.mask is None,
            enable_gqa=True,
        )
        return attended[0].transpose(0, 1).reshape(len(queries), -1)

    def _decodes(self, number: int, queries: Tensor, group: Decodes, cache: KVCache) -> Tensor:
        # The query heads that share a kv head stand in the place of query positions: every
        # key is then read once, not once per query head.
        keys, values = cache.gather(number, group.blocks)
        attended = F.scaled_dot_product_attention(
            queries.view(len(queries), self.shape.num_kv_heads, -1, self.shape.head_dim),
            keys[:, : group.context].transpose(1, 2),
            values[:, : group.context].transpose(1, 2),
            attn_mask=group.mask,
        )
        return attended.reshape(len(queries), -1)


def _on(weights: Weights, device: torch.device, *names: str) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in weights.group(*names).items()}


def _layer(weights: Weights, number: int, device: torch.device) -> Layer:
    names = ("attn_norm", "qkv", "o", "mlp_norm", "gate_up", "down")
    prefix = f"layers.{number}."
    tensors = _on(weights, device, *(prefix + name for name in names))
    return Layer(
        attn_norm=tensors[prefix + "attn_norm"].float(),
        qkv=build(tensors, prefix + "qkv"),
        o=build(tensors, prefix + "o"),
        mlp_norm=tensors[prefix + "mlp_norm"].float(),
        gate_up=build(tensors, prefix + "gate_up"),
        down=build(tensors, prefix + "down"),
    )


def _rotations(shape: Architecture, device: torch.device) -> tuple[Tensor, Tensor]:
    """Give cosines and signed sines [context, 1, head_dim], ready for `_rotate`."""
    exponents = torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim
    frequencies = 1.0 / (shape.rope_base**exponents)
    angles = torch.outer(torch.arange(shape.context, dtype=torch.float32), frequencies)
    cosines, sines = angles.cos(), angles.sin()
    cosines = torch.cat((cosines, cosines), dim=-1)[:, None]
    sines = torch.cat((-sines, sines), dim=-1)[:, None]
    return cosines.to(device), sines.to(device)


def _rotate(heads: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each pair (i, i + head_dim / 2) of [tokens, heads, head_dim] by its angle."""
    swapped = heads.roll(heads.shape[-1] // 2, dims=-1)
    return torch.addcmul(heads * rotation[0], swapped, rotation[1])
