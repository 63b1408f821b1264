"""A replica in virtual time: an engine per model, whose steps take what a cost model says."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from gangline.backends.base import Emit, Encode, Sampled, SchedulerOutput
from gangline.backends.engine.config import SchedulerConfig
from gangline.backends.virtual import VirtualBackend
from gangline.ir.specs.request import EngineEvent, EngineMessage, Submit

from .drawn_program import encode_drawn

BLOCK_TOKENS = 32
"""Tokens of a KV block in virtual time: twice the engine's, for half the bookkeeping."""

MAX_CONTEXT = 1 << 22

IMPORT_TOKENS = 1 << 20
"""Tokens of one step where prompts come computed elsewhere: all of them at once."""

BUCKETS_PER_OCTAVE = 16
"""Step times are remembered by shape, rounded to 2^(1/16): at most 2.2 % off, either way."""

MixedTime = Callable[[float, float, float, float], float]
"""Seconds of a step: new prompt tokens, tokens cached before them, sequences that decode and
their mean context."""


@dataclass(frozen=True, slots=True)
class VirtualModel:
    """One model on one replica, as virtual time needs to know it.

    Attributes:
        mixed_s: see `MixedTime`.
        kv_tokens: tokens its KV cache holds.
        max_batch, max_step_tokens: limits of one engine step.
        imports: prompts come with their KV cache from another device and cost nothing.
    """

    mixed_s: MixedTime
    kv_tokens: float
    max_batch: int
    max_step_tokens: int
    imports: bool = False


class DrawnRunner:
    """A runner whose requests say as many tokens as they may, all alike."""

    kernels: Mapping[str, str] = {}
    eos_token_ids: frozenset[int] = frozenset()
    block_size = BLOCK_TOKENS
    block_root = "drawn"
    context = MAX_CONTEXT

    def __init__(self, kv_tokens: float) -> None:
        self.num_blocks = max(1, min(math.floor(kv_tokens / BLOCK_TOKENS), 1 << 17))

    def add(self, request: Submit) -> None:
        """Take any request."""

    def remove(self, request_id: str) -> None:
        """Forget nothing: nothing was kept."""

    def execute(self, output: SchedulerOutput, num_steps: int = 1) -> Mapping[str, Sampled]:
        """Say `num_steps` tokens for every request that draws."""
        drawn = Sampled((0,) * num_steps)
        return {entry.request_id: drawn for entry in output.scheduled if entry.sample}

    def num_repeats(self, output: SchedulerOutput) -> int:
        """Repeat for as long as the scheduler allows: requests end at max_tokens only."""
        return output.repeat

    def decode_text(self, token_ids: Sequence[int]) -> str:
        """Give no text."""
        return ""

    def encode(self, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
        """Make the tokens a drawn prompt describes."""
        return encode_drawn(messages)

    def close(self) -> None:
        """Hold nothing open."""


class RememberedTimes:
    """Step times of one model on one replica, remembered by the shape of the step."""

    def __init__(self, model: VirtualModel) -> None:
        self._model = model
        self._known: dict[tuple[int, int, int, int], float] = {}

    def step_s(self, output: SchedulerOutput) -> float:
        """Give the seconds of one step."""
        new, past, batch, context = _shape(output, self._model.imports)
        return self._time(new, past, batch, context)

    def steps_s(self, output: SchedulerOutput, num_steps: int) -> list[float]:
        """Give the seconds of repetitions of a decode step; they grow with the context."""
        new, past, batch, context = _shape(output, self._model.imports)
        first = self._time(new, past, batch, context)
        last = self._time(new, past, batch, context + num_steps - 1)
        slope = (last - first) / max(num_steps - 1, 1)
        return [first + slope * index for index in range(num_steps)]

    def _time(self, new: float, past: float, batch: float, context: float) -> float:
        key = (_bucket(new), _bucket(past), _bucket(batch), _bucket(context))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._model.mixed_s(*(_centre(part) for part in key))
        return found


def _bucket(value: float) -> int:
    return -1 if value < 0.5 else round(BUCKETS_PER_OCTAVE * math.log2(value))


def _centre(bucket: int) -> float:
    return 0.0 if bucket < 0 else float(2.0 ** (bucket / BUCKETS_PER_OCTAVE))


def _shape(output: SchedulerOutput, imports: bool) -> tuple[float, float, float, float]:
    new = past = batch = context = 0.0
    for entry in output.scheduled:
        count = len(entry.token_ids)
        if count == 1:
            batch += 1.0
            context += entry.num_computed
        elif not imports:
            new += count
            past += count * entry.num_computed
    return new, past / new if new else 0.0, batch, context / batch if batch else 0.0


class VirtualReplica:
    """One replica with an engine per model, each with step times of its own."""

    alive = True

    def __init__(self, models: Mapping[str, VirtualModel]) -> None:
        self._engines = {name: _engine(model) for name, model in models.items()}

    def start(self, emit: Emit) -> None:
        """Take no callback: `advance` returns what happened."""

    def send(self, message: EngineMessage) -> None:
        """Hand a message to the engine it concerns, or to all."""
        if isinstance(message, Submit):
            self._engines[message.model].send(message)
            return
        for engine in self._engines.values():
            engine.send(message)

    def prepare(self, model: str) -> Future[None]:
        """Load nothing."""
        return self._engines[model].prepare(model)

    def encoder(self, model: str) -> Encode:
        """Give what makes the tokens of a drawn prompt."""
        return encode_drawn

    def close(self) -> None:
        """End every engine."""
        for engine in self._engines.values():
            engine.close()

    def next_event_s(self) -> float | None:
        """Say when to advance to next; None if nothing is under way."""
        times = [engine.next_event_s() for engine in self._engines.values()]
        return min((at for at in times if at is not None), default=None)

    def advance(self, now: float) -> list[EngineEvent]:
        """Move on to `now`; give what happened until then, in order of time."""
        events = [event for engine in self._engines.values() for event in engine.advance(now)]
        return sorted(events, key=lambda event: event.at_s)


def _engine(model: VirtualModel) -> VirtualBackend:
    times = RememberedTimes(model)
    config = SchedulerConfig(
        max_batched_tokens=model.max_step_tokens,
        max_num_seqs=model.max_batch,
        chunk_tokens=model.max_step_tokens,
        prefill_s_per_token=0.0,
        decode_s_per_token=0.0,
    )
    return VirtualBackend(
        times.step_s,
        lambda name: DrawnRunner(model.kv_tokens),
        config=config,
        encoder=lambda name: encode_drawn,
        step_times=times.steps_s,
        deltas=False,
    )
