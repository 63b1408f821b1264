"""Prefect with its ephemeral server as an entrant of benchmarks/overhead.py.

Task runs are recorded through events, after the fact: it is not durable step by step.
"""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.overhead_child import Timed, folder, serve

os.environ.setdefault("PREFECT_HOME", str(Path(folder()) / "prefect"))
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
os.environ.setdefault("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", "true")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

from prefect import flow, task  # type: ignore[import-not-found]


@task  # type: ignore[untyped-decorator, unused-ignore]
def step(x: int) -> int:
    """Add one."""
    return x + 1


@flow  # type: ignore[untyped-decorator, unused-ignore]
def steps(num: int) -> int:
    """Run so many steps, one after the other."""
    x = 0
    for _ in range(num):
        x = step(x)
    return x


@flow  # type: ignore[untyped-decorator, unused-ignore]
def wide(num: int) -> int:
    """Run so many steps side by side, and join them."""
    return len([future.result() for future in step.map(range(num))])


def chain(num: int) -> Timed:
    """Run one chain."""

    def timed() -> None:
        assert steps(num) == num

    return timed


def fan(num: int) -> Timed:
    """Run one fan-out."""

    def timed() -> None:
        assert wide(num) == num

    return timed


def jobs(num: int) -> Timed:
    """Run `num` flows of five steps, one after the other."""

    def timed() -> None:
        for _ in range(num):
            assert steps(5) == 5

    return timed


if __name__ == "__main__":
    serve({"chain": chain, "fan": fan, "jobs": jobs}, ("prefect",))
