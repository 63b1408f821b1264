"""The paged, ragged forward pass equals a plain one, and transformers."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gangline.backends.base import ScheduledRequest, SchedulerOutput
from gangline.backends.engine import weights
from gangline.backends.engine.runner import TorchRunner

Write = Callable[..., Path]
PROMPT = (5, 9, 40, 2, 77, 31, 8, 19, 19, 60, 3, 100, 12)


def plain_logits(loaded: weights.Weights, tokens: tuple[int, ...]) -> Tensor:
    """Compute logits of every position without cache, batch or fused kernels, in float64."""
    shape = loaded.architecture
    tensors = {name: tensor.double() for name, tensor in loaded.tensors.items()}
    hidden = tensors["embed"][list(tokens)]
    for number in range(shape.num_layers):
        layer = {name.removeprefix(f"layers.{number}."): t for name, t in tensors.items()}
        normed = _norm(hidden, layer["attn_norm"], shape.norm_eps)
        qkv = normed @ layer["qkv"].T
        if shape.qkv_bias:
            qkv = qkv + layer["qkv.bias"]
        hidden = hidden + _attend(qkv, shape) @ layer["o"].T
        gate, up = (_norm(hidden, layer["mlp_norm"], shape.norm_eps) @ layer["gate_up"].T).chunk(
            2, dim=1
        )
        hidden = hidden + (gate * torch.sigmoid(gate) * up) @ layer["down"].T
    return _norm(hidden, tensors["norm"], shape.norm_eps) @ tensors["head"].T


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def _attend(qkv: Tensor, shape: Any) -> Tensor:
    heads = qkv.view(len(qkv), -1, shape.head_dim)
    group, out = shape.num_heads // shape.num_kv_heads, []
    for head in range(shape.num_heads):
        query = _turn(heads[:, head], shape.rope_base)
        key = _turn(heads[:, shape.num_heads + head // group], shape.rope_base)
        value = heads[:, shape.num_heads + shape.num_kv_heads + head // group]
        scores = query @ key.T / math.sqrt(shape.head_dim)
        later = torch.ones_like(scores).triu(1).bool()
        out.append(scores.masked_fill(later, -math.inf).softmax(-1) @ value)
    return torch.cat(out, dim=1)


def _turn(x: Tensor, base: float) -> Tensor:
    half = x.shape[1] // 2
    out = x.clone()
    for place in range(len(x)):
        for pair in range(half):
            angle = place * base ** (-2 * pair / x.shape[1])
            a, b = float(x[place, pair]), float(x[place, pair + half])
            out[place, pair] = a * math.cos(angle) - b * math.sin(angle)
            out[place, pair + half] = b * math.cos(angle) + a * math.sin(angle)
    return out


def _last_logits(runner: TorchRunner, *scheduled: ScheduledRequest) -> Tensor:
    total = sum(len(request.token_ids) for request in scheduled)
    return runner.logits(SchedulerOutput(scheduled, (), total)).cpu()


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("tied", [False, True])
def test_logits_equal_a_plain_forward(
    write_gguf: Write, device: str, family: str, tied: bool
) -> None:
    path = write_gguf(family, tied=tied)
    expected = plain_logits(weights.load(path, "fp32"), PROMPT)[-1]
    runner = TorchRunner(path, device=device, dtype="fp32", num_blocks=4, threads=1)
    # The block table is out of order: position and place must not be mixed up.
    got = _last_logits(runner, ScheduledRequest("a", PROMPT, 0, (2, 0), True))
    assert torch.allclose(got[0].double(), expected, atol=1e-4)


@pytest.mark.parametrize("chunk", [1, 2, 5, 12])
def test_chunks_equal_the_whole(write_gguf: Write, device: str, chunk: int) -> None:
    path = write_gguf("qwen2")
    expected = plain_logits(weights.load(path, "fp32"), PROMPT)[-1]
    runner = TorchRunner(path, device=device, dtype="fp32", num_blocks=8, block_size=4, threads=1)
    got = torch.empty(0)
    for start in range(0, len(PROMPT), chunk):
        part = PROMPT[start : start + chunk]
        got = _last_logits(runner, ScheduledRequest("a", part, start, (6, 1, 5, 0), True))
    assert torch.allclose(got[0].double(), expected, atol=1e-4)


def test_a_mixed_batch_equals_each_alone(write_gguf: Write, device: str) -> None:
    """A prefill, a chunk with a past, decodes of very different lengths: in one step."""
    path = write_gguf()
    loaded = weights.load(path, "fp32")
    runner = TorchRunner(path, device=device, dtype="fp32", num_blocks=60, block_size=4, threads=1)
    long = tuple((7 * at) % 97 for at in range(150))
    texts = {"new": PROMPT, "past": PROMPT[::-1], "one": PROMPT[3:9], "two": (1, 2), "long": long}
    done = {"new": 0, "past": 6, "one": 5, "two": 1, "long": 149}
    tables: dict[str, tuple[int, ...]] = {}
    free = list(range(60))
    for name, text in texts.items():
        tables[name] = tuple(free.pop() for _ in range(-(-len(text) // 4)))
        if done[name]:
            _last_logits(runner, ScheduledRequest(name, text[: done[name]], 0, tables[name], True))
    step = [
        ScheduledRequest(name, text[done[name] :], done[name], tables[name], name != "past")
        for name, text in texts.items()
    ]
    got = _last_logits(runner, *step)
    sampled = [name for name in texts if name != "past"]
    assert len(got) == len(sampled)
    for name, row in zip(sampled, got, strict=True):
        expected = plain_logits(loaded, texts[name])[-1]
        assert torch.allclose(row.double(), expected, atol=1e-4), name


def test_requests_may_share_the_blocks_of_a_prefix(write_gguf: Write, device: str) -> None:
    path = write_gguf()
    loaded = weights.load(path, "fp32")
    runner = TorchRunner(path, device=device, dtype="fp32", num_blocks=8, block_size=4, threads=1)
    prefix = PROMPT[:8]
    _last_logits(runner, ScheduledRequest("first", prefix, 0, (3, 7), True))
    ends = {"a": (50, 51), "b": (60, 61, 62)}
    step = [
        ScheduledRequest("a", ends["a"], 8, (3, 7, 0), True),
        ScheduledRequest("b", ends["b"], 8, (3, 7, 1), True),
    ]
    for row, end in zip(_last_logits(runner, *step), ends.values(), strict=True):
        assert torch.allclose(row.double(), plain_logits(loaded, prefix + end)[-1], atol=1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_logits_equal_transformers(write_folder: Write, family: str) -> None:
    from transformers import AutoModelForCausalLM

    folder = write_folder(family)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        expected = model(torch.tensor([PROMPT])).logits[0, -1]
    runner = TorchRunner(folder, dtype="fp32", num_blocks=4, threads=1)
    got = _last_logits(runner, ScheduledRequest("a", PROMPT, 0, (1, 3), True))
    assert torch.allclose(got[0], expected, atol=1e-4)
