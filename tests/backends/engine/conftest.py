"""Tiny models written by the tests, the real ones where they are on disk, and how to drive them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFWriter
from safetensors.torch import save_file

from gangline.backends.base import Sampled, ScheduledRequest, SchedulerOutput
from gangline.backends.engine.runner import TorchRunner
from gangline.backends.engine.tokenizer import BYTE_SYMBOLS
from gangline.ir.specs.request import SamplingParams, Submit

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = (("h", "e"), ("l", "l"), ("he", "ll"), ("Ġ", "t"), ("Ġt", "he"))
TOKENS = (*SPECIAL, *BYTE_SYMBOLS, *(left + right for left, right in MERGES))
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": len(TOKENS),
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "eos_token_id": TOKENS.index("<|im_end|>"),
    "bos_token_id": 0,
}
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
MODELS = {
    "smollm2": "smollm2-135m-instruct-q4_1.gguf",
    "qwen": "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
}

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any) -> None:
    """Keep converted tiny models out of the user's cache; real ones are converted only once."""
    if "model_file" not in request.fixturenames:
        monkeypatch.setenv("GANGLINE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model_file() -> Callable[[str], Path]:
    """Give the path of a real model, or skip."""

    def find(name: str) -> Path:
        root = os.environ.get("GANGLINE_CACHE") or Path.home() / ".cache" / "gangline"
        path = Path(root) / "models" / MODELS[name]
        if not path.exists():
            pytest.skip(f"{path.name} is not on this machine: gangline models pull")
        return path

    return find


def random_weights(family: str, *, tied: bool, seed: int = 0) -> dict[str, torch.Tensor]:
    """Give the tensors of a tiny model under their Hugging Face names."""
    draw = torch.Generator().manual_seed(seed)
    hidden, ffn = int(SHAPE["hidden_size"]), int(SHAPE["intermediate_size"])
    sizes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (len(TOKENS), hidden)}
    for layer in range(int(SHAPE["num_hidden_layers"])):
        prefix = f"model.layers.{layer}."
        for name, rows in (("q", hidden), ("k", hidden // 2), ("v", hidden // 2)):
            sizes[f"{prefix}self_attn.{name}_proj.weight"] = (rows, hidden)
            if family == "qwen2":
                sizes[f"{prefix}self_attn.{name}_proj.bias"] = (rows,)
        sizes[f"{prefix}self_attn.o_proj.weight"] = (hidden, hidden)
        sizes[f"{prefix}mlp.gate_proj.weight"] = (ffn, hidden)
        sizes[f"{prefix}mlp.up_proj.weight"] = (ffn, hidden)
        sizes[f"{prefix}mlp.down_proj.weight"] = (hidden, ffn)
        sizes[f"{prefix}input_layernorm.weight"] = (hidden,)
        sizes[f"{prefix}post_attention_layernorm.weight"] = (hidden,)
    sizes["model.norm.weight"] = (hidden,)
    if not tied:
        sizes["lm_head.weight"] = (len(TOKENS), hidden)
    spread = {name: 0.25 + ("norm" in name) for name in sizes}
    return {name: torch.randn(size, generator=draw) * spread[name] for name, size in sizes.items()}


@pytest.fixture
def weights_of() -> Callable[..., dict[str, torch.Tensor]]:
    return random_weights


@pytest.fixture
def write_folder(tmp_path: Path) -> Write:
    """Write a tiny random model in Hugging Face layout."""

    def write(family: str = "llama", *, tied: bool = False, name: str = "tiny") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        config = {**SHAPE, "model_type": family, "tie_word_embeddings": tied}
        config["architectures"] = [{"llama": "LlamaForCausalLM"}.get(family, "Qwen2ForCausalLM")]
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "tokenizer.json").write_text(json.dumps(_tokenizer_document()))
        (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))
        save_file(random_weights(family, tied=tied), folder / "model.safetensors")
        return folder

    return write


