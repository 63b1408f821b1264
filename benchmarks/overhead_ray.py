"""Ray tasks and actors as an entrant of benchmarks/overhead.py; nothing is durable.

CPU seconds are the driver's only: the workers are processes of their own.
"""

from __future__ import annotations

import ray  # type: ignore[import-not-found]

from benchmarks.overhead_child import Timed, serve


@ray.remote  # type: ignore[untyped-decorator, unused-ignore]
def step(x: int) -> int:
    """Add one."""
    return x + 1


@ray.remote  # type: ignore[untyped-decorator, unused-ignore]
class Stepper:
    """An actor that adds one."""

    def step(self, x: int) -> int:
        """Add one."""
        return x + 1


def chain(num: int) -> Timed:
    """Run one chain of tasks, by references."""

    def timed() -> None:
        ref = 0
        for _ in range(num):
            ref = step.remote(ref)
        assert ray.get(ref) == num

    return timed


def actor_chain(num: int) -> Timed:
    """Run one chain of calls of one actor, by references."""
    actor = Stepper.remote()  # type: ignore[attr-defined, unused-ignore]
    ray.get(actor.step.remote(0))

    def timed() -> None:
        ref = 0
        for _ in range(num):
            ref = actor.step.remote(ref)
        assert ray.get(ref) == num

    return timed


def fan(num: int) -> Timed:
    """Run one fan-out."""

    def timed() -> None:
        assert len(ray.get([step.remote(x) for x in range(num)])) == num

    return timed


def jobs(num: int) -> Timed:
    """Run `num` chains of five tasks, all at once."""

    def timed() -> None:
        refs = [0] * num
        for _ in range(5):
            refs = [step.remote(ref) for ref in refs]
        assert ray.get(refs) == [5] * num

    return timed


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    serve({"chain": chain, "actor_chain": actor_chain, "fan": fan, "jobs": jobs}, ("ray",))
