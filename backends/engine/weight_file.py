"""Write a safetensors file tensor by tensor, so that a model never has to fit in memory twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

DTYPE_NAMES = {
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int8: "I8",
    torch.uint8: "U8",
}


def write(
    path: Path,
    layout: Mapping[str, tuple[torch.dtype, tuple[int, ...]]],
    pieces: Iterable[tuple[str, Tensor]],
) -> None:
    """Write tensors whose dtypes and shapes are known beforehand.

    `pieces` come in the order of `layout`; several pieces of one name are its rows in order.
    """
    header, total = _header(layout)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little"))
        file.write(header)
        written = sum(_write_piece(file, piece) for _, piece in pieces)
    if written != total:
        raise AssertionError(f"{written} bytes written, {total} announced")


def _header(layout: Mapping[str, tuple[torch.dtype, tuple[int, ...]]]) -> tuple[bytes, int]:
    entries: dict[str, object] = {}
    end = 0
    # Invariant: the first `end` bytes of the data belong to the entries so far, without holes.
    for name, (dtype, shape) in layout.items():
        start, end = end, end + torch.Size(shape).numel() * dtype.itemsize
        entries[name] = {
            "dtype": DTYPE_NAMES[dtype],
            "shape": list(shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(entries).encode()
    return text + b" " * (-len(text) % 8), end


def _write_piece(file: BinaryIO, piece: Tensor) -> int:
    return file.write(piece.contiguous().view(torch.uint8).numpy().data)
