"""The weights of a GGUF file under the engine's names."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from .architecture import from_gguf
from .gguf_file import GGUFFile

NAMES = {
    "attn_norm": ("attn_norm.weight",),
    "mlp_norm": ("ffn_norm.weight",),
    "qkv": ("attn_q.weight", "attn_k.weight", "attn_v.weight"),
    "qkv.bias": ("attn_q.bias", "attn_k.bias", "attn_v.bias"),
    "o": ("attn_output.weight",),
    "gate_up": ("ffn_gate.weight", "ffn_up.weight"),
    "down": ("ffn_down.weight",),
}
"""For each tensor of a layer, the parts it is stacked from."""


class GGUFSource:
    """float32 weights of one GGUF file; large tables are read in slices of rows."""

    def __init__(self, path: Path) -> None:
        self.file = GGUFFile(path)
        self.architecture = from_gguf(self.file.metadata, self.file.names)

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Give rows of one of the engine's tensors as float32."""
        if name.startswith("layers."):
            _, number, part = name.split(".", 2)
            stacked = [self._part(f"blk.{number}.{piece}") for piece in NAMES[part]]
            return torch.cat(stacked)[start:stop]
        return torch.from_numpy(self.file.rows(self._table(name), start, stop))

    def _table(self, name: str) -> str:
        tied = self.architecture.tied_embedding
        head = "token_embd.weight" if tied else "output.weight"
        return {"embed": "token_embd.weight", "norm": "output_norm.weight", "head": head}[name]

    def _part(self, name: str) -> Tensor:
        values = torch.from_numpy(self.file.tensor(name))
        if not self.architecture.rope_interleaved:
            return values
        if ".attn_q." in name:
            return halves_paired(values, self.architecture.num_heads)
        if ".attn_k." in name:
            return halves_paired(values, self.architecture.num_kv_heads)
        return values


def halves_paired(values: Tensor, num_heads: int) -> Tensor:
    """Reorder rows of each head from pairs (2i, 2i+1) to pairs (i, i + head_dim / 2)."""
    by_head = values.reshape(num_heads, -1, 2, *values.shape[1:])
    return by_head.transpose(1, 2).reshape(values.shape)
