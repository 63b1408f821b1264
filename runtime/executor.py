"""The thin shell around the dispatcher: threads, engines, timers and the store.

One event loop on one thread of its own carries all jobs. Tools run on worker threads (async
tools on the loop), engines answer from theirs. Callers use `run` (waits) or `submit` (gives a
future), from any thread and any number at once.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any, Self

from gangline.backends.base import Backend
from gangline.ir.errors import GanglineError, JobError, StoreError
from gangline.ir.specs.event import Event
from gangline.ir.specs.fleet import Fleet
from gangline.ir.specs.request import EngineEvent, Finished, RequestFailed

from .clock import Clock, WallClock
from .commands import Step
from .driver import Driver, OnEvent, Surroundings
from .job import Job, JobResult, missing_secret, result_of
from .job_id import job_id as make_job_id
from .job_run import JobRun
from .owner import owner_name
from .pricing import Pricing
from .redact import redacted
from .routing import LeastLoaded
from .store import Store
from .tool_table import FindTool, mismatch
from .workers import Workers

LEASE_S = 30.0
"""How long a job stays ours without a word; renewed every third of it."""


class Executor:
    """Run jobs on a fleet's backends.

    Args:
        backends: by device id (`cpu/0`) or device name; started here, closed by `close`.
        find_tool: gives a registered tool by name, or None.
        store: where events go; None keeps them in memory only.
        clock: gives seconds since the epoch; engines should be built on the same clock.
    """

    def __init__(
        self,
        backends: Mapping[str, Backend],
        find_tool: FindTool,
        *,
        fleet: Fleet | None = None,
        store: Store | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or WallClock()
        self._pricing = Pricing(fleet)
        self._store = store
        self._owner = owner_name()
        self._drivers: dict[str, Driver] = {}
        self._closed = False
        self._loop = asyncio.new_event_loop()
        ids = fleet_ids(fleet, backends)
        self._around = Surroundings(
            loop=self._loop,
            clock=self._clock,
            backends=backends,
            routing=LeastLoaded(ids),
            workers=Workers(),
            find_tool=find_tool,
            requests={},
            store=store,
        )
        self._thread = threading.Thread(target=self._serve, name="gangline-loop", daemon=True)
        self._thread.start()
        for backend in dict.fromkeys(backends.values()):
            backend.start(self._emit)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, job: Job, on_event: OnEvent | None = None) -> JobResult:
        """Run a job and wait for it. Ctrl-C leaves it in the store, to be continued.

        The KeyboardInterrupt has a JobError as its cause, which says how.
        """
        return self._wait(self.submit(job, on_event))

    def submit(self, job: Job, on_event: OnEvent | None = None) -> Future[JobResult]:
        """Queue a job; the future gives its result, whatever its status."""
        job_id = make_job_id(self._clock.now(), os.urandom(10))
        data = job.to_event_data()
        return self._launch(job_id, lambda: self._create(job_id, job.workflow, data, on_event))

    def resume(
        self,
        job_id: str,
        *,
        inputs: Mapping[str, Any] | None = None,
        rerun: frozenset[str] = frozenset(),
        on_event: OnEvent | None = None,
    ) -> JobResult:
        """Continue a stored job: recorded steps are not run again.

        Args:
            inputs: values for inputs whose secrets were not stored (database passwords).
            rerun: ids of writing steps that a person has confirmed may run again.
        """
        store = self._need_store()
        events = store.events(job_id)
        if not events:
            store.job(job_id)
        if result_of(events).status == "succeeded":
            return result_of(events)
        events[0] = _with_inputs(events[0], inputs or {})
        epoch = store.acquire(job_id, self._owner, LEASE_S, self._clock.now())
        later = store.events(job_id, after=events[-1].seq)
        events.extend(later)

        def begin() -> Driver:
            return self._continue(job_id, events, epoch, rerun, on_event)

        return self._wait(self._launch(job_id, begin))

    def cancel(self, job_id: str) -> None:
        """Cancel a job that this executor runs; nothing happens if it has ended."""
        self._on_loop(self._cancel, job_id)

    def close(self) -> None:
        """Leave running jobs as they are stored, close the backends and end the loop."""
        if self._closed:
            return
        self._closed = True
        self.interrupt()
        with ExitStack() as closing:  # every part is closed, even after another one's fault
            closing.callback(self._end_loop)
            closing.callback(self._around.workers.close)
            for backend in dict.fromkeys(self._around.backends.values()):
                closing.callback(backend.close)

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def interrupt(self) -> None:
        """Stop all jobs without ending them, so that they can be continued from the store."""
        done = threading.Event()

        def stop() -> None:
            for driver in list(self._drivers.values()):
                driver.abort(_interrupted(driver.run.job_id))
            done.set()

        self._on_loop(stop)
        done.wait(timeout=10.0)
        if self._store is not None:
            self._store.flush()

    def _wait(self, future: Future[JobResult]) -> JobResult:
        try:
            return future.result()
        except KeyboardInterrupt:
            self.interrupt()
            raise KeyboardInterrupt from future.exception() if future.done() else None

    def _launch(self, job_id: str, begin: Callable[[], Driver]) -> Future[JobResult]:
        result: Future[JobResult] = Future()

        def launch() -> None:
            try:
                driver = begin()
            except Exception as error:  # noqa: BLE001 (goes to the caller)
                result.set_exception(error)
                return
            driver.done.add_done_callback(lambda done: self._ended(job_id, driver, done, result))

        self._on_loop(launch)
        return result

    def _create(
        self, job_id: str, workflow: str, data: Mapping[str, Any], on_event: OnEvent | None
    ) -> Driver:
        now = self._clock.now()
        driver = self._driver(job_id, 1, on_event)
        queued = driver.run.queue(data, now)
        driver.begin(queued, workflow, self._owner, LEASE_S)
        driver.advance(driver.run.start(now))
        return driver

    def _continue(
        self,
        job_id: str,
        events: list[Event],
        epoch: int,
        rerun: frozenset[str],
        on_event: OnEvent | None,
    ) -> Driver:
        driver = self._driver(job_id, epoch, on_event)
        driver.run.replay(events)
        driver.log.extend(events)
        data = {"resumed": True, "rerun": sorted(rerun)}
        driver.advance(driver.run.start(self._clock.now(), data))
        return driver

    def _driver(self, job_id: str, epoch: int, on_event: OnEvent | None) -> Driver:
        run = JobRun(job_id, self._pricing, self._check, self._route)
        driver = self._drivers[job_id] = Driver(run, self._around, epoch, on_event)
        self._renew_later(driver)
        return driver

    def _check(self, command: Any) -> JobError | None:
        return mismatch(self._around.find_tool, command)

    def _route(self, step: Step) -> str:
        return self._around.routing.pick(step.device)

    def _renew_later(self, driver: Driver) -> None:
        if self._store is not None:
            self._loop.call_later(LEASE_S / 3, self._renew, driver)

    def _renew(self, driver: Driver) -> None:
        if self._store is None or self._drivers.get(driver.run.job_id) is not driver:
            return
        until_s = self._clock.now() + LEASE_S
        renewed = self._store.renew(driver.run.job_id, driver.epoch, until_s)
        renewed.add_done_callback(driver.check_stored)
        self._renew_later(driver)

    def _ended(
        self, job_id: str, driver: Driver, done: Future[None], result: Future[JobResult]
    ) -> None:
        self._drivers.pop(job_id, None)
        if self._store is not None:
            self._store.release(job_id, driver.epoch)
        error = done.exception()
        if error is None:
            result.set_result(result_of(driver.log))
        else:
            result.set_exception(error)

    def _cancel(self, job_id: str) -> None:
        driver = self._drivers.get(job_id)
        if driver is not None:
            driver.safely(lambda: driver.advance(driver.run.cancel(self._clock.now())))

    def _emit(self, event: EngineEvent) -> None:
        # Called on an engine's thread. The time is taken here, not when the loop gets to it.
        self._on_loop(self._engine_event, event, self._clock.now())

    def _engine_event(self, event: EngineEvent, at_s: float) -> None:
        flight = self._around.requests.get(event.request_id)
        if flight is None:
            return
        if isinstance(event, Finished | RequestFailed):
            del self._around.requests[event.request_id]
            self._around.routing.end(flight.device)
        flight.driver.safely(flight.driver.on_engine, flight, event, at_s)

    def _on_loop(self, function: Callable[..., None], *args: Any) -> None:
        if self._loop.is_closed():
            return
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            return  # closed in between: nobody is left to tell

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _need_store(self) -> Store:
        if self._store is None:
            raise StoreError(
                "This executor keeps no jobs", next_step="Open it with a store to resume jobs."
            )
        return self._store


def fleet_ids(fleet: Fleet | None, backends: Mapping[str, Any]) -> list[str]:
    """Give the device ids work can be routed to."""
    named = [name for name in backends if "/" in name]
    known = {name.split("/", 1)[0] for name in named}
    rows = fleet.devices if fleet else ()
    return named + [name for row in rows if row.name not in known for name in row.ids]


def _interrupted(job_id: str) -> GanglineError:
    return JobError(
        f"Job {job_id} was interrupted",
        next_step=f"Continue it with: gangline jobs retry {job_id}",
    )


def _with_inputs(queued: Event, given: Mapping[str, Any]) -> Event:
    """Put secrets back into the inputs; InputError if one is missing."""
    inputs = {**queued.data["inputs"], **given}
    for name, value in inputs.items():
        if isinstance(value, str) and redacted(value):
            raise missing_secret(name)
    data = {**queued.data, "inputs": inputs}
    return Event(queued.job_id, queued.seq, queued.type, queued.at_s, "", data)
