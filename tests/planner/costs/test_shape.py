"""Shapes: published sizes, tolerant names, and mappings of three kinds."""

from __future__ import annotations

import pytest

from gangline.ir.errors import ConfigError
from gangline.planner.costs.shape import find_shape, shapes

PUBLISHED_BILLIONS = {
    "Llama-3.1-8B": (8.03, 8.03),
    "Llama-3.1-70B": (70.6, 70.6),
    "Llama-3.1-405B": (405.9, 405.9),
    "Mixtral-8x7B": (46.7, 12.9),
    "GPT-J-6B": (6.05, 6.05),
    "Qwen2.5-0.5B": (0.49, 0.49),
    "Qwen3-235B-A22B": (235.0, 22.0),
    "Qwen3.5-397B-A17B": (397.0, 17.0),
    "DeepSeek-V3": (671.0, 37.0),
    "Kimi-K2": (1026.0, 32.0),
    "MiniMax-M2": (229.0, 10.0),
    "gpt-oss-120b": (116.8, 5.1),
    "GLM-4.5": (355.0, 32.0),
    "GLM-5": (744.0, 40.0),
    "SmolLM2-135M": (0.135, 0.135),
}


@pytest.mark.parametrize("name", PUBLISHED_BILLIONS)
def test_weights_come_out_as_published(name: str) -> None:
    total, active = PUBLISHED_BILLIONS[name]
    shape = find_shape(name)
    assert shape.params / 1e9 == pytest.approx(total, rel=0.02)
    # A published active count may or may not count embeddings.
    assert shape.active_params / 1e9 == pytest.approx(active, rel=0.09)


def test_every_row_is_whole_and_has_a_source() -> None:
    for name, shape in shapes().items():
        assert shape.name == name
        assert shape.source, name
        assert shape.params >= shape.active_params > 0, name


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("meta-llama/Meta-Llama-3.1-8B-Instruct-FP8", "Llama-3.1-8B"),
        ("nvidia/Llama-3.1-70B-Instruct-NVFP4", "Llama-3.1-70B"),
        ("llama3-70b", "Llama-3.1-70B"),
        ("Llama-2-7b-chat-hf", "Llama-2-7B"),
        ("nvidia/DeepSeek-V3.1-NVFP4", "DeepSeek-V3"),
        ("deepseek-ai/DeepSeek-R1-0528", "DeepSeek-V3"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "Llama-3.1-70B"),
        ("Qwen/Qwen3-235B-A22B-FP8", "Qwen3-235B-A22B"),
        ("qwen2.5-coder-1.5b-instruct-q8_0.gguf", "Qwen2.5-1.5B"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "Mixtral-8x7B"),
        ("MiniMaxAI/MiniMax-M2.5", "MiniMax-M2"),
        ("microsoft/phi_2", "phi-2"),
        ("llama2-70b-99.9", "Llama-2-70B"),
        ("llama2-70b-99.9-interactive", "Llama-2-70B"),
        ("llama3.1-8b-interactive", "Llama-3.1-8B"),
        ("llama3_1-405b", "Llama-3.1-405B"),
        ("gptj-99", "GPT-J-6B"),
        ("mixtral-8x7b", "Mixtral-8x7B"),
        ("deepseek-ai/DeepSeek-V3.1-Terminus", "DeepSeek-V3"),
        ("nvidia/DeepSeek-R1-0528-FP4-v2", "DeepSeek-V3"),
        ("deepseek-ai/DeepSeek-V3.2-Speciale", "DeepSeek-V3.2"),
        ("Qwen/Qwen1.5-72B-Chat", "Qwen-72B"),
        ("internlm/internlm2-chat-20b", "internlm2-20b"),
        ("internlm2_5-20b-chat", "internlm2-20b"),
        ("zai-org/GLM-4.5-Air-FP8", "GLM-4.5-Air"),
        ("zai-org/GLM-4.6-FP8", "GLM-4.5"),
        ("openai/gpt-oss-safeguard-120b", "gpt-oss-120b"),
        ("RedHatAI/Qwen3-32B-quantized.w4a16", "Qwen3-32B"),
        ("amd/Llama-2-70b-chat-hf-WMXFP4FP8-AMXFP4FP8-AMP-KVFP8", "Llama-2-70B"),
        ("unsloth/llama-3-8b-Instruct-bnb-4bit", "Llama-3.1-8B"),
        ("mistral-7b-instruct-v0.2.Q4_K_M.gguf", "Mistral-7B"),
    ],
)
def test_names_are_found_whatever_their_dress(asked: str, found: str) -> None:
    assert find_shape(asked).name == found


