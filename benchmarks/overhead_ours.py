"""gangline as an entrant of benchmarks/overhead.py: no-op steps through the real executor."""

from __future__ import annotations

import argparse
import asyncio
import functools
import itertools
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gangline as gl
from benchmarks.overhead_child import Prepare, Timed, folder, measured, serve
from gangline.ir.program import Parameter, Program, Region, Stage
from gangline.ir.specs.event import Event
from gangline.runtime.dispatch.job import Job, JobResult
from gangline.runtime.execution.driver import Driver
from gangline.runtime.execution.executor import Executor
from gangline.runtime.store import Store
from gangline.workflows.registry import TOOLS

STEPS_PER_JOB = 5


@gl.tool(effects="none", inline=True)
def add_inline(x: int) -> int:
    """Add one, on the loop."""
    return x + 1


@gl.tool(effects="none")
def add_thread(x: int) -> int:
    """Add one, on a worker thread."""
    return x + 1


@gl.tool(effects="none")
async def add_async(x: int) -> int:
    """Add one, as a task."""
    return x + 1


@gl.tool(effects="write", inline=True)
def write_inline(x: int) -> int:
    """Add one, as an effect: its start is on disk before it is called."""
    return x + 1


@gl.tool(effects="write")
def write_thread(x: int) -> int:
    """The same on a worker thread."""
    return x + 1


@functools.cache
def chain(tool: str, num_steps: int) -> Program:
    """Compile a workflow that calls a tool on its own result, step after step."""
    step: Any = TOOLS.get(tool)

    @gl.workflow
    def steps(x: int) -> int:
        for _ in range(num_steps):
            x = step(x)
        return x

    return steps.program()


@functools.cache
def fan(tool: str) -> Program:
    """Compile a workflow that maps a tool over a list and joins the results."""
    step: Any = TOOLS.get(tool)

    @gl.workflow
    def wide(xs: list[int]) -> list[int]:
        return gl.map(lambda x: step(x), xs)

    return wide.program()


@functools.cache
def loop(tool: str, num_steps: int) -> Program:
    """Compile a loop of so many trips; every trip is a step."""
    step: Any = TOOLS.get(tool)

    @gl.workflow
    def trips(x: int) -> int:
        return gl.loop(lambda v: step(v), x, until=lambda v: v >= num_steps, max_trips=num_steps)

    return trips.program()


@functools.cache
def long_chain(tool: str, num_steps: int) -> Program:
    """Write down the program of an unrolled chain too long to be traced in seconds."""
    (stage,) = chain(tool, 1).stages
    stages = tuple(
        Stage(i, "tool", f"{tool}#{i + 1}", (i,), (i + 1,), stage.attributes)
        for i in range(num_steps)
    )
    body = Region((0,), tuple(range(num_steps)), (num_steps,))
    inputs = (Parameter("x", "i64"),)
    return Program("long_chain", inputs, (body,), stages, text=f"{tool} {num_steps}")


_numbers = itertools.count()


def new_file() -> Path:
    """Name a database that no other process of the run uses."""
    return Path(folder()) / f"ours-{os.getpid()}-{next(_numbers)}.sqlite"


@functools.cache
def executor(stored: bool) -> Executor:
    """Open an executor once per process, as a service does."""
    store = Store(new_file()) if stored else None
    return Executor({}, TOOLS.get, store=store)


def one(make: Callable[[int], tuple[Program, dict[str, Any], Any]], stored: bool) -> Prepare:
    """Run one job of `num` steps, and check its output."""

    def prepare(num: int) -> Timed:
        program, inputs, expected = make(num)
        running = executor(stored)
        running.run(Job("warm", chain("add_inline", 2), {"x": 0}))

        def timed() -> dict[str, Any]:
            before = num_commits(running)
            result = running.run(Job(program.name, program, inputs))
            check(result, expected)
            return {"commits": num_commits(running) - before}

        return timed

    return prepare


def many(tool: str, steps_per_job: int, stored: bool) -> Prepare:
    """Run `num` jobs, all submitted at once."""

    def prepare(num: int) -> Timed:
        program, running = chain(tool, steps_per_job), executor(stored)

        def timed() -> dict[str, Any]:
            before = num_commits(running)
            futures = [running.submit(Job("steps", program, {"x": 0})) for _ in range(num)]
            for future in futures:
                check(future.result(), steps_per_job)
            return {"commits": num_commits(running) - before}

        return timed

    return prepare


