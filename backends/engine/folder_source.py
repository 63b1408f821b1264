"""The weights of a folder in Hugging Face layout (safetensors only) under the engine's names."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from gangline.ir.errors import CorruptWeightsError, ModelError

from .architecture import Architecture, from_config

NAMES = {
    "attn_norm": ("input_layernorm.weight",),
    "mlp_norm": ("post_attention_layernorm.weight",),
    "qkv": ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"),
    "qkv.bias": ("self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"),
    "o": ("self_attn.o_proj.weight",),
    "gate_up": ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
    "down": ("mlp.down_proj.weight",),
}
"""For each tensor of a layer, the parts it is stacked from."""


class FolderSource:
    """float32 weights of `config.json` + `*.safetensors`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.architecture = _architecture(folder)
        self._files = self._index()

    def _index(self) -> dict[str, Path]:
        from safetensors import SafetensorError, safe_open

        files: dict[str, Path] = {}
        for path in sorted(self._folder.glob("*.safetensors")):
            try:
                with safe_open(path, framework="pt") as file:
                    files |= dict.fromkeys(file.keys(), path)
            except (OSError, SafetensorError) as error:
                raise self._damaged(path, str(error)) from error
        return files

    def _damaged(self, path: Path, why: str) -> CorruptWeightsError:
        return CorruptWeightsError(
            f"{path.name} cannot be read: {why}",
            where=str(path),
            next_step="Put config.json, tokenizer.json and whole safetensors files into one folder.",
        )

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Give rows of one of the engine's tensors as float32."""
        return torch.cat([self._tensor(part) for part in self._parts(name)])[start:stop]

    def _parts(self, name: str) -> list[str]:
        if name.startswith("layers."):
            _, number, part = name.split(".", 2)
            return [f"model.layers.{number}.{piece}" for piece in NAMES[part]]
        tied = self.architecture.tied_embedding
        head = "model.embed_tokens.weight" if tied else "lm_head.weight"
        table = {"embed": "model.embed_tokens.weight", "norm": "model.norm.weight", "head": head}
        return [table[name]]

    def _tensor(self, name: str) -> Tensor:
        from safetensors import safe_open

        if name not in self._files:
            raise self._damaged(self._folder, f"the tensor {name} is missing")
        with safe_open(self._files[name], framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor.float()


def _architecture(folder: Path) -> Architecture:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"the model folder {folder} has no readable config.json: {error}",
            next_step="Put config.json, tokenizer.json and the weights into one folder.",
        ) from error
    return from_config(config)