def test_versions_that_differ_are_not_confused() -> None:
    assert find_shape("DeepSeek-V3.2").sparse_top_k == 2048
    assert find_shape("DeepSeek-V3").sparse_top_k == 0
    assert find_shape("Qwen3-32B").kv_heads == 8
    assert find_shape("Qwen-72B").kv_heads == 64
    assert find_shape("Qwen2.5-72B").kv_heads == 8


def test_an_unknown_name_is_told_its_neighbours() -> None:
    with pytest.raises(ConfigError, match=r"Llama-3\.1-80B.*Did you mean Llama-3\.1-8B"):
        find_shape("Llama-3.1-80B")


def test_a_config_json_gives_the_packaged_shape() -> None:
    config = {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "deepseek_v3",
        "num_hidden_layers": 61,
        "hidden_size": 7168,
        "intermediate_size": 18432,
        "num_attention_heads": 128,
        "num_key_value_heads": 128,
        "n_routed_experts": 256,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 2048,
        "n_shared_experts": 1,
        "first_k_dense_replace": 3,
        "kv_lora_rank": 512,
        "q_lora_rank": 1536,
        "qk_rope_head_dim": 64,
        "qk_nope_head_dim": 128,
        "v_head_dim": 128,
        "vocab_size": 129280,
        "tie_word_embeddings": False,
        "hidden_act": "silu",
        "rope_scaling": {"factor": 40},
    }
    shape, packaged = find_shape(config), find_shape("DeepSeek-V3")
    assert (shape.params, shape.active_params) == (packaged.params, packaged.active_params)
    assert shape.kv_bytes_per_token("bf16") == 61 * 576 * 2


def test_a_nested_config_with_layer_types_counts_them() -> None:
    text = {
        "num_hidden_layers": 4,
        "hidden_size": 64,
        "num_attention_heads": 4,
        "vocab_size": 100,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 32,
        "linear_num_value_heads": 4,
        "linear_num_key_heads": 2,
        "linear_value_head_dim": 16,
        "full_attention_interval": 4,
    }
    shape = find_shape({"model_type": "qwen3_5_moe", "text_config": text})
    assert (shape.linear_layers, shape.softmax_layers, shape.shared_experts) == (3, 1, 1)
    windowed = {"layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": 128}
    shape = find_shape({"layers": 4, "hidden": 64, "heads": 4, "vocab": 9, **windowed})
    assert (shape.window_layers, shape.window) == (2, 128)


@pytest.mark.parametrize(
    "table",
    [
        {"n_layers": 32, "d_model": 4096, "n_heads": 32, "n_kv_heads": 8, "d_ff": 14336},
        {"num_layers": 32, "hidden_dim": 4096, "num_heads": 32, "num_kv_heads": 8, "ffn": 14336},
        {"n_layers": 32, "dim": 4096, "n_heads": 32, "n_kv_heads": 8, "hidden_dim": 14336},
        {"n_layers": 32, "dim": 4096, "n_heads": 32, "n_kv_heads": 8, "multiple_of": 1024,
         "ffn_dim_multiplier": 1.3, "norm_eps": 1e-5},
        {"layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 8, "ffn_dim": 14336,
         "torch_dtype": "bfloat16", "max_position_embeddings": 131072, "rope_theta": 5e5,
         "rope_scaling": {}, "rms_norm_eps": 1e-5, "transformers_version": "4.43", "params": 8e9,
         "bos_token_id": 1, "attention_dropout": 0.0, "name": "mine", "use_cache": True},
    ],
)  # fmt: skip
def test_names_of_sizes_are_those_that_papers_and_configs_use(table: dict[str, object]) -> None:
    shape, packaged = find_shape({**table, "vocab_size": 128256}), find_shape("Llama-3.1-8B")
    assert (shape.params, shape.kv_elements) == (packaged.params, packaged.kv_elements)


def test_names_of_experts_are_those_that_papers_and_configs_use() -> None:
    plain = {"layers": 4, "hidden": 64, "heads": 4, "vocab": 100}
    for experts, each, width in (
        ("n_experts", "n_experts_per_token", "moe_ffn"),
        ("num_experts", "num_experts_per_tok", "moe_ffn_dim"),
        ("n_routed_experts", "moe_top_k", "moe_ffn_hidden_size"),
    ):
        shape = find_shape({**plain, experts: 8, each: 2, width: 32})
        assert (shape.experts, shape.experts_per_token, shape.expert_ffn) == (8, 2, 32)


