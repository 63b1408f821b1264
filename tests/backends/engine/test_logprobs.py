"""Log probabilities are the model's own, and asking for them changes no output."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from gangline.backends.base import ModelRunner
from gangline.backends.engine.config import SchedulerConfig
from gangline.backends.engine.core import EngineCore
from gangline.backends.engine.runner import TorchRunner
from gangline.backends.fake import FakeRunner
from gangline.ir.specs.request import (
    EngineEvent,
    Finished,
    Grammar,
    SamplingParams,
    Submit,
    TokenDelta,
)

Write = Callable[..., Path]
PROMPT = tuple(range(3, 40))


def run(runner: ModelRunner, submits: Iterable[Submit], **config: Any) -> list[EngineEvent]:
    """Step an engine by hand until nothing is in flight."""
    core = EngineCore(runner, SchedulerConfig(**config))
    events = [event for submit in submits for event in core.handle(submit, 1.0)]
    now = 1.0
    while core.has_work:
        output = core.schedule(now)
        events += core.update(output, runner.execute(output), now, [now + 1.0])
        now += 1.0
    return events


def finished(events: Iterable[EngineEvent]) -> dict[str, Finished]:
    return {event.request_id: event for event in events if isinstance(event, Finished)}


def submit(request_id: str = "a", **sampling: Any) -> Submit:
    sampling.setdefault("max_tokens", 12)
    return Submit(request_id, "m", PROMPT, SamplingParams(**sampling))


@pytest.fixture
def runner(write_folder: Write) -> TorchRunner:
    return TorchRunner(write_folder(), dtype="fp32", num_blocks=64, block_size=4, threads=1)


def reference(folder: Path, tokens: tuple[int, ...]) -> torch.Tensor:
    """Give log probabilities [len(tokens), vocab] by transformers."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        return torch.log_softmax(model(torch.tensor([tokens])).logits[0], dim=-1)


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_they_equal_an_independent_forward_pass(
    runner: TorchRunner, tmp_path: Path, temperature: float
) -> None:
    asked = submit(logprobs=5, temperature=temperature, seed=4, ignore_eos=True)
    done = finished(run(runner, [asked]))["a"]
    assert len(done.logprobs) == len(done.token_ids) == 12
    table = reference(tmp_path / "tiny", (*PROMPT, *done.token_ids))
    for place, entry in enumerate(done.logprobs):
        row = table[len(PROMPT) - 1 + place]
        assert entry.token_id == done.token_ids[place]
        assert entry.logprob == pytest.approx(float(row[entry.token_id]), abs=2e-4)
        values, indices = row.topk(5)
        assert [likely.token_id for likely in entry.top] == indices.tolist()
        assert [likely.logprob for likely in entry.top] == pytest.approx(values.tolist(), abs=2e-4)
    total = math.fsum(entry.logprob for entry in done.logprobs)
    own = [float(table[len(PROMPT) - 1 + n, t]) for n, t in enumerate(done.token_ids)]
    assert total == pytest.approx(math.fsum(own), abs=1e-3)


def test_bytes_are_those_of_the_text(runner: TorchRunner) -> None:
    done = finished(run(runner, [submit(logprobs=0, temperature=1.0, seed=2)]))["a"]
    assert all(entry.top == () for entry in done.logprobs)
    known = runner.encoder.tokenizer.decode_bytes(done.token_ids)
    control = runner.encoder.tokenizer.special_token_ids
    assert known == b"".join(e.token for e in done.logprobs if e.token_id not in control)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.8, "seed": 5, "top_p": 0.9},
        {"grammar": Grammar("lark", 'start: "SELECT " /[a-c]{3}/ " FROM the hell"')},
        {"grammar": Grammar("regex", "hell(o|p) the"), "max_tokens": 60},
        {"stop": ("e",), "temperature": 1.0, "max_tokens": 40},
    ],
)
def test_asking_changes_no_output(runner: TorchRunner, options: dict[str, Any]) -> None:
    options = {"max_tokens": 60, **options}
    plain = finished(run(runner, [submit(**options)]))["a"]
    asked = finished(run(runner, [submit(logprobs=3, **options)]))["a"]
    assert plain.logprobs == ()
    assert (asked.token_ids, asked.text, asked.finish_reason) == (
        plain.token_ids,
        plain.text,
        plain.finish_reason,
    )
    assert [entry.token_id for entry in asked.logprobs] == list(asked.token_ids)
    assert all(entry.logprob <= 0 for entry in asked.logprobs)


def test_deltas_carry_every_logprob_once(runner: TorchRunner) -> None:
    events = run(runner, [submit(logprobs=1, stop=("zzzz",), max_tokens=30, ignore_eos=True)])
    streamed = [e for event in events if isinstance(event, TokenDelta) for e in event.logprobs]
    done = finished(events)["a"]
    assert tuple(streamed) == done.logprobs[: len(streamed)]
    deltas = [event for event in events if isinstance(event, TokenDelta)]
    assert all(len(delta.logprobs) == delta.num_tokens for delta in deltas)
    assert "".join(delta.text for delta in deltas) == done.text


def test_who_does_not_ask_beside_one_who_does_gets_none(runner: TorchRunner) -> None:
    events = run(runner, [submit("a", logprobs=2), submit("b")])
    done = finished(events)
    assert done["a"].logprobs and done["b"].logprobs == ()
    assert done["a"].token_ids == done["b"].token_ids


def test_the_fake_runner_gives_them_too() -> None:
    runner = FakeRunner(lambda prompt: "hello")
    done = finished(run(runner, [submit(logprobs=2)]))["a"]
    assert [entry.token for entry in done.logprobs] == [b"h", b"e", b"l", b"l", b"o"]
    assert all(len(entry.top) == 2 for entry in done.logprobs)


def test_what_was_drawn_after_a_stop_string_has_none() -> None:
    runner = FakeRunner(lambda prompt: "hello world", tokens_per_step=4)
    events = run(runner, [submit(logprobs=0, stop=("lo",), max_tokens=20)])
    done = finished(events)["a"]
    assert done.text == "hel"
    assert [entry.token for entry in done.logprobs] == [b"h", b"e", b"l", b"l", b"o"]
    assert len(done.logprobs) == len(done.token_ids)
