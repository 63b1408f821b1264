"""Converted weights equal their source, whichever file layout they come from."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gangline.backends.engine import weight_file, weights
from gangline.backends.engine.linear import FINE
from gangline.ir.errors import CorruptWeightsError, ModelError

Write = Callable[..., Path]
NAMES = ("embed", "norm", "head", "layers.1.qkv", "layers.0.gate_up", "layers.1.down")


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("tied", [False, True])
def test_gguf_and_folder_give_the_same_tensors(
    write_gguf: Write, write_folder: Write, family: str, tied: bool
) -> None:
    ours = weights.load(write_gguf(family, tied=tied), "fp32").tensors
    theirs = weights.load(write_folder(family, tied=tied), "fp32").tensors
    assert ours.keys() == theirs.keys()
    for name in ours:  # q and k of llama are reordered in GGUF: equal only if that was undone
        assert torch.equal(ours[name], theirs[name]), name


def test_int8_is_within_half_a_step_of_the_source(write_gguf: Write) -> None:
    path = write_gguf()
    exact, stored = weights.load(path, "fp32"), weights.load(path, "int8")
    for name in ("layers.0.qkv", "layers.1.down", "head"):
        group = stored.group(name)
        restored = group[name].float() * group[f"{name}.scale"][:, None]
        error = (restored - exact.tensors[name]).abs() / group[f"{name}.scale"][:, None]
        assert float(error.max()) <= 0.501, name


def test_the_head_of_a_bf16_model_keeps_fifteen_bits(write_gguf: Write) -> None:
    path = write_gguf()
    group = weights.load(path, "bf16").group("head")
    whole = (group["head"] + group["head.fine"] / FINE) * group["head.scale"][:, None]
    exact = weights.load(path, "fp32").tensors["head"]
    assert torch.allclose(whole, exact, atol=float(exact.abs().max()) / 127 / FINE)


def test_converting_happens_once_and_in_private(
    write_gguf: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, root = write_gguf(), tmp_path / "converted"
    first = weights.load(path, "int8", cache_root=root)
    monkeypatch.setattr(weights, "open_source", lambda *_: pytest.fail("converted twice"))
    again = weights.load(path, "int8", cache_root=root)
    assert first.folder == again.folder and first.folder is not None
    assert first.architecture == again.architecture
    assert stat.S_IMODE(first.folder.stat().st_mode) == 0o700
    files = list(first.folder.iterdir())
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    assert not [file for file in files if file.suffix == ".tmp"]


def test_a_flipped_byte_is_refused_before_anything_is_converted(
    write_gguf: Write, tmp_path: Path
) -> None:
    path, root = write_gguf(), tmp_path / "converted"
    digest = weights.load(path, "int8", cache_root=root).sha256
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CorruptWeightsError, match="sha256") as caught:
        weights.load(path, "int8", expected_sha256=digest, cache_root=root)
    assert "pull" in caught.value.next_step


def test_a_damaged_cache_names_the_folder_to_delete(write_gguf: Write) -> None:
    loaded = weights.load(write_gguf(), "int8")
    assert loaded.folder is not None
    (loaded.folder / "int8.safetensors").write_bytes(b"\x05\x00\x00\x00\x00\x00\x00\x00nope!")
    with pytest.raises(CorruptWeightsError) as caught:
        loaded.group("head")
    assert str(loaded.folder) in caught.value.next_step


@pytest.mark.parametrize("name", ["int8.safetensors", "embedding.safetensors"])
def test_a_flipped_byte_in_a_converted_file_is_mended(write_gguf: Write, name: str) -> None:
    path = write_gguf()
    first = weights.load(path, "int8")
    assert first.folder is not None
    before = first.group("layers.0.qkv", "embed")
    data = bytearray((first.folder / name).read_bytes())
    data[-3] ^= 1
    (first.folder / name).write_bytes(bytes(data))
    weights.load(path, "int8")
    data[-3] ^= 1
    assert (first.folder / name).read_bytes() == bytes(data)
    again = weights.load(path, "int8").group("layers.0.qkv", "embed")
    assert all(torch.equal(before[key], again[key]) for key in before)


def test_a_full_disk_is_an_error_with_a_next_step(
    write_gguf: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = write_gguf()
    monkeypatch.setattr(weight_file, "write", full)
    with pytest.raises(ModelError, match="No space left") as caught:
        weights.load(path, "int8")
    assert "Free disk space" in caught.value.next_step


def test_a_folder_without_a_tensor_is_refused(write_folder: Write) -> None:
    folder = write_folder()
    (folder / "model.safetensors").write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
    with pytest.raises(CorruptWeightsError, match="missing"):
        weights.load(folder, "fp32")


def test_an_unknown_family_is_refused(write_gguf: Write) -> None:
    with pytest.raises(ModelError, match="gpt_neox"):
        weights.load(write_gguf("gpt_neox"), "fp32")