def _tokenizer_document() -> dict[str, Any]:
    vocabulary = {token: place for place, token in enumerate(TOKENS)}
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": place, "content": token, "special": True, **special}
            for place, token in enumerate(SPECIAL)
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": True,
        },
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "vocab": vocabulary,
            "merges": [list(merge) for merge in MERGES],
        },
    }


GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "model.layers": "blk",
}


def _neighbours_paired(weight: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Reorder rows as converters to GGUF do for llama: (i, i + d/2) becomes (2i, 2i+1)."""
    dim = len(weight) // num_heads
    order = [
        head * dim + half * dim // 2 + pair
        for head in range(num_heads)
        for pair in range(dim // 2)
        for half in range(2)
    ]
    return weight[order]


@pytest.fixture
def write_gguf(tmp_path: Path) -> Write:
    """Write the same tiny model as a GGUF file in float32."""

    def write(family: str = "llama", *, tied: bool = False, name: str = "tiny.gguf") -> Path:
        path = tmp_path / name
        writer = GGUFWriter(path, family)
        writer.add_block_count(int(SHAPE["num_hidden_layers"]))
        writer.add_context_length(int(SHAPE["max_position_embeddings"]))
        writer.add_embedding_length(int(SHAPE["hidden_size"]))
        writer.add_feed_forward_length(int(SHAPE["intermediate_size"]))
        writer.add_head_count(int(SHAPE["num_attention_heads"]))
        writer.add_head_count_kv(int(SHAPE["num_key_value_heads"]))
        writer.add_layer_norm_rms_eps(float(SHAPE["rms_norm_eps"]))
        writer.add_rope_freq_base(float(SHAPE["rope_theta"]))
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list(list(TOKENS))
        writer.add_token_types([3 if token in SPECIAL else 1 for token in TOKENS])
        writer.add_token_merges([" ".join(merge) for merge in MERGES])
        writer.add_eos_token_id(int(SHAPE["eos_token_id"]))
        writer.add_chat_template(TEMPLATE)
        for key, tensor in random_weights(family, tied=tied).items():
            if family == "llama" and ("q_proj" in key or "k_proj" in key):
                heads = SHAPE["num_attention_heads" if "q_proj" in key else "num_key_value_heads"]
                tensor = _neighbours_paired(tensor, int(heads))
            for theirs, ours in GGUF_NAMES.items():
                key = key.replace(theirs, ours)
            writer.add_tensor(key, tensor.numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write


class Driver:
    """Plays the scheduler for a runner: chunks, batches, block tables."""

    def __init__(self, runner: TorchRunner) -> None:
        self.runner = runner

    def step(self, *scheduled: ScheduledRequest) -> dict[str, Sampled]:
        total = sum(len(request.token_ids) for request in scheduled)
        return dict(self.runner.execute(SchedulerOutput(scheduled, (), total)))

    def generate(
        self,
        prompt: Sequence[int],
        num_tokens: int,
        *,
        request_id: str = "a",
        chunk: int = 10_000,
        first_block: int = 0,
        **sampling: Any,
    ) -> tuple[int, ...]:
        """Run one request alone, its prompt in chunks of `chunk` tokens."""
        params = SamplingParams(num_tokens, **sampling)
        self.runner.add(Submit(request_id, "m", tuple(prompt), params))
        known, computed = list(prompt), 0
        blocks = -(-(len(prompt) + num_tokens + 64) // self.runner.block_size)
        table = tuple(range(first_block, first_block + blocks))
        # Invariant: blocks hold keys and values of known[:computed].
        while len(known) - len(prompt) < num_tokens:
            part = tuple(known[computed : computed + chunk])
            last = computed + len(part) == len(known)
            answer = self.step(ScheduledRequest(request_id, part, computed, table, last))
            computed += len(part)
            if last:
                known += answer[request_id].token_ids
                if answer[request_id].finish_reason:
                    break
        self.runner.remove(request_id)
        return tuple(known[len(prompt) :])


@pytest.fixture
def drive() -> type[Driver]:
    return Driver
