"""Embeddings: the mean of the last hidden states, however the prompt is cut and batched."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gangline.backends.base import ModelRunner
from gangline.backends.checking import CheckingRunner
from gangline.backends.engine.config import SchedulerConfig
from gangline.backends.engine.core import EngineCore
from gangline.backends.engine.runner import TorchRunner
from gangline.backends.fake import FakeRunner
from gangline.ir.specs.request import (
    Cancel,
    EngineEvent,
    Finished,
    RequestFailed,
    SamplingParams,
    Submit,
)

Write = Callable[..., Path]
PROMPT = tuple(range(3, 40))


def run(
    runner: ModelRunner, submits: Iterable[Submit], **config: Any
) -> tuple[EngineCore, list[EngineEvent]]:
    core = EngineCore(runner, SchedulerConfig(**config))
    events = [event for submit in submits for event in core.handle(submit, 1.0)]
    now = 1.0
    while core.has_work:
        output = core.schedule(now)
        events += core.update(output, runner.execute(output), now, [now + 1.0])
        now += 1.0
    return core, events


def embed(request_id: str, prompt: tuple[int, ...] = PROMPT) -> Submit:
    return Submit(request_id, "m", prompt, SamplingParams(1), embed=True)


def vectors(events: Iterable[EngineEvent]) -> dict[str, tuple[float, ...]]:
    return {e.request_id: e.embedding for e in events if isinstance(e, Finished)}


@pytest.fixture
def runner(write_folder: Write, device: str) -> TorchRunner:
    path = write_folder()
    return TorchRunner(path, device=device, dtype="fp32", num_blocks=64, block_size=4, threads=1)


def reference(folder: Path, tokens: tuple[int, ...]) -> list[float]:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        states = model(torch.tensor([tokens])).last_hidden_state[0]
    vector: list[float] = torch.nn.functional.normalize(states.mean(dim=0), dim=0).tolist()
    return vector


@pytest.mark.parametrize("chunk", [512, 7, 1])
def test_it_is_the_mean_of_what_transformers_computes(
    runner: TorchRunner, tmp_path: Path, chunk: int
) -> None:
    prompts = {"a": PROMPT, "b": PROMPT[5:9], "c": (7,)}
    submits = [embed(name, prompt) for name, prompt in prompts.items()]
    _, events = run(runner, submits, max_batched_tokens=max(chunk, 3), max_num_seqs=3)
    found = vectors(events)
    for name, prompt in prompts.items():
        assert found[name] == pytest.approx(reference(tmp_path / "tiny", prompt), abs=2e-5)
        assert math.fsum(x * x for x in found[name]) == pytest.approx(1.0, abs=1e-5)


def test_beside_generation_both_are_as_alone(runner: TorchRunner) -> None:
    talk = Submit("talk", "m", PROMPT[::-1], SamplingParams(9, ignore_eos=True))
    _, alone = run(runner, [embed("a")])
    _, spoken = run(runner, [talk])
    _, both = run(runner, [talk, embed("a"), embed("b", PROMPT[3:])], chunk_tokens=5)
    assert vectors(both)["a"] == pytest.approx(vectors(alone)["a"], abs=1e-5)
    tokens = {e.request_id: e.token_ids for e in both if isinstance(e, Finished)}
    assert tokens["talk"] == next(e.token_ids for e in spoken if isinstance(e, Finished))
    assert tokens["a"] == ()


def test_equal_prompts_share_no_blocks_as_every_state_is_needed(runner: TorchRunner) -> None:
    talk = Submit("talk", "m", PROMPT, SamplingParams(1, ignore_eos=True))
    core = EngineCore(runner, SchedulerConfig())
    events: list[EngineEvent] = []
    for message in (talk, embed("a"), embed("b")):
        events += core.handle(message, 1.0)
        while core.has_work:
            output = core.schedule(1.0)
            events += core.update(output, runner.execute(output), 1.0, [2.0])
    done = {e.request_id: e for e in events if isinstance(e, Finished)}
    assert done["a"].cached_tokens == done["b"].cached_tokens == 0
    assert done["a"].embedding == pytest.approx(done["b"].embedding, abs=1e-6)
    assert core.scheduler.blocks.num_free == 64


def test_many_texts_do_not_push_conversations_out_of_the_cache() -> None:
    runner = CheckingRunner(num_blocks=24, block_size=4)
    core = EngineCore(runner, SchedulerConfig())
    talk = Submit("talk", "m", PROMPT, SamplingParams(2))
    texts = [embed(f"e{n}", tuple(range(n, n + 30))) for n in range(10)]
    events: list[EngineEvent] = []
    for message in (talk, *texts, replace(talk, request_id="again")):
        events += core.handle(message, 1.0)
        while core.has_work:
            output = core.schedule(1.0)
            events += core.update(output, runner.execute(output), 1.0, [2.0])
    done = {e.request_id: e for e in events if isinstance(e, Finished)}
    assert done["again"].cached_tokens == 36


def test_a_preempted_one_starts_over(runner: TorchRunner) -> None:
    core = EngineCore(runner, SchedulerConfig(max_batched_tokens=8, max_num_seqs=4))
    core.handle(embed("a"), 1.0)
    output = core.schedule(1.0)
    core.update(output, runner.execute(output), 1.0, [2.0])
    request = core.scheduler._requests["a"]
    core.scheduler._preempt(request)  # what a decode that lacks blocks does
    events: list[EngineEvent] = []
    while core.has_work:
        output = core.schedule(2.0)
        events += core.update(output, runner.execute(output), 2.0, [3.0])
    _, alone = run(runner, [embed("b")])
    assert vectors(events)["a"] == pytest.approx(vectors(alone)["b"], abs=1e-5)


def test_cancel_and_failure_leave_nothing_behind(runner: TorchRunner) -> None:
    core = EngineCore(runner, SchedulerConfig(max_batched_tokens=8, max_num_seqs=4))
    core.handle(embed("a"), 1.0)
    output = core.schedule(1.0)
    core.update(output, runner.execute(output), 1.0, [2.0])
    assert runner._pooling
    (event,) = core.handle(Cancel("a"), 2.0)
    assert isinstance(event, RequestFailed)
    assert not runner._pooling
    assert core.scheduler.blocks.num_free == 64


def test_a_prompt_may_fill_the_context_but_not_more() -> None:
    runner = FakeRunner(context=16, num_blocks=4, block_size=4)
    _, events = run(runner, [embed("fits", tuple(range(16)))])
    assert vectors(events)["fits"]
    (event,) = EngineCore(runner, SchedulerConfig()).handle(embed("long", tuple(range(17))), 1.0)
    assert isinstance(event, RequestFailed)
    assert event.error["code"] == "input" and "17 prompt tokens exceed" in event.error["detail"]


def test_the_scheduler_does_it_right_step_by_step() -> None:
    runner = CheckingRunner(num_blocks=24, block_size=4)
    submits: list[Submit] = []
    for number in range(6):
        prompt = tuple(range(number, number + 30))
        submits += [embed(f"e{number}", prompt)]
        submits += [Submit(f"t{number}", "m", prompt, SamplingParams(8))]
    _, events = run(runner, submits, max_batched_tokens=16, max_num_seqs=4, chunk_tokens=6)
    assert len(vectors(events)) == 12
    assert {name for name, vector in vectors(events).items() if vector} == {
        f"e{number}" for number in range(6)
    }
