"""A runner end to end: tokens, grammars, precision, and real models against transformers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gangline.backends.base import ModelRunner, ScheduledRequest
from gangline.backends.engine import batch as batches
from gangline.backends.engine.runner import TorchRunner, load_runner
from gangline.ir.errors import BackendUnavailable, GanglineError, InputError, UsageError
from gangline.ir.specs.request import Grammar, SamplingParams, Submit

Write = Callable[..., Path]
ModelFile = Callable[[str], Path]
PROMPT = tuple(range(3, 40))
QUESTIONS = (
    "What is the capital of France?",
    "Write a SQL query that counts the rows of table orders.",
    "Name three colours.",
    "def fibonacci(n):",
    "Explain in one sentence why the sky is blue.",
)


@pytest.fixture
def runner(write_gguf: Write, device: str) -> TorchRunner:
    path = write_gguf()
    return TorchRunner(path, device=device, dtype="fp32", num_blocks=64, block_size=4, threads=1)


def test_it_is_a_model_runner(runner: TorchRunner) -> None:
    seam: ModelRunner = runner
    assert seam.num_blocks == 64 and seam.block_size == 4 and seam.context == 256
    assert seam.eos_token_ids == {0, 2}
    assert seam.block_root.endswith(":float32") and len(seam.block_root) == 64 + len(":float32")
    assert seam.kernels["precision"] == "fp32" and "head" in seam.kernels


@pytest.mark.parametrize("chunk", [1, 3, 7, 36])
def test_chunked_prefill_gives_the_same_tokens(runner: TorchRunner, drive: Any, chunk: int) -> None:
    whole = drive(runner).generate(PROMPT, 20, ignore_eos=True)
    assert drive(runner).generate(PROMPT, 20, ignore_eos=True, chunk=chunk) == whole
    assert len(set(whole)) > 3


def test_batched_decoding_gives_the_same_tokens_as_alone(runner: TorchRunner, drive: Any) -> None:
    prompts = {"a": PROMPT, "b": PROMPT[:5], "c": PROMPT[::-1] + PROMPT[:20]}
    params = SamplingParams(12, temperature=0.8, top_p=0.9, seed=3, ignore_eos=True)
    options = {"temperature": 0.8, "top_p": 0.9, "seed": 3, "ignore_eos": True}
    alone = {
        name: drive(runner).generate(prompt, 12, request_id=name, **options)
        for name, prompt in prompts.items()
    }
    known, computed, tables = {}, {}, {}
    for place, (name, prompt) in enumerate(prompts.items()):
        runner.add(Submit(name, "m", prompt, params))
        known[name], computed[name] = list(prompt), 0
        tables[name] = tuple(range(place * 21, place * 21 + 21))
    for _ in range(12):
        step = [
            ScheduledRequest(name, tuple(known[name][computed[name] :]), computed[name], t, True)
            for name, t in tables.items()
        ]
        computed = {name: len(tokens) for name, tokens in known.items()}
        for name, answer in drive(runner).step(*step).items():
            known[name] += answer.token_ids
    assert {name: tuple(known[name][len(prompts[name]) :]) for name in prompts} == alone


def test_a_grammar_shapes_the_output_and_ends_it(runner: TorchRunner, drive: Any) -> None:
    grammar = Grammar("lark", 'start: "SELECT " /[a-c]{3}/ " FROM t"')
    text = runner.decode_text(drive(runner).generate(PROMPT, 60, grammar=grammar))
    assert text.startswith("SELECT ") and text.endswith(" FROM t")
    assert set(text[7:10]) <= set("abc")


def test_forced_tokens_come_in_one_answer_and_the_end_is_named(
    runner: TorchRunner, drive: Any
) -> None:
    params = SamplingParams(60, grammar=Grammar("regex", "ab[cd]ef"))
    runner.add(Submit("a", "m", PROMPT, params))
    table = tuple(range(16))
    first = drive(runner).step(ScheduledRequest("a", PROMPT, 0, table, True))["a"]
    assert runner.decode_text(first.token_ids) == "ab" and first.finish_reason is None
    second = drive(runner).step(ScheduledRequest("a", first.token_ids, len(PROMPT), table, True))
    assert runner.decode_text(second["a"].token_ids)[1:] == "ef"
    assert second["a"].finish_reason == "grammar"


def test_a_wrong_grammar_is_refused_before_it_runs(runner: TorchRunner) -> None:
    with pytest.raises(InputError):
        runner.add(Submit("a", "m", PROMPT, SamplingParams(5, grammar=Grammar("regex", "("))))


def test_the_end_token_stops_unless_it_is_ignored(
    runner: TorchRunner, drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = min(runner.eos_token_ids)
    forced = torch.zeros(1, 300)
    forced[0, end] = 1
    monkeypatch.setattr(runner, "logits", lambda _: forced.clone())
    step = ScheduledRequest("a", PROMPT, 0, tuple(range(16)), True)
    runner.add(Submit("a", "m", PROMPT, SamplingParams(5)))
    assert drive(runner).step(step)["a"].finish_reason == "stop"
    assert drive(runner).step(step)["a"].token_ids == ()
    runner.add(Submit("a", "m", PROMPT, SamplingParams(5, ignore_eos=True)))
    assert drive(runner).step(step)["a"].token_ids == (end,)


def test_unsampled_requests_get_no_answer(runner: TorchRunner, drive: Any) -> None:
    runner.add(Submit("a", "m", PROMPT, SamplingParams(5)))
    assert drive(runner).step(ScheduledRequest("a", PROMPT[:8], 0, (0, 1), False)) == {}
    runner.remove("a")
    runner.remove("a")


def test_wrong_device_and_precision_are_refused(write_gguf: Write) -> None:
    path = write_gguf()
    with pytest.raises(UsageError, match="fp7"):
        TorchRunner(path, dtype="fp7")
    if not torch.cuda.is_available():
        with pytest.raises(BackendUnavailable):
            TorchRunner(path, device="cuda")
    with pytest.raises(GanglineError, match="nonsense"):
        TorchRunner(path, device="nonsense")


@pytest.mark.parametrize("dtype", ["bf16", "int8", "auto"])
def test_every_precision_runs(write_gguf: Write, drive: Any, dtype: str) -> None:
    path = write_gguf("qwen2")
    runner = TorchRunner(path, dtype=dtype, num_blocks=32, threads=1)
    assert len(drive(runner).generate(PROMPT, 5, ignore_eos=True)) == 5
    runner.close()


def test_the_encoder_loads_without_torch(write_gguf: Write) -> None:
    program = (
        "import sys; from pathlib import Path; "
        "from gangline.backends.engine.encoder import load_encoder; "
        f"load_encoder(Path({str(write_gguf())!r})).encode([{{'role':'user','content':'x'}}]); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], env=os.environ, check=False)
    assert done.returncode == 0


def _reference_tokens(path: Path, prompts: list[tuple[int, ...]], count: int) -> list[list[int]]:
    """Generate greedily with transformers from the same file, read by its own reader."""
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    config = AutoConfig.from_pretrained(str(path.parent), gguf_file=path.name)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    read = load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=model)
    missing, unexpected = model.load_state_dict(read["tensors"], strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}  # SmolLM2 ties it
    model.tie_weights()
    model.generation_config.eos_token_id = None  # so that every answer has `count` tokens
    answers = []
    for prompt in prompts:
        with torch.no_grad():
            tokens = torch.tensor([prompt])
            out = model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                max_new_tokens=count,
                do_sample=False,
            )
        answers.append(out[0, len(prompt) :].tolist())
    return answers


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["smollm2", "qwen"])
def test_greedy_tokens_equal_transformers(name: str, model_file: ModelFile, drive: Any) -> None:
    """5 prompts x 32 tokens, prefilled whole and in chunks."""
    path = model_file(name)
    runner = TorchRunner(path, dtype="fp32", num_blocks=64)
    prompts = [runner.encode([{"role": "user", "content": text}]) for text in QUESTIONS]
    whole = {"ignore_eos": True}
    ours = [list(drive(runner).generate(prompt, 32, **whole)) for prompt in prompts]
    chunked = [list(drive(runner).generate(prompt, 32, chunk=7, **whole)) for prompt in prompts]
    runner.close()
    assert ours == chunked
    assert ours == _reference_tokens(path, prompts, 32)


def _all_logits(runner: TorchRunner, tokens: tuple[int, ...]) -> torch.Tensor:
    request = ScheduledRequest("a", tokens, 0, tuple(range(40)), True)
    step = batches.build([request], 16, runner._cache.dtype, torch.device("cpu"))
    step = replace(step, sampled_rows=torch.arange(len(tokens)))
    with torch.inference_mode():
        return runner._model.forward(step, runner._cache)


@pytest.mark.parametrize("name", ["smollm2", pytest.param("qwen", marks=pytest.mark.slow)])
def test_the_default_precision_agrees_with_fp32(name: str, model_file: ModelFile) -> None:
    """Next-token argmax equals that of float32 at >= 97 % of 500 positions."""
    path = model_file(name)
    text = "\n".join((Path(__file__).parents[3] / "ir" / "program.py").read_text().splitlines())
    choices = []
    for dtype in ("fp32", "auto"):
        runner = load_runner(path, dtype=dtype, kv_bytes=64 << 20, threads=1)
        tokens = runner.encoder.encode_text(text)[:500]
        assert len(tokens) == 500
        choices.append(_all_logits(runner, tokens).argmax(-1))
        runner.close()
    assert float((choices[0] == choices[1]).float().mean()) >= 0.97
