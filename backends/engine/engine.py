"""The engine loop: schedule, execute, update, on one thread that messages are queued to."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Iterable

from gangline.backends.base import Emit, EngineLoad, ModelRunner, SchedulerOutput
from gangline.ir.errors import BackendError
from gangline.ir.specs.request import EngineEvent, EngineMessage, Shutdown

from .config import SchedulerConfig
from .core import EngineCore, as_gangline

logger = logging.getLogger(__name__)

MAX_FAILED_STEPS = 3
"""After so many failed steps in a row the device counts as broken, not the requests."""


class Engine:
    """Runs one model. `send` may be called from any thread, all else from one only.

    Args:
        runner: the model; closed when `run` ends.
        clock: seconds on the clock that deadlines are on.
        emit: gets every event, on the thread that runs the engine.
    """

    def __init__(
        self,
        runner: ModelRunner,
        clock: Callable[[], float],
        emit: Emit,
        config: SchedulerConfig | None = None,
        inbox: queue.SimpleQueue[EngineMessage] | None = None,
    ) -> None:
        self.runner = runner
        self.core = EngineCore(runner, config or SchedulerConfig())
        self._clock = clock
        self._emit = emit
        self._inbox = inbox or queue.SimpleQueue()
        self._num_failed_steps = 0
        self._busy_s = 0.0

    @property
    def load(self) -> EngineLoad:
        """Give what the engine does now; from any thread, each figure for itself."""
        scheduler = self.core.scheduler
        running, blocks = scheduler.num_running, self.runner.num_blocks
        return EngineLoad(
            model="",
            running=running,
            waiting=max(0, scheduler.num_unfinished - running),
            kv_used=1.0 - scheduler.blocks.num_free / blocks if blocks else 0.0,
            busy_s=self._busy_s,
        )

    def send(self, message: EngineMessage) -> None:
        """Queue a message; it is taken in before the next step."""
        self._inbox.put(message)

    def run(self) -> None:
        """Work until `Shutdown`; while nothing is in flight, sleep in the queue."""
        try:
            while self.take_messages(wait=True):
                self.step()
        except BaseException as error:  # whatever ends this thread, nobody may wait for it
            self._fail(self.core.request_ids(), error)
            raise
        finally:
            self.runner.close()

    def take_messages(self, *, wait: bool = False) -> bool:
        """Take in what is queued; with `wait`, block while there is nothing to do.

        Returns:
            False after `Shutdown`; what was queued behind it has got its answer too.
        """
        goes_on = True
        while True:
            try:
                idle = wait and goes_on and not self.core.has_work
                message = self._inbox.get(block=idle)
            except queue.Empty:
                return goes_on
            self._send_events(self.core.handle(message, self._clock()))
            if isinstance(message, Shutdown):
                goes_on = False
            elif not goes_on:
                self._send_events(self.core.handle(Shutdown(), self._clock()))

    def step(self) -> None:
        """Do one step; a failure ends the requests it concerns, never the engine."""
        output = SchedulerOutput()
        try:
            begin_s = self._clock()
            output = self.core.schedule(begin_s)
            if not output.scheduled:
                self._check_idle()
                return
            sampled = self.runner.execute(output)
            end_s = self._clock()
            self._busy_s += end_s - begin_s
            self._send_events(self.core.update(output, sampled, begin_s, [end_s]))
            self._num_failed_steps = 0
        except Exception as error:
            logger.exception("an engine step failed")
            self._fail_step(output, error)

    def _check_idle(self) -> None:
        if self.core.has_work:
            raise BackendError("The scheduler has requests in flight but schedules none")

    def _fail_step(self, output: SchedulerOutput, error: Exception) -> None:
        self._num_failed_steps += 1
        concerned = [entry.request_id for entry in output.scheduled]
        if not concerned or self._num_failed_steps >= MAX_FAILED_STEPS:
            concerned = list(self.core.request_ids())
        self._fail(concerned, error)

    def _fail(self, request_ids: Iterable[str], error: BaseException) -> None:
        failure = BackendError(
            f"An engine step failed: {as_gangline(error).detail}",
            where="engine",
            next_step="Submit the request again; if that fails too, see the log of the engine.",
        )
        self._send_events(self.core.fail(request_ids, failure, self._clock()))

    def _send_events(self, events: Iterable[EngineEvent]) -> None:
        for event in events:
            try:
                self._emit(event)
            except Exception:
                # The receiver's mistake must not cost other requests their results.
                logger.exception("an event could not be delivered")
