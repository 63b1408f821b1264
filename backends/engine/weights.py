"""Weights in the engine's own format: read once from the model file, then from a cache.

Names: `embed`, `norm`, `head`, and per layer `layers.N.` + `attn_norm`, `qkv`, `qkv.bias`,
`o`, `mlp_norm`, `gate_up`, `down`; an int8 matrix has its scales beside it in `NAME.scale`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
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
from .linear import fine_part, quantise_rows

ROWS_AT_ONCE = 8192
"""The two large tables are converted this many rows at a time, to bound memory."""

SHAPE_FILE = "architecture.json"
SUFFIXES = ("", ".scale", ".fine", ".bias")
"""What may stand beside a matrix. The head of a bfloat16 model is stored in two int8 parts:
its product then stays float32, where bfloat16 logits tie at the top (2 % of positions)."""


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
        wanted = [f"{name}{suffix}" for name in names for suffix in SUFFIXES]
        if self.folder is None:
            return {name: self.tensors[name] for name in wanted if name in self.tensors}
        return _read(self.folder / _file_name(names[0], self.precision), wanted)


def load(
    path: Path,
    precision: str | Callable[[Architecture], str],
    *,
    expected_sha256: str = "",
    cache_root: Path | None = None,
) -> Weights:
    """Open a GGUF file or a model folder at a precision, converting it if that is new.

    The precision may depend on the architecture. float32 is for comparisons: it is never
    cached (6 GB for a 1.5B model).
    """
    folder = cache.model_folder(path, expected_sha256=expected_sha256, root=cache_root)
    sha256 = cache.sha256_of(path, cache_root)
    described, source = cache.read_json(folder / SHAPE_FILE), None
    if described is None:
        source = open_source(path, folder)
        cache.write_json(folder / SHAPE_FILE, source.architecture.to_json())
    shape = source.architecture if source else Architecture.from_json(described)
    chosen = precision if isinstance(precision, str) else precision(shape)
    if chosen == "fp32":
        tensors = _in_memory(source or open_source(path, folder))
        return Weights(shape, sha256, chosen, None, tensors)
    if not _is_whole(folder, chosen, cache_root):
        _convert(source or open_source(path, folder), folder, chosen)
        _seal(folder, chosen, cache_root)
    return Weights(shape, sha256, chosen, folder, {})


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


def _convert(source: Source, folder: Path, precision: str) -> None:
    shape = source.architecture
    table = {"embed": (torch.bfloat16, (shape.vocab_size, shape.hidden_size))}
    pieces = (("embed", part.bfloat16()) for part in _chunks(source, "embed", shape.vocab_size))
    cache.write_atomic(
        folder / _file_name("embed", precision), lambda file: weight_file.write(file, table, pieces)
    )
    layout, rest = _layout(shape, precision), _pieces(source, precision)
    # Last: its presence says that the conversion is whole.
    cache.write_atomic(
        folder / _file_name("head", precision), lambda file: weight_file.write(file, layout, rest)
    )


def _seal(folder: Path, precision: str, root: Path | None) -> None:
    """Note the digests of the converted files: a byte that changes later is then noticed."""
    files = {_file_name(name, precision) for name in ("embed", "head")}
    digests = {file: cache.sha256_of(folder / file, root) for file in sorted(files)}
    cache.write_json(folder / f"{precision}.sha256.json", digests)


def _is_whole(folder: Path, precision: str, root: Path | None) -> bool:
    digests = cache.read_json(folder / f"{precision}.sha256.json")
    return isinstance(digests, dict) and all(
        (folder / file).exists() and cache.sha256_of(folder / file, root) == digest
        for file, digest in digests.items()
    )


def _layout(shape: Architecture, precision: str) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    layout: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {
        name: (torch.float32, (size,)) for name, size in vectors(shape).items()
    }
    for name, (rows, columns) in matrices(shape).items():
        if precision == "bf16" and name != "head":
            layout[name] = (torch.bfloat16, (rows, columns))
            continue
        layout[name] = (torch.int8, (rows, columns))
        layout[f"{name}.scale"] = (torch.float32, (rows,))
        if precision == "bf16":
            layout[f"{name}.fine"] = (torch.int8, (rows, columns))
    return layout


def _chunks(source: Source, name: str, rows: int) -> Iterator[Tensor]:
    step = ROWS_AT_ONCE if name in ("embed", "head") else rows
    for start in range(0, rows, step):
        yield source.rows(name, start, min(start + step, rows))


def _pieces(source: Source, precision: str) -> Iterator[tuple[str, Tensor]]:
    shape = source.architecture
    for name, size in vectors(shape).items():
        yield name, source.rows(name, 0, size)
    for name, (rows, _) in matrices(shape).items():
        if precision == "bf16" and name != "head":
            yield from ((name, chunk.bfloat16()) for chunk in _chunks(source, name, rows))
            continue
        yield from _quantised(name, _chunks(source, name, rows))
        if precision == "bf16":
            parts = (
                fine_part(chunk, *quantise_rows(chunk)) for chunk in _chunks(source, name, rows)
            )
            yield from ((f"{name}.fine", part) for part in parts)


def _quantised(name: str, chunks: Iterable[Tensor]) -> Iterator[tuple[str, Tensor]]:
    scales = []
    for chunk in chunks:
        quantised, scale = quantise_rows(chunk)
        scales.append(scale)
        yield name, quantised
    yield f"{name}.scale", torch.cat(scales)


def _read(path: Path, wanted: list[str]) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            present = set(file.keys())
            return {name: _kept(file.get_tensor(name)) for name in wanted if name in present}
    except (OSError, SafetensorError) as error:
        raise CorruptWeightsError(
            f"the converted weights {path.name} cannot be read: {error}",
            where=str(path),
            next_step=f"Delete the folder {path.parent} and run again.",
        ) from error


def _kept(tensor: Tensor) -> Tensor:
    # A small tensor that stays in use would keep the whole file mapped: copy it out.
    return tensor.clone() if tensor.dim() == 1 else tensor
