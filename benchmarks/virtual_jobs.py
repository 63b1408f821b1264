"""Jobs in virtual time: the real dispatcher, the real engine scheduler, a named device's step times.

Prompts are encoded by whatever encoder is given, so the engine's block cache sees real tokens, and
what it reports as cached is what it would report. Outputs are made up; tools give what they are
told to give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gangline.backends.base import Backend, Encode
from gangline.backends.engine.config import SchedulerConfig
from gangline.backends.fake import FakeRunner, Replies
from gangline.backends.fake import encode as fake_encode
from gangline.backends.virtual import VirtualBackend
from gangline.ir.program import Program
from gangline.ir.specs.model import ModelSpec
from gangline.ir.specs.request import EngineMessage, Submit
from gangline.planner.catalogue import catalogue
from gangline.planner.costs.shape import ModelShape
from gangline.planner.engine_times import EngineTimes, engine_times
from gangline.runtime.dispatch.commands import RunTool
from gangline.runtime.dispatch.job import Job
from gangline.runtime.simulation.simulator import SimulationResult, Simulator
from gangline.runtime.simulation.virtual_replica import RememberedTimes, VirtualModel

BLOCK = 16
"""Tokens of a block of the engine's KV cache."""
MOST_BLOCKS = 1 << 17
DEVICE = "card/0"


@dataclass(frozen=True, slots=True)
class Served:
    """A model on one device: its step times, and the blocks its KV cache holds."""

    label: str
    model: VirtualModel

    @property
    def num_blocks(self) -> int:
        """Blocks of KV cache."""
        return max(1, min(int(self.model.kv_tokens // BLOCK), MOST_BLOCKS))


def served(device: str, model: ModelSpec | ModelShape) -> Served:
    """Give a model on one device of the catalogue, by the planner's times."""
    times: EngineTimes = engine_times(catalogue()[device].spec, model)
    virtual = VirtualModel(times.mixed_s, times.kv_tokens, times.max_batch, times.max_step_tokens)
    return Served(f"{model.name} on one {device} ({times.source} times)", virtual)


def backend(
    where: Served,
    encoder: Callable[[str], Encode] | None = None,
    *,
    output_tokens: Callable[[Submit], int] | None = None,
    replies: Replies | None = None,
    context: int = 1 << 20,
) -> VirtualBackend:
    """Give the device with an empty cache."""
    times = RememberedTimes(where.model)

    def runner(model: str) -> FakeRunner:
        return FakeRunner(
            replies,
            num_output_tokens=output_tokens,
            num_blocks=where.num_blocks,
            block_size=BLOCK,
            context=context,
        )

    config = SchedulerConfig(
        max_batched_tokens=where.model.max_step_tokens,
        max_num_seqs=where.model.max_batch,
        chunk_tokens=where.model.max_step_tokens,
    )
    return VirtualBackend(
        times.step_s,
        runner,
        config=config,
        encoder=encoder or (lambda model: fake_encode),
        step_times=times.steps_s,
        deltas=False,
    )


class Unshared:
    """A backend whose requests find nothing of each other in the cache: every one is salted."""

    def __init__(self, inside: Any) -> None:
        self._inside = inside

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inside, name)

    def send(self, message: EngineMessage) -> None:
        """Pass a message on, with a salt of its own."""
        if isinstance(message, Submit):
            message = replace(message, cache_salt=message.request_id)
        self._inside.send(message)


def simulated(
    program: Program,
    inputs: Sequence[Mapping[str, Any]],
    device: Backend | Unshared,
    *,
    tool_time: Callable[[RunTool], float],
    tool_result: Callable[[RunTool], Any],
    at_s: Iterable[float],
) -> SimulationResult:
    """Run a job for each of the inputs, which arrive at the given seconds."""
    simulator = Simulator({DEVICE: device}, tool_time, tool_result)  # type: ignore[dict-item]
    jobs = (Job(program.name, program, given, device=DEVICE, deadline_s=1e9) for given in inputs)
    return simulator.run(zip(at_s, jobs, strict=False))


def tokens_of(result: SimulationResult) -> tuple[int, int]:
    """Give the prompt tokens of all jobs, and those that were found in the cache."""
    rows = [step for job in result.jobs for step in job.steps if step.op == "prefill"]
    return (
        sum(row.prompt_tokens or 0 for row in rows),
        sum(row.cached_tokens or 0 for row in rows),
    )
