"""Requests of no job reach the engines jobs use, and leave nothing behind when nobody waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from gangline.backends.base import ModelRunner
from gangline.backends.engine.backend import EngineBackend
from gangline.backends.fake import FakeBackend, FakeEncoder, FakeRunner
from gangline.ir.errors import BackendUnavailable, InputError, ModelError
from gangline.ir.specs.request import (
    Cancel,
    EngineMessage,
    Finished,
    FirstToken,
    SamplingParams,
    Submit,
    TokenDelta,
)
from gangline.runtime.dispatch.outcome import DirectOutcome
from gangline.runtime.execution.executor import Executor

PROMPT = tuple(b"hello")


def submit(request_id: str = "r", max_tokens: int = 40, **options: object) -> Submit:
    sampling = SamplingParams(max_tokens, **options)  # type: ignore[arg-type]
    return Submit(request_id, "m", PROMPT, sampling)


@dataclass(eq=False)
class Heard(FakeBackend):
    """A fake backend that remembers what it was sent."""

    num_output: int = 40
    messages: list[EngineMessage] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(num_output_tokens=lambda _: self.num_output)

    def send(self, message: EngineMessage) -> None:
        self.messages.append(message)
        super().send(message)


@asynccontextmanager
async def executor(**backends: FakeBackend | EngineBackend) -> AsyncIterator[Executor]:
    loop = asyncio.get_running_loop()
    named = {name.replace("_", "/"): backend for name, backend in backends.items()}
    made = Executor(named, lambda name: None, loop=loop)
    await made.start()
    try:
        yield made
    finally:
        await made.aclose()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.002)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def test_a_request_streams_and_is_told_of() -> None:
    async def test() -> None:
        async with executor(cpu=Heard()) as made:
            told: list[DirectOutcome] = []
            made.direct.observers.append(told.append)
            events = [event async for event in made.direct.stream(submit())]
            assert isinstance(events[0], FirstToken) and isinstance(events[-1], Finished)
            text = "".join(event.text for event in events if isinstance(event, TokenDelta))
            assert text == events[-1].text and len(text) == 40
            (outcome,) = told
            assert outcome.event is events[-1] and outcome.submit.arrival_s == outcome.submitted_s
            assert outcome.submitted_s <= outcome.first_token_s <= outcome.at_s
            assert made.direct.num_in_flight == 0

    run(test)


def test_leaving_early_cancels_in_the_engine() -> None:
    async def test() -> None:
        backend = Heard(num_output=10**9)
        async with executor(cpu=backend) as made:
            stream = made.direct.stream(submit(max_tokens=30_000))
            async for event in stream:
                if isinstance(event, TokenDelta):
                    break
            await stream.aclose()
            assert Cancel("r") in backend.messages
            await until(lambda: made.direct.num_in_flight == 0)

    run(test)


def test_an_ended_request_is_not_cancelled() -> None:
    async def test() -> None:
        backend = Heard()
        async with executor(cpu=backend) as made:
            async for _ in made.direct.stream(submit()):
                pass
            assert not any(isinstance(message, Cancel) for message in backend.messages)

    run(test)


def test_what_the_engine_refuses_is_raised_as_it_is() -> None:
    async def test() -> None:
        async with executor(cpu=Heard()) as made:
            with pytest.raises(InputError, match="exceed"):
                async for _ in made.direct.stream(submit(max_tokens=10**6)):
                    pass
            assert made.direct.num_in_flight == 0

    run(test)


@pytest.mark.parametrize("loaded", [True, False])
def test_replicas_share_the_load(loaded: bool) -> None:
    async def test() -> None:
        one, two = Heard(), Heard()
        async with executor(cpu_0=one, cpu_1=two) as made:
            for backend in (one, two) if loaded else ():
                await asyncio.wrap_future(backend.prepare("m"))

            async def ask(number: int) -> None:
                async for _ in made.direct.stream(submit(f"r{number}")):
                    pass

            await asyncio.gather(*(ask(number) for number in range(8)))
        counts = [sum(isinstance(m, Submit) for m in b.messages) for b in (one, two)]
        assert counts == [4, 4]

    run(test)


def test_giving_up_while_a_model_loads_leaves_the_loading_to_others() -> None:
    may_load = threading.Event()

    def load(model: str) -> ModelRunner:
        assert may_load.wait(10)
        return FakeRunner()

    async def test() -> None:
        backend = EngineBackend(load, lambda model: FakeEncoder())
        async with executor(cpu=backend) as made:

            async def ask(request_id: str) -> int:
                return len([event async for event in made.direct.stream(submit(request_id))])

            impatient, patient = (asyncio.create_task(ask(name)) for name in ("a", "b"))
            await asyncio.sleep(0)
            impatient.cancel()
            await asyncio.gather(impatient, return_exceptions=True)
            assert impatient.cancelled()
            may_load.set()
            assert await patient > 1

    run(test)


def test_a_model_that_does_not_load_fails_the_request() -> None:
    def load(model: str) -> ModelRunner:
        raise ModelError("no such file")

    async def test() -> None:
        backend = EngineBackend(load, lambda model: FakeEncoder())
        async with executor(cpu=backend) as made:
            with pytest.raises(ModelError, match="no such file"):
                async for _ in made.direct.stream(submit()):
                    pass

    run(test)


def test_a_model_no_device_serves_is_refused() -> None:
    async def test() -> None:
        backend = EngineBackend(
            lambda model: FakeRunner(), lambda model: FakeEncoder(), serves=lambda m: m == "m"
        )
        async with executor(cpu=backend) as made:
            assert made.direct.serves("m") and not made.direct.serves("other")
            with pytest.raises(BackendUnavailable, match="other"):
                await made.direct.prompts("other")
            assert (await made.direct.prompts("m")).encode_text("ab") == (97, 98)

    run(test)
