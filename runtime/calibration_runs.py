"""Runs that the calibration learns from: small prompts measured here and now, and stored jobs.

Each measurement is set beside what the cost model says without corrections.
"""

from __future__ import annotations

import queue
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gangline.backends.base import Backend
from gangline.ir.errors import BackendError, from_json
from gangline.ir.specs.fleet import Fleet
from gangline.ir.specs.model import ModelSpec
from gangline.ir.specs.request import (
    EngineEvent,
    Finished,
    FirstToken,
    RequestFailed,
    SamplingParams,
    Submit,
)
from gangline.planner.calibration import Key
from gangline.planner.profile import Sample
from gangline.planner.situation import modelled_steps
from gangline.planner.stage_cost import Option, StageCosts

from .dispatch.job import result_of
from .dispatch.programs import program_of
from .store import Store

SHAPES = ((16, 9, 1), (64, 17, 1), (256, 17, 1), (1024, 17, 1), (64, 17, 4), (256, 9, 8))
"""(prompt tokens, output tokens, sequences at once) of one round."""

PATIENCE_S = 300.0
"""Seconds an engine may be silent before it counts as hung."""

FIRST_TOKEN_ID, NUM_TOKEN_IDS = 300, 1000
"""Prompts are made of token ids that every vocabulary has and that are no control tokens."""


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """One measurement: the calibration's bucket, and seconds measured and modelled."""

    key: Key
    actual_s: float
    modelled_s: float

    @property
    def row(self) -> tuple[Key, float, float]:
        """Give it in the form `Calibration.observed` takes."""
        return self.key, self.actual_s, self.modelled_s


def measure(
    fleet: Fleet,
    backends: Mapping[str, Backend],
    model: str,
    models: Mapping[str, ModelSpec],
    *,
    rounds: int = 2,
    shapes: Sequence[tuple[int, int, int]] = SHAPES,
    clock: Callable[[], float] = time.monotonic,
    on_measured: Callable[[MeasuredRun], None] = lambda row: None,
) -> list[MeasuredRun]:
    """Measure a model on one replica of every device group that has a backend.

    Args:
        clock: the clock of the backends.

    Raises:
        BackendError: an engine failed, or said nothing for five minutes.
    """
    costs, found = StageCosts(models), []
    for device in fleet.devices:
        backend = backends.get(device.ids[0]) or backends.get(device.name)
        if backend is None:
            continue
        bench = _Bench(backend, model, clock)
        bench.run(shapes[0])  # loads the weights; its time is nobody's
        for number in range(rounds * len(shapes)):
            shape = shapes[number % len(shapes)]
            for row in _rows(costs, Option(device), model, shape, bench.run(shape)):
                on_measured(row)
                found.append(row)
    return found


def _rows(
    costs: StageCosts,
    option: Option,
    model: str,
    shape: tuple[int, int, int],
    seconds: tuple[float | None, float],
) -> Iterator[MeasuredRun]:
    prompt, _, batch = shape
    for op, actual_s, size in (("prefill", seconds[0], 1.0), ("decode", seconds[1], float(batch))):
        if actual_s is None:
            continue
        sample = Sample("", 0.0, float(prompt), 0.0, float(shape[1]))
        key = costs.key(option, op, model, sample, size)
        yield MeasuredRun(key, actual_s, costs.modelled_s(op, model, option, sample, size))


class _Bench:
    """Runs requests of one shape and times them; owns the backend's events meanwhile."""

    def __init__(self, backend: Backend, model: str, clock: Callable[[], float]) -> None:
        self._backend, self._model, self._clock = backend, model, clock
        self._events: queue.SimpleQueue[EngineEvent] = queue.SimpleQueue()
        self._random = random.Random(0)
        self._number = 0
        backend.start(self._events.put)

    def run(self, shape: tuple[int, int, int]) -> tuple[float | None, float]:
        """Give the seconds of a prefill (None where several ran at once) and of a decode.

        Of several requests the last one to begin is timed: all of them decode beside it.
        """
        prompt, output, batch = shape
        begin_s = self._clock()
        requests = [self._submit(prompt, output) for _ in range(batch)]
        first: dict[str, float] = {}
        ended: dict[str, float] = {}
        while len(ended) < len(requests):
            event = self._next()
            if event.request_id not in requests:
                continue
            if isinstance(event, FirstToken):
                first[event.request_id] = event.at_s
            elif isinstance(event, Finished):
                ended[event.request_id] = event.at_s
        last = max(requests, key=lambda name: first[name])
        decode_s = ended[last] - first[last]
        return (first[last] - begin_s if batch == 1 else None), decode_s

    def _submit(self, prompt: int, output: int) -> str:
        self._number += 1
        name = f"calibrate-{self._number}"
        # Drawn, so that no prompt is found in the prefix cache.
        tokens = (FIRST_TOKEN_ID + self._random.randrange(NUM_TOKEN_IDS) for _ in range(prompt))
        sampling = SamplingParams(max_tokens=output, ignore_eos=True)
        now = self._clock()
        self._backend.send(Submit(name, self._model, tuple(tokens), sampling, arrival_s=now))
        return name

    def _next(self) -> EngineEvent:
        try:
            event = self._events.get(timeout=PATIENCE_S)
        except queue.Empty:
            raise BackendError(f"The engine said nothing for {PATIENCE_S:g} s") from None
        if isinstance(event, RequestFailed):
            raise from_json(dict(event.error))
        return event


def stored_runs(
    store: Store, fleet: Fleet, models: Mapping[str, ModelSpec], limit: int = 500
) -> list[tuple[Key, float, float]]:
    """Read the runs of stored jobs, oldest first, as `Calibration.observed` takes them.

    Jobs that overlapped with another are left out: they tell how loaded a device was.
    """
    rows = store.jobs(limit=limit, status="succeeded")
    spans = []
    for row in rows:
        events = store.events(row.id)
        spans.append((events[0].at_s, events[-1].at_s, events))
    spans.sort(key=lambda span: span[0])
    found: list[tuple[Key, float, float]] = []
    busy_until = 0.0
    # Invariant: `busy_until` is the latest end of the jobs before this one.
    for index, (begin_s, end_s, events) in enumerate(spans):
        alone = begin_s >= busy_until
        alone &= index + 1 == len(spans) or spans[index + 1][0] >= end_s
        busy_until = max(busy_until, end_s)
        if alone:
            program = program_of(events[0].data["program"])
            found += modelled_steps(program, result_of(events).steps, fleet, models)
    return found