def test_a_gpt_config_has_no_gate_and_four_times_the_width() -> None:
    config = {"n_layer": 28, "n_embd": 4096, "n_head": 16, "n_inner": None, "vocab_size": 50400}
    extra = {"n_positions": 2048, "rotary_dim": 64, "attn_pdrop": 0.0, "resid_pdrop": 0.0}
    shape, packaged = find_shape({**config, **extra}), find_shape("GPT-J-6B")
    assert (shape.params, shape.gated) == (packaged.params, False)


def test_the_first_qwen_counts_gate_and_up_as_one_width() -> None:
    config = {
        "model_type": "qwen", "hidden_size": 8192, "intermediate_size": 49152, "kv_channels": 128,
        "num_attention_heads": 64, "num_hidden_layers": 80, "vocab_size": 152064,
        "seq_length": 32768, "no_bias": True,
    }  # fmt: skip
    assert find_shape(config).params == find_shape("Qwen-72B").params
    assert find_shape({**config, "model_type": "qwen2"}).ffn == 49152


def test_a_vocabulary_is_taken_as_usual_where_none_is_stated() -> None:
    shape = find_shape({"layers": 2, "hidden": 8, "heads": 2})
    assert shape.vocab == 32_000


@pytest.mark.parametrize("typo", ["n_kv_head", "hiden_size", "num_expert", "expert_fnn", "vocabb"])
def test_a_typo_is_not_taken_for_a_harmless_key(typo: str) -> None:
    with pytest.raises(ConfigError, match=f"no key '{typo}'.*Did you mean"):
        find_shape({"layers": 2, "hidden": 8, "heads": 2, typo: 4})


def test_short_names_and_defaults() -> None:
    shape = find_shape({"layers": 2, "hidden": 8, "heads": 2, "vocab": 10})
    assert (shape.kv_heads, shape.head_dim, shape.ffn, shape.family) == (2, 4, 32, "dense")
    mixture = find_shape(
        {"layers": 2, "hidden": 8, "heads": 2, "vocab": 10, "ffn": 6, "experts": 4, "top_k": 2}
    )
    assert (mixture.expert_ffn, mixture.family) == (6, "moe_mla")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hiden": 5}, "'hiden'.*hidden"),
        ({"heads": "many"}, "heads = 'many'"),
        ({"layers": 2.5}, "layers = 2.5"),
        ({"layers": -1}, "layers = -1"),
        ({"layers": float("nan")}, "layers = nan"),
        ({"hidden": None}, "'hidden'"),
        ({"kv_heads": 16}, "kv_heads = 16"),
        ({"experts": 4}, "experts_per_token = 0"),
        ({"experts": 4, "top_k": 5}, "experts_per_token = 5"),
        ({"kv_lora_rank": 16}, "v_head_dim"),
        ({"linear_layers": 3}, "linear_layers"),
        ({"tied": 1}, "tied = 1"),
    ],
)
def test_a_bad_mapping_names_its_key(change: dict[str, object], named: str) -> None:
    good: dict[str, object] = {"layers": 2, "hidden": 64, "heads": 4, "vocab": 10}
    with pytest.raises(ConfigError, match=named):
        find_shape({**good, **change})


def test_windows_and_linear_layers_bound_the_cache() -> None:
    oss, hybrid = find_shape("gpt-oss-20b"), find_shape("Qwen3.5-397B-A17B")
    growth = (oss.kv_bytes(9000.0) - oss.kv_bytes(8000.0)) / 1000.0
    assert growth == pytest.approx(oss.kv_bytes_per_token() / 2)
    assert oss.kv_bytes(100.0) == pytest.approx(100.0 * oss.kv_bytes_per_token())
    assert hybrid.kv_bytes_per_token("bf16") == 15 * 2 * 2 * 256 * 2


def test_low_bit_weights_keep_embedding_and_head_in_16_bits() -> None:
    shape = find_shape("Llama-3.1-8B")
    layers = shape.params - 2 * 128256 * 4096
    assert shape.weight_bytes("fp8") == pytest.approx(layers + 2 * 128256 * 4096 * 2.0)
    assert shape.weight_bytes("bf16") == pytest.approx(2.0 * shape.params)
