"""The paged KV cache: blocks of tokens, per layer, for keys and for values."""

from __future__ import annotations

import torch
from torch import Tensor

from .architecture import Architecture


class KVCache:
    """Keys and values of `num_blocks` blocks of `block_size` tokens.

    Layout of each layer: [num_blocks, block_size, kv_heads, head_dim]. A slot is the flat place
    of one token: block * block_size + offset.
    """

    def __init__(
        self,
        shape: Architecture,
        num_blocks: int,
        block_size: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        size = (num_blocks, block_size, shape.num_kv_heads, shape.head_dim)
        self.block_size = block_size
        self.num_blocks = num_blocks
        self.dtype = dtype
        self.keys = [_blank(size, dtype, device) for _ in range(shape.num_layers)]
        self.values = [_blank(size, dtype, device) for _ in range(shape.num_layers)]

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Store the keys and values [tokens, kv_heads, head_dim] of some tokens."""
        self.keys[layer].flatten(0, 1).index_copy_(0, slots, keys.to(self.dtype))
        self.values[layer].flatten(0, 1).index_copy_(0, slots, values.to(self.dtype))

    def gather(self, layer: int, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """Give keys and values of block tables [..., n] as [..., n * block_size, heads, dim]."""
        return _rows(self.keys[layer], blocks), _rows(self.values[layer], blocks)

    def export_blocks(self, blocks: list[int]) -> Tensor:
        """Copy blocks out in the canonical order [layer, k|v, token, kv_head, head_dim]."""
        table = torch.tensor(blocks, device=self.keys[0].device)
        layers = [torch.stack(self.gather(layer, table)) for layer in range(len(self.keys))]
        return torch.stack(layers)

    def import_blocks(self, blocks: list[int], data: Tensor) -> None:
        """Store what `export_blocks` gave, possibly on another device, into other blocks."""
        table = torch.tensor(blocks, device=self.keys[0].device)
        offsets = torch.arange(self.block_size, device=table.device)
        slots = (table[:, None] * self.block_size + offsets).flatten()
        for layer in range(len(self.keys)):
            keys, values = data[layer].to(table.device)
            self.write(layer, slots, keys, values)


def _blank(size: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    # Zeros, not empty: a mask multiplies what a block's unused places hold, and 0 * NaN is NaN.
    return torch.zeros(size, dtype=dtype, device=device)


def _rows(table: Tensor, blocks: Tensor) -> Tensor:
    picked = table.index_select(0, blocks.flatten())
    return picked.view(*blocks.shape[:-1], -1, *table.shape[2:])
