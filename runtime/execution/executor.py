"""The thin shell around the dispatcher: threads, engines, timers and the store.

One event loop carries all jobs: its own, on a thread of its own, or a server's. Tools run on
worker threads (async tools on the loop), engines answer from theirs.

From other threads, use `run` (waits), `submit` (gives a future), `resume` and `cancel`, any number
at once. On the loop, a service uses `start_job`, `drop`, `update_deadline` and `cancel`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any, Self

from gangline.backends.base import Backend
from gangline.ir.errors import ConflictError, GanglineError, JobError, StoreError
from gangline.ir.specs.event import Event
from gangline.ir.specs.fleet import Fleet
from gangline.ir.specs.request import EngineEvent, Finished, RequestFailed
from gangline.runtime.clock import Clock, WallClock
from gangline.runtime.dispatch.commands import Step
from gangline.runtime.dispatch.fork import retry_from
from gangline.runtime.dispatch.job import Job, JobResult, result_of, with_inputs
from gangline.runtime.dispatch.job_run import JobRun
from gangline.runtime.dispatch.prefixes import Wanted
from gangline.runtime.dispatch.pricing import Pricing
from gangline.runtime.dispatch.routing import LeastLoaded
from gangline.runtime.job_id import new_job_id
from gangline.runtime.store import Store
from gangline.runtime.store.owner import owner_name

from .direct_requests import DirectRequests
from .driver import Driver, OnDone
from .loops import new_loop
from .mailbox import Mailbox
from .own_lease import OwnLease
from .surroundings import OnEvent, Publish, Surroundings
from .timeouts import Timeouts
from .tool_table import FindTool, mismatch
from .workers import Workers

PAGE = 1_000
"""Events of a long job that are read from the store at once."""


class Executor:
    """Run jobs on a fleet's backends.

    Args:
        backends: by device id (`cpu/0`) or device name; started here, closed by `close`.
        find_tool: gives a registered tool by name, or None.
        store: where events go; None keeps them in memory only.
        clock: gives seconds since the epoch; engines should be built on the same clock.
        loop: the loop to live on; None makes one, on a thread of its own. With one, call
            `start` on it before the first job, and `aclose` at the end.
        publish: called on the loop with events of jobs, per job in order, once they are on
            disk (without a store: at once), and with `step.delta` events (seq 0) at once.

    Attributes:
        owner: the name under which this executor holds jobs in the store.
        store: where events go, or None.
        direct: for requests to the engines that belong to no job; to be used on the loop.
    """

    def __init__(
        self,
        backends: Mapping[str, Backend],
        find_tool: FindTool,
        *,
        fleet: Fleet | None = None,
        store: Store | None = None,
        clock: Clock | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        publish: Publish | None = None,
    ) -> None:
        self.owner = owner_name()
        self._clock = clock or WallClock()
        self._pricing = Pricing(fleet)
        self.store = store
        self._closed = False
        self._loop = loop or new_loop()
        self._mailbox = Mailbox(self._loop)
        ids = fleet_ids(fleet, backends)
        self._around = Surroundings(
            loop=self._loop,
            mailbox=self._mailbox,
            clock=self._clock,
            backends=backends,
            routing=LeastLoaded(ids),
            workers=Workers(),
            timeouts=Timeouts(self._loop),
            find_tool=find_tool,
            store=store,
            publish=publish,
            owns_loop=loop is None,
        )
        self._drivers = self._around.drivers
        self.direct = DirectRequests(self._around, self._pricing)
        self._lease = OwnLease(store, self.owner, self._around, self._drivers) if store else None
        for backend in dict.fromkeys(backends.values()):
            backend.start(self._emit)
        self._thread: threading.Thread | None = None
        if loop is None:
            self._thread = threading.Thread(target=self._serve, name="gangline-loop", daemon=True)
            self._thread.start()
            self._mailbox.post(self._begin)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # From other threads -------------------------------------------------------------------

    def run(self, job: Job, on_event: OnEvent | None = None) -> JobResult:
        """Run a job and wait for it. Ctrl-C leaves it in the store, to be continued.

        The KeyboardInterrupt has a JobError as its cause, which says how.
        """
        return self._wait(self.submit(job, on_event))

    def submit(self, job: Job, on_event: OnEvent | None = None) -> Future[JobResult]:
        """Queue a job; the future gives its result, whatever its status."""
        job_id = new_job_id(self._clock.now())
        data = job.to_event_data(as_json=False)

        def begin(on_done: OnDone) -> None:
            driver = self._driver(job_id, 1, on_done, on_event)
            driver.safely(self._create, driver, job.workflow, data)

        return self._launch(begin)

    def resume(
        self,
        job_id: str,
        *,
        inputs: Mapping[str, Any] | None = None,
        rerun: frozenset[str] = frozenset(),
        from_step: str = "",
        answers: Mapping[str, Any] | None = None,
        on_event: OnEvent | None = None,
    ) -> JobResult:
        """Continue a stored job: recorded steps are not run again.

        Args:
            inputs: values for inputs whose secrets were not stored (database passwords).
            rerun: ids of writing steps that a person has confirmed may run again.
            from_step: a step to run again, with all that came after it (see `fork.retry_from`).
            answers: to the job's questions, by the id of the interrupt (see `JobRun.answer`).
        """
        store = self._need_store()
        events = store.events(job_id)
        if not events:
            store.job(job_id)
        if result_of(events).status == "succeeded" and not (from_step or answers):
            return result_of(events)
        events[0] = with_inputs(events[0], inputs or {})
        assert self._lease is not None
        epoch = self._lease.acquire(job_id)
        events.extend(store.events(job_id, after=events[-1].seq))

        def begin(on_done: OnDone) -> None:
            data: dict[str, Any] = {"rerun": sorted(rerun), "answers": dict(answers or {})}
            if from_step:
                data.update(retry_from(events, from_step, rerun))
            self._continue(job_id, epoch, events, on_done, on_event, data)

        return self._wait(self._launch(begin))

    def answer(self, job_id: str, interrupt: str, value: Any) -> None:
        """Answer a question of a job that runs here, from another thread; raises if it cannot be.

        Raises:
            ConflictError: the job does not run here, or does not ask this.
            InputError: the value does not fit the question's schema.
        """
        taken: Future[None] = Future()

        def take() -> None:
            try:
                self.take_answer(job_id, interrupt, value)
            except Exception as error:  # noqa: BLE001 (goes to the caller)
                taken.set_exception(error)
            else:
                taken.set_result(None)

        self._mailbox.post(take)
        taken.result()

    def take_answer(self, job_id: str, interrupt: str, value: Any) -> None:
        """Answer a question of a job that runs here; raises as `answer`. On the loop only."""
        driver = self._drivers.get(job_id)
        if driver is None:
            raise ConflictError(
                f"Job {job_id} does not run here",
                where=f"job {job_id}",
                next_step="Resume it with the answer.",
            )
        driver.answer(interrupt, value)

    def cancel(self, job_id: str) -> None:
        """Cancel a job that this executor runs; nothing happens if it has ended."""
        self._mailbox.post(self._cancel, job_id)

    def interrupt(self) -> None:
        """Stop all jobs without ending them, so that they can be continued from the store."""
        done = threading.Event()

        def stop() -> None:
            self._drop_all()
            done.set()

        if not self._loop.is_closed():
            self._mailbox.post(stop)
            done.wait(timeout=10.0)
        if self.store is not None:
            self.store.flush()

    def close(self) -> None:
        """Leave running jobs as they are stored, close the backends and end the loop."""
        if self._closed:
            return
        self._closed = True
        with ExitStack() as closing:  # every part is closed, even after another one's fault
            closing.callback(self._end_loop)
            self._close_parts(closing)
            closing.callback(self.interrupt)

    # On the loop --------------------------------------------------------------------------

    @property
    def running(self) -> Mapping[str, Driver]:
        """The jobs carried now, by id; to be read on the loop."""
        return self._drivers

    def load(self, device_id: str) -> int:
        """Count the engine requests in flight on a device; to be read on the loop."""
        return self._around.routing.load(device_id)

    async def start(self) -> None:
        """Begin to live on the running loop, which must be the one given."""
        self._begin()

    async def aclose(self) -> None:
        """Leave running jobs as they are stored, and close the backends; the loop goes on."""
        if self._closed:
            return
        self._closed = True
        self._drop_all()
        await asyncio.to_thread(self._close_all)

    def start_job(
        self,
        job_id: str,
        epoch: int,
        events: Sequence[Event],
        on_done: OnDone,
        *,
        on_event: OnEvent | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Run a job that the store holds already and that is leased to `owner`. On the loop only.

        Args:
            epoch: of the lease.
            events: all its events so far, from job.queued on; recorded steps are not run again.
            on_done: called once, on the loop, when the job stopped (succeeded, failed, waits for
                a person, ...) and that is on disk, or with the error for which it is left as it
                is stored. `driver.run.dispatcher.status` tells how it stopped. May be called
                before this returns.
            data: of the job.started event: `rerun` (ids of writing steps that may run again),
                `deadline_s`, `budget_usd`.
        """
        if len(events) == 1:
            driver = self._driver(job_id, epoch, on_done, on_event, keeps_log=False)
            driver.run.replay(events)
            driver.safely(self._start, driver, data or {})
        else:
            self._continue(job_id, epoch, events, on_done, on_event, data or {}, keeps_log=False)

    def drop(self, job_id: str, error: BaseException | None = None) -> None:
        """Leave a job as it is stored, and give its lease back. On the loop only."""
        driver = self._drivers.get(job_id)
        if driver is not None:
            driver.abort(error or _interrupted(job_id))

    def update_deadline(self, job_id: str, deadline_at_s: float) -> None:
        """Give a running job another deadline, in seconds since the epoch. On the loop only."""
        driver = self._drivers.get(job_id)
        if driver is not None:
            driver.safely(driver.hurry, deadline_at_s)

    # --------------------------------------------------------------------------------------

    def on_lapse(self, told: Callable[[Mapping[str, int]], object]) -> None:
        """Have `told` called on the loop when the lease had run out, with the jobs that are ours
        still, by their epochs."""
        if self._lease is not None:
            self._lease.on_lapse = told

    def release(self, job_id: str, epoch: int) -> None:
        """Give a job's lease back, however often the store must be asked."""
        if self._lease is not None:
            self._lease.release(job_id, epoch)

    def _begin(self) -> None:
        if self._lease is not None:
            self._lease.begin()

    def _wait(self, future: Future[JobResult]) -> JobResult:
        try:
            return future.result()
        except KeyboardInterrupt:
            self.interrupt()
            raise KeyboardInterrupt from future.exception() if future.done() else None

    def _launch(self, begin: Callable[[OnDone], None]) -> Future[JobResult]:
        """Begin a job on the loop; its result comes as a future."""
        result: Future[JobResult] = Future()

        def ended(driver: Driver, error: BaseException | None) -> None:
            if error is not None:
                result.set_exception(error)
            elif driver.journal.log is not None:
                result.set_result(result_of(driver.journal.log))
            else:
                self._loop.run_in_executor(None, self._read_result, driver.job_id, result)

        def launch() -> None:
            try:
                begin(ended)
            except Exception as error:  # noqa: BLE001 (goes to the caller)
                if not result.done():
                    result.set_exception(error)

        self._mailbox.post(launch)
        return result

    def _read_result(self, job_id: str, result: Future[JobResult]) -> None:
        """Fold a long job's result from the store, off the loop."""
        try:
            result.set_result(result_of(_pages(self._need_store(), job_id)))
        except Exception as error:  # noqa: BLE001 (goes to the caller)
            result.set_exception(error)

    def _continue(
        self,
        job_id: str,
        epoch: int,
        events: Sequence[Event],
        on_done: OnDone,
        on_event: OnEvent | None,
        data: Mapping[str, Any],
        keeps_log: bool = True,
    ) -> None:
        driver = self._driver(job_id, epoch, on_done, on_event, keeps_log)
        driver.run.replay(events, data.get("dropped", ()))
        driver.journal.keep(events)
        driver.safely(self._start, driver, {"resumed": True, "rerun": [], **data})

    def _create(self, driver: Driver, workflow: str, data: Mapping[str, Any]) -> None:
        now = self._clock.now()
        driver.begin(driver.run.queue(data, now), workflow, self.owner)
        driver.advance(driver.run.start(now))

    def _start(self, driver: Driver, data: Mapping[str, Any]) -> None:
        driver.advance(driver.run.start(self._clock.now(), data))

    def _driver(
        self,
        job_id: str,
        epoch: int,
        on_done: OnDone,
        on_event: OnEvent | None,
        keeps_log: bool = True,
    ) -> Driver:
        run = JobRun(job_id, self._pricing, self._check, self._route)

        def done(driver: Driver, error: BaseException | None) -> None:
            self._drivers.pop(job_id, None)
            self._around.routing.forget(job_id)
            if self._lease is not None and error is not None:
                # A job that stopped is nobody's: the store sees to that with its last event.
                self._lease.release(job_id, epoch)
            on_done(driver, error)

        driver = Driver(run, self._around, epoch, done, on_event, keeps_log)
        self._drivers[job_id] = driver
        return driver

    def _check(self, command: Any) -> JobError | None:
        return mismatch(self._around.find_tool, command)

    def _route(self, step: Step, want: Wanted | None) -> str:
        return self._around.routing.pick(step.device, want)

    def _cancel(self, job_id: str) -> None:
        driver = self._drivers.get(job_id)
        if driver is not None:
            driver.safely(driver.cancel)

    def _drop_all(self) -> None:
        for driver in list(self._drivers.values()):
            driver.abort(_interrupted(driver.job_id))

    def _close_all(self) -> None:
        with ExitStack() as closing:
            self._close_parts(closing)
            if self.store is not None:
                closing.callback(self.store.flush)

    def _close_parts(self, closing: ExitStack) -> None:
        closing.callback(self._around.workers.close)
        for backend in dict.fromkeys(self._around.backends.values()):
            closing.callback(backend.close)
        if self._lease is not None:
            closing.callback(self._lease.close)

    def _end_loop(self) -> None:
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _emit(self, event: EngineEvent) -> None:
        # Called on an engine's thread. The time is taken here, not when the loop gets to it.
        self._mailbox.post(self._engine_event, event, self._clock.now())

    def _engine_event(self, event: EngineEvent, at_s: float) -> None:
        flight = self._around.requests.get(event.request_id)
        if flight is None:
            self.direct.take(event, at_s)
            return
        if isinstance(event, Finished | RequestFailed):
            del self._around.requests[event.request_id]
            self._around.routing.end(flight.device, event.request_id)
        flight.driver.safely(flight.driver.on_engine, flight, event, at_s)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _need_store(self) -> Store:
        if self.store is None:
            raise StoreError(
                "This executor keeps no jobs", next_step="Open it with a store to resume jobs."
            )
        return self.store


def fleet_ids(fleet: Fleet | None, backends: Mapping[str, Any]) -> list[str]:
    """Give the device ids work can be routed to."""
    named = [name for name in backends if "/" in name]
    known = {name.split("/", 1)[0] for name in named}
    rows = fleet.devices if fleet else ()
    return named + [name for row in rows if row.name not in known for name in row.ids]


def _pages(store: Store, job_id: str) -> Iterator[Event]:
    """Read a job's events without holding all of them at once."""
    after = 0
    while page := store.events(job_id, after, PAGE):
        yield from page
        after = page[-1].seq


def _interrupted(job_id: str) -> GanglineError:
    return JobError(
        f"Job {job_id} was interrupted",
        next_step=f"Continue it with: gangline jobs retry {job_id}",
    )
