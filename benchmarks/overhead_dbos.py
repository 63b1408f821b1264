"""DBOS on SQLite as an entrant of benchmarks/overhead.py."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dbos import DBOS  # type: ignore[import-not-found]

from benchmarks.overhead_child import Timed, folder, serve

THREADS = 16


@DBOS.step()  # type: ignore[untyped-decorator, unused-ignore]
def step(x: int) -> int:
    """Add one."""
    return x + 1


@DBOS.step()  # type: ignore[untyped-decorator, unused-ignore]
async def async_step(x: int) -> int:
    """Add one, on the loop."""
    return x + 1


@DBOS.workflow()  # type: ignore[untyped-decorator, unused-ignore]
def steps(num: int) -> int:
    """Run so many steps, one after the other."""
    x = 0
    for _ in range(num):
        x = step(x)
    return x


@DBOS.workflow()  # type: ignore[untyped-decorator, unused-ignore]
async def wide(num: int) -> int:
    """Run so many steps side by side, and join them."""
    return len(await asyncio.gather(*(async_step(x) for x in range(num))))


def chain(num: int) -> Timed:
    """Run one chain."""

    def timed() -> None:
        assert steps(num) == num

    return timed


def fan(num: int) -> Timed:
    """Run one fan-out."""

    async def run() -> None:
        assert await wide(num) == num

    return lambda: asyncio.run(run())


def jobs(num: int) -> Timed:
    """Run `num` jobs of five steps on threads."""

    def timed() -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            assert set(pool.map(lambda _: steps(5), range(num))) == {5}

    return timed


if __name__ == "__main__":
    DBOS(
        config={
            "name": "overhead",
            "system_database_url": f"sqlite:///{Path(folder()) / 'dbos.sqlite'}",
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )
    logging.disable(logging.WARNING)
    DBOS.launch()
    serve({"chain": chain, "fan": fan, "jobs": jobs}, ("dbos",))
