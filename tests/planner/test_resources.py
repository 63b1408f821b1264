"""What stages need, against numbers worked out by hand and against the products one by one.

Formulas: 2 operations per weight and token, the output head once per prompt; attention adds
2 products (scores, values) of 2 x heads x head width operations per layer, token and token of
context (Kaplan et al., arXiv 2001.08361, table 1); KV cache 2 x layers x kv heads x head width x
2 bytes a token, which is equation 3 of arXiv 2507.19635.
"""

from __future__ import annotations

from typing import Any

import pytest

from gangline.ir.program import Stage
from gangline.ir.specs.model import ModelSpec
from gangline.planner.costs.kv_transfer import kv_bytes
from gangline.planner.costs.layer_work import layer_work
from gangline.planner.costs.shape import ModelShape, find_shape
from gangline.planner.model_work import model_work
from gangline.planner.profile import Amount, StageProfile
from gangline.planner.resources import TOKEN_BYTES, resources, stage_resources
from gangline.runtime.machine.models import catalogue

SMALL, LARGE = "smollm2-135m", "qwen2.5-coder-1.5b"


def row(op: str, model: str, prompt: float, cached: float = 0.0, output: float = 0.0) -> Any:
    stage = Stage(0, op, "s", attributes={"model": model})
    work = StageProfile(
        op,
        2.0,
        prompt_tokens=Amount.exactly(prompt),
        cached_tokens=Amount.exactly(cached),
        output_tokens=Amount.exactly(output),
    )
    return stage_resources(stage, work, lambda name: catalogue()[name])


def test_a_prompt_of_the_small_model() -> None:
    found = row("prefill", SMALL, 1000)
    # 134 515 008 weights; head 49 152 x 576; attention 4 x 30 layers x 9 heads x 64.
    own = 2 * 134_515_008 - 2 * 49_152 * 576 + 4 * 30 * 9 * 64 * 500
    assert found.flops == 1000 * own + 2 * 49_152 * 576 == 247_023_535_104
    assert found.kv_bytes == 1000 * 2 * 30 * 3 * 64 * 2 == 23_040_000
    assert found.bytes == 2 * (2 * 134_515_008) + 23_040_000  # two chunks of 512 tokens
    assert (found.input_tokens, found.output_tokens, found.visits) == (1000, 0, 2)


def test_a_prompt_of_the_large_model_that_is_partly_cached() -> None:
    found = row("prefill", LARGE, 2000, cached=500)
    # The embedding (151 936 x 1536) is looked up, the head of the same size is computed once.
    own = 2 * (1_777_088_000 - 151_936 * 1536) - 2 * 151_936 * 1536 + 4 * 28 * 12 * 128 * 1250
    assert found.flops == 1500 * own + 2 * 151_936 * 1536 == 4_254_048_571_392
    assert found.kv_bytes == 2000 * 2 * 28 * 2 * 128 * 2 == 57_344_000


def test_an_answer_of_both_models() -> None:
    small, large = row("decode", SMALL, 1000, output=101), row("decode", LARGE, 1000, output=101)
    assert small.flops == pytest.approx(100 * (269_030_016 + 69_120 * 1050.5)) == 34_164_057_600
    assert large.flops == pytest.approx(100 * (3_087_428_608 + 172_032 * 1050.5))
    assert small.kv_bytes == 1101 * 23_040
    assert small.bytes == pytest.approx(100 * (269_030_016 + 23_040 * 1050.5))
    assert small.result_bytes == 101 * TOKEN_BYTES


@pytest.mark.parametrize("name", [SMALL, LARGE])
def test_operations_are_those_of_the_products_one_by_one(name: str) -> None:
    model = catalogue()[name]
    shape = ModelShape.from_model_spec(model)
    work = layer_work(shape, tp=1)
    products = 2.0 * float((work.n * work.k * work.count).sum())
    attention = 2 * 2 * model.num_layers * model.num_heads * model.head_dim
    head = 2 * model.vocab_size * model.hidden_size
    found = row("prefill", name, 1024)
    assert found.flops == pytest.approx(1024 * (products + attention * 512) + head, rel=0.01)
    steps = row("decode", name, 1024, output=65)
    one = products + attention * (1024 + 32.5) + head
    assert steps.flops == pytest.approx(64 * one, rel=0.01)


@pytest.mark.parametrize("name", [SMALL, LARGE])
def test_cache_bytes_are_equation_three_and_the_model_row(name: str) -> None:
    model = catalogue()[name]
    sizes = (model.num_layers, model.hidden_size, model.num_heads, model.num_kv_heads)
    found = row("prefill", name, 777)
    assert found.kv_bytes == 777 * model.kv_bytes_per_token() == kv_bytes(*sizes, tokens=777)
    assert found.result_bytes == found.kv_bytes


def test_a_mixture_counts_the_experts_a_token_visits() -> None:
    shape = find_shape("mixtral-8x7b")
    work = layer_work(shape, tp=1)
    _, n, k = work.expert_products([1.0])
    # Of one token: its experts' products, read as one of joint width.
    experts = 2.0 * float((n * k).sum()) * shape.moe_layers
    router = 2.0 * shape.hidden * shape.experts * shape.moe_layers
    head = 2.0 * shape.embedding_params
    products = 2.0 * float((work.n * work.k * work.count).sum()) + experts + router + head
    assert model_work(shape).flop_per_token == pytest.approx(products, rel=0.01)


def test_every_step_of_a_program_has_a_row(question: Any, models: dict[str, ModelSpec]) -> None:
    from gangline.planner.workload import complete

    full = complete(question, None)
    found = resources(question, full, lambda name: models[name])
    assert set(found) == set(full.stages)
    assert found["execute"].cpu_seconds == full.stages["execute"].seconds.mean  # type: ignore[union-attr]
    assert found["draft.prefill"].visits == 3.0
    assert found["draft.tokenize"].flops == 0.0
    assert found["draft.tokenize"].result_bytes > 0.0


def test_an_embedding_reads_a_prompt_and_keeps_no_cache() -> None:
    found = row("embed", SMALL, 100)
    assert found.flops == row("prefill", SMALL, 100).flops
    assert (found.kv_bytes, found.result_bytes) == (0.0, 576 * 4.0)
