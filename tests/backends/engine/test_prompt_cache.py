"""A cache of a prompt's beginning on a real engine: computed once, and no answer changes."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gangline as gl
from gangline.backends.engine.backend import EngineBackend
from gangline.backends.engine.encoder import load_encoder
from gangline.backends.engine.runner import TorchRunner
from gangline.ir.specs.request import EngineMessage, Submit
from gangline.runtime.api import run_job
from gangline.runtime.dispatch.job import JobResult

BLOCK = 4
TEXT = "the hello tells the tall hello. " * 3
WORDS = ["why", "the hell", "\n\nthe  end"]


@gl.llm(model="tiny", max_tokens=12)
def pcr_answer(text: str, question: str) -> str:
    """Text: {text}
    Question: {question}
    Answer about {text}:"""


@gl.workflow
def pcr_cached(text: str, words: list[str]) -> list[str]:
    kv = pcr_answer.cache(text=text)
    return gl.map(lambda word: pcr_answer(question=word, cache=kv), words)


@gl.workflow
def pcr_plain(text: str, words: list[str]) -> list[str]:
    return gl.map(lambda word: pcr_answer(text, word), words)


class Engine:
    """The tiny model behind a real engine; remembers what it was asked."""

    def __init__(self, path: Path) -> None:
        def load(model: str) -> TorchRunner:
            return TorchRunner(path, dtype="fp32", num_blocks=512, block_size=BLOCK, threads=1)

        self.encoder = load_encoder(path)
        self.backend = EngineBackend(load, lambda model: self.encoder)
        self.asked: list[Submit] = []
        send = self.backend.send

        def noting(message: EngineMessage) -> None:
            if isinstance(message, Submit):
                self.asked.append(message)
            send(message)

        self.backend.send = noting  # type: ignore[method-assign]

    def run(self, workflow: Any) -> JobResult:
        inputs = {"text": TEXT, "words": WORDS}
        return run_job(workflow, inputs, backends={"cpu/0": self.backend})


@pytest.fixture
def engine(write_folder: Callable[..., Path]) -> Iterator[Callable[[], Engine]]:
    path, made = write_folder(), list[Engine]()

    def make() -> Engine:
        made.append(Engine(path))
        return made[-1]

    yield make
    for one in made:
        one.backend.close()


def computed(result: JobResult) -> dict[str, int]:
    """Count the prompt tokens that each prefill computed."""
    assert result.status == "succeeded", result.error
    steps = [step for step in result.steps if step.op == "prefill"]
    return {step.id: (step.prompt_tokens or 0) - (step.cached_tokens or 0) for step in steps}


def test_a_map_of_three_computes_the_shared_part_once(engine: Callable[[], Engine]) -> None:
    one = engine()
    found = computed(one.run(pcr_cached))
    begun = found.pop("pcr_answer.cache.prefill")
    first, *others = one.asked
    assert len(first.prompt_tokens) == begun > 60
    assert first.sampling.max_tokens == 1
    assert len(found) == len(others) == 3
    # An engine keeps full blocks: what is over is computed again with the rest of a prompt.
    held = begun // BLOCK * BLOCK
    assert all(s.prompt_tokens[:held] == first.prompt_tokens[:held] for s in others)
    rest = sorted(len(submit.prompt_tokens) - held for submit in others)
    assert sorted(found.values()) == rest


def test_tokens_and_answers_are_those_without_a_cache(engine: Callable[[], Engine]) -> None:
    with_cache, without = engine(), engine()
    cached, plain = with_cache.run(pcr_cached), without.run(pcr_plain)
    prompts = [submit.prompt_tokens for submit in with_cache.asked[1:]]
    assert sorted(prompts) == sorted(submit.prompt_tokens for submit in without.asked)
    assert cached.output == plain.output
    assert len(set(plain.output)) == 3, "the answers tell the questions apart"


def test_it_is_computed_before_the_words_are_known(engine: Callable[[], Engine]) -> None:
    """A tool that waits for the engine's first event would wait for ever otherwise."""
    one, seen, waiting = engine(), list[int](), threading.Event()

    @gl.tool(effects="read")
    def pcr_late(text: str) -> list[str]:
        waiting.wait(30.0)
        seen.append(len(one.asked))
        return WORDS

    @gl.workflow
    def pcr_early(text: str, words: list[str]) -> list[str]:
        kv = pcr_answer.cache(text=text)
        return gl.map(lambda word: pcr_answer(question=word, cache=kv), pcr_late(text))

    start = one.backend.start

    def starting(emit: Callable[[Any], None]) -> None:
        def noting(event: Any) -> None:
            emit(event)
            waiting.set()

        start(noting)

    one.backend.start = starting  # type: ignore[method-assign]
    result = one.run(pcr_early)
    assert result.status == "succeeded" and waiting.is_set() and seen == [1]