def served(make: Callable[[int], tuple[Program, dict[str, Any], Any]]) -> Prepare:
    """Run one stored job of `num` steps as a server does: on its loop, keeping no result."""

    def prepare(num: int) -> Timed:
        program, inputs, expected = make(num)

        async def run() -> int:
            with Store(new_file()) as store:
                loop = asyncio.get_running_loop()
                running = Executor({}, TOOLS.get, store=store, loop=loop)
                await running.start()
                ended: asyncio.Future[Any] = loop.create_future()
                data = Job(program.name, program, inputs).to_event_data(as_json=False)
                queued = Event("served", 1, "job.queued", time.time(), "", data)
                created = await store.create(queued, program.name, running.owner)

                def done(driver: Driver, error: BaseException | None) -> None:
                    ended.set_result(error or driver.run.dispatcher.output)

                running.start_job("served", created.epoch, [queued], done)
                if await ended != expected:
                    raise RuntimeError(f"expected {expected!r}, got {ended.result()!r}")
                await running.aclose()
                return store.commits

        return lambda: {"commits": asyncio.run(run())}

    return prepare


def check(result: JobResult, expected: Any) -> None:
    """Fail loudly where a job did not do its work."""
    if result.status != "succeeded" or result.output != expected:
        raise RuntimeError(f"expected {expected!r}, got {result.status} {result.error}")


def num_commits(running: Executor) -> int:
    """Count the store's transactions so far; 0 where it does not count them."""
    store = running.store
    return getattr(store, "commits", 0) if store is not None else 0


def chained(tool: str, make: Callable[[str, int], Program] = chain) -> Any:
    """Give what `one` needs for a chain from 0 to `num`."""
    return lambda num: (make(tool, num), {"x": 0}, num)


def fanned(tool: str) -> Any:
    """Give what `one` needs for a map over `num` items."""
    return lambda num: (fan(tool), {"xs": list(range(num))}, list(range(1, num + 1)))


CASES: dict[str, Prepare] = {
    "chain_inline": one(chained("add_inline"), stored=False),
    "chain_async": one(chained("add_async"), stored=False),
    "chain_thread": one(chained("add_thread"), stored=False),
    "fan_inline": one(fanned("add_inline"), stored=False),
    "fan_async": one(fanned("add_async"), stored=False),
    "fan_thread": one(fanned("add_thread"), stored=False),
    "jobs_inline": many("add_inline", STEPS_PER_JOB, stored=False),
    "jobs_thread": many("add_thread", STEPS_PER_JOB, stored=False),
    "write_chain_inline": one(chained("write_inline"), stored=True),
    "write_chain_thread": one(chained("write_thread"), stored=True),
    "stored_chain_thread": one(chained("add_thread"), stored=True),
    "stored_jobs_inline": many("add_inline", STEPS_PER_JOB, stored=True),
    "stored_jobs_thread": many("add_thread", STEPS_PER_JOB, stored=True),
    "write_jobs_inline": many("write_inline", STEPS_PER_JOB, stored=True),
    "write_jobs_thread": many("write_thread", STEPS_PER_JOB, stored=True),
    "stored_fan_thread": one(fanned("add_thread"), stored=True),
    "loop_memory": one(chained("add_inline", loop), stored=False),
    "loop_stored": one(chained("add_inline", loop), stored=True),
    "loop_served": served(chained("add_inline", loop)),
    "wide_served": served(fanned("add_inline")),
    "unrolled_memory": one(chained("add_inline", long_chain), stored=False),
    "unrolled_stored": one(chained("add_inline", long_chain), stored=True),
    "wide_memory": one(fanned("add_inline"), stored=False),
    "wide_stored": one(fanned("add_inline"), stored=True),
}


def main() -> None:
    """Serve the benchmark; with --once, run one case by hand and print its figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--once", nargs=2, metavar=("CASE", "NUM"))
    options = parser.parse_args()
    if options.once is None:
        serve(CASES)
        return
    made = tempfile.mkdtemp()
    try:
        os.environ.setdefault("OVERHEAD_FOLDER", made)
        print(json.dumps(measured(CASES[options.once[0]], int(options.once[1]))))
        for stored in (False, True):
            executor(stored).close()
    finally:
        shutil.rmtree(made)


if __name__ == "__main__":
    main()
