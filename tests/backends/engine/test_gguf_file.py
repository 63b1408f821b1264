"""A GGUF file is read exactly, and a damaged one is refused with a way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gangline.backends.engine.gguf_file import GGUFFile
from gangline.ir.errors import CorruptWeightsError, ModelError

Write = Callable[..., Path]


def test_tensors_are_what_was_written(
    write_gguf: Write, weights_of: Callable[..., dict[str, torch.Tensor]]
) -> None:
    file = GGUFFile(write_gguf("qwen2"))
    written = weights_of("qwen2", tied=False)
    assert np.array_equal(file.tensor("blk.1.ffn_down.weight"), written[DOWN].numpy())
    assert np.array_equal(file.rows("output.weight", 3, 7), written["lm_head.weight"][3:7].numpy())
    assert file.metadata["qwen2.block_count"] == 2


DOWN = "model.layers.1.mlp.down_proj.weight"


def test_an_absent_file_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be opened") as caught:
        GGUFFile(tmp_path / "absent.gguf")
    assert "models pull" in caught.value.next_step


def test_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.gguf"
    path.write_bytes(b"PK\x03\x04 not a model")
    with pytest.raises(CorruptWeightsError, match="magic"):
        GGUFFile(path)


@pytest.mark.parametrize("part", [0.001, 0.01, 0.3, 0.9, 0.999])
def test_a_file_cut_anywhere_is_refused(write_gguf: Write, part: float) -> None:
    path = write_gguf()
    data = path.read_bytes()
    path.write_bytes(data[: max(8, int(len(data) * part))])
    with pytest.raises(CorruptWeightsError, match="whole GGUF") as caught:
        GGUFFile(path)
    assert str(path) in caught.value.where


def test_a_damaged_header_is_refused(write_gguf: Write) -> None:
    path = write_gguf()
    data = bytearray(path.read_bytes())
    data[8:24] = b"\xff" * 16  # tensor and key counts
    path.write_bytes(bytes(data))
    with pytest.raises(CorruptWeightsError):
        GGUFFile(path)


def test_a_missing_tensor_is_named(write_gguf: Write) -> None:
    with pytest.raises(CorruptWeightsError, match=r"blk\.9\.ffn_up"):
        GGUFFile(write_gguf()).tensor("blk.9.ffn_up.weight")
