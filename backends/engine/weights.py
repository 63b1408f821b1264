"""Weights in the engine's own format: read once from the model file, then from a cache.

Names: `embed`, `norm`, `head`, and per layer `layers.N.` + `attn_norm`, `qkv`, `qkv.bias`,
`o`, `mlp_norm`, `gate_up`, `down`; an int8 matrix has its scales beside it in `NAME.scale`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from gangline.ir.errors import CorruptWeightsError

from . import cache, weight_file
from .architecture import Architecture
from .encoder import TABLES_FILE, save_tables
from .folder_source import FolderSource
from .gguf_source import GGUFSource
from .linear import quantise_rows

ROWS_AT_ONCE = 8192
"""The two large tables are converted this many rows at a time, to bound memory."""


class Source(Protocol):
    """Where float32 weights come from, under the engine's names."""

    architecture: Architecture

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Give rows of one of the engine's tensors; CorruptWeightsError if it is not there."""
        ...


@dataclass(frozen=True, slots=True)
class Weights:
    """A converted model on disk (`folder`), or one in memory (`tensors`, precision fp32)."""

    architecture: Architecture
    sha256: str
    precision: str
    folder: Path | None
    tensors: Mapping[str, Tensor]

    def group(self, *names: str) -> dict[str, Tensor]:
        """Give the tensors of these names with their scales and biases.

        Each call maps the file anew, so that pages a kernel has repacked can be given back.
        """
        wanted = [f"{name}{suffix}" for name in names for suffix in ("", ".scale", ".bias")]
        if self.folder is None:
            return {name: self.tensors[name] for name in wanted if name in self.tensors}
        return _read(self.folder / _file_name(names[0], self.precision), wanted)


def load(
    path: Path, precision: str, *, expected_sha256: str = "", cache_root: Path | None = None
) -> Weights:
    """Open a GGUF file or a model folder at a precision, converting it if that is new.

    float32 is for comparisons: it is never cached (6 GB for a 1.5B model).
    """
    folder = cache.model_folder(path, expected_sha256=expected_sha256, root=cache_root)
    sha256 = cache.sha256_of(path, cache_root)
    if precision == "fp32":
        source = open_source(path, folder)
        return Weights(source.architecture, sha256, precision, None, _in_memory(source))
    described = cache.read_json(folder / f"{precision}.json")
    if described is None:
        described = _convert(open_source(path, folder), folder, precision)
    shape = Architecture.from_json(described)
    return Weights(shape, sha256, precision, folder, {})


def open_source(path: Path, folder: Path | None = None) -> Source:
    """Open the float32 weights of a GGUF file or of a folder in Hugging Face layout."""
    if path.is_dir():
        return FolderSource(path)
    source = GGUFSource(path)
    if folder is not None and not (folder / TABLES_FILE).exists():
        save_tables(source.file, folder)  # opening a large file takes seconds: do it once
    return source


def matrices(shape: Architecture) -> dict[str, tuple[int, int]]:
    """Give name, rows and columns of every linear layer, in file order."""
    qkv = (shape.query_size + 2 * shape.kv_size, shape.hidden_size)
    layer = {
        "qkv": qkv,
        "o": (shape.hidden_size, shape.query_size),
        "gate_up": (2 * shape.ffn_size, shape.hidden_size),
        "down": (shape.hidden_size, shape.ffn_size),
    }
    named = {
        f"layers.{number}.{name}": size
        for number in range(shape.num_layers)
        for name, size in layer.items()
    }
    return named | {"head": (shape.vocab_size, shape.hidden_size)}


def vectors(shape: Architecture) -> dict[str, int]:
    """Give name and length of every norm and bias."""
    named = {"norm": shape.hidden_size}
    for number in range(shape.num_layers):
        named[f"layers.{number}.attn_norm"] = shape.hidden_size
        named[f"layers.{number}.mlp_norm"] = shape.hidden_size
        if shape.qkv_bias:
            named[f"layers.{number}.qkv.bias"] = shape.query_size + 2 * shape.kv_size
    return named


def _in_memory(source: Source) -> dict[str, Tensor]:
    shape = source.architecture
    sizes = {name: rows for name, (rows, _) in matrices(shape).items()} | vectors(shape)
    tensors = {name: source.rows(name, 0, rows) for name, rows in sizes.items() if name != "head"}
    tensors["embed"] = source.rows("embed", 0, shape.vocab_size)
    tied = shape.tied_embedding
    tensors["head"] = tensors["embed"] if tied else source.rows("head", 0, shape.vocab_size)
    return tensors


def _file_name(name: str, precision: str) -> str:
    # The embedding is read row by row through its map; the rest is read whole and repacked.
    return "embedding.safetensors" if name == "embed" else f"{precision}.safetensors"


def _convert(source: Source, folder: Path, precision: str) -> dict[str, object]:
    shape = source.architecture
    table = {"embed": (torch.bfloat16, (shape.vocab_size, shape.hidden_size))}
    pieces = (("embed", part.bfloat16()) for part in _chunks(source, "embed", shape.vocab_size))
    cache.write_atomic(
        folder / _file_name("embed", precision), lambda file: weight_file.write(file, table, pieces)
    )
    layout, rest = _layout(shape, precision), _pieces(source, precision)
    cache.write_atomic(
        folder / _file_name("head", precision), lambda file: weight_file.write(file, layout, rest)
    )
    described = shape.to_json()
    cache.write_json(folder / f"{precision}.json", described)  # last: its presence means whole
    return described


def _layout(shape: Architecture, precision: str) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    dtype = torch.int8 if precision == "int8" else torch.bfloat16
    layout: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {
        name: (torch.float32, (size,)) for name, size in vectors(shape).items()
    }
    for name, (rows, columns) in matrices(shape).items():
        layout[name] = (dtype, (rows, columns))
        if dtype == torch.int8:
            layout[f"{name}.scale"] = (torch.float32, (rows,))
    return layout


def _chunks(source: Source, name: str, rows: int) -> Iterator[Tensor]:
    step = ROWS_AT_ONCE if name in ("embed", "head") else rows
    for start in range(0, rows, step):
        yield source.rows(name, start, min(start + ROWS_AT_ONCE, rows))


def _pieces(source: Source, precision: str) -> Iterator[tuple[str, Tensor]]:
    shape = source.architecture
    for name, size in vectors(shape).items():
        yield name, source.rows(name, 0, size)
    for name, (rows, _) in matrices(shape).items():
        yield from _matrix(name, _chunks(source, name, rows), precision)


def _matrix(name: str, chunks: Iterable[Tensor], precision: str) -> Iterator[tuple[str, Tensor]]:
    scales = []
    for chunk in chunks:
        if precision == "bf16":
            yield name, chunk.bfloat16()
            continue
        quantised, scale = quantise_rows(chunk)
        scales.append(scale)
        yield name, quantised
    if scales:
        yield f"{name}.scale", torch.cat(scales)


def _read(path: Path, wanted: list[str]) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            present = set(file.keys())
            return {name: file.get_tensor(name) for name in wanted if name in present}
    except (OSError, SafetensorError) as error:
        raise CorruptWeightsError(
            f"the converted weights {path.name} cannot be read: {error}",
            where=str(path),
            next_step=f"Delete the folder {path.parent} and run again.",
        ) from error
