"""What a client does, without I/O: retries, waiting, pages, and events that survive a broken line.

Each method is a generator of actions (`actions.py`); the sync and the async client carry the
same actions out, so that there is one place for every rule.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from gangline.ir.errors import ConflictError, GanglineError, ServiceError
from gangline.ir.specs.event import END_EVENTS, Event

from . import calls
from .actions import Emit, Events, Open, Pause, Read, Send, Steps
from .call import Call, Failure, Reply
from .job_view import JobView
from .problems import failure_of
from .retry import RetryPolicy
from .sse import Message, SseParser

T = TypeVar("T")

LONG_POLL_S = 20.0
"""How long one request may wait for a job to stop; proxies commonly cut at 30 s or 60 s."""
PAGE = 100
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 1.0


class Core:
    """The rules of talking to a server.

    Args:
        draw: gives random numbers in [0, 1), for jitter.
        now: seconds on a clock that never jumps.
    """

    def __init__(
        self,
        retries: RetryPolicy | None = None,
        draw: Callable[[], float] = random.random,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._retries = retries or RetryPolicy()
        self._draw = draw
        self._now = now

    def exchange(self, call: Call[T], *, patient: bool = False) -> Steps[T]:
        """Send a request until it is served, refused for good, or not worth another try."""
        attempt = 0
        while True:
            attempt += 1
            outcome: Reply | Failure = yield Send(call.request)
            if isinstance(outcome, Reply) and outcome.status < 300:
                return call.read(outcome)
            failure = failure_of(outcome) if isinstance(outcome, Reply) else outcome
            yield self._pause(failure, attempt, call.repeatable, patient)

    def cancel(self, job_id: str) -> Steps[JobView]:
        """Cancel a job; one that is cancelled already is as good."""
        try:
            return (yield from self.exchange(calls.cancel(job_id)))
        except ConflictError:
            job = yield from self.exchange(calls.job(job_id))
            if job.status != "cancelled":
                raise
            return job

    def wait(
        self, job_id: str, timeout: float | None, known: JobView | None = None
    ) -> Steps[JobView]:
        """Wait until a job has stopped, or for `timeout` seconds; gives the job as it then is."""
        until = None if timeout is None else self._now() + timeout
        pause_s, job = _FIRST_PAUSE_S, known
        while job is None or not job.stopped:
            left_s = LONG_POLL_S if until is None else min(LONG_POLL_S, until - self._now())
            if job is not None and left_s <= 0:
                break
            asked_s = self._now()
            job = yield from self.exchange(calls.job(job_id, max(0.0, left_s)), patient=True)
            # A server that does not wait is asked again, less and less often.
            if not job.stopped and self._now() - asked_s < left_s / 2:
                yield Pause(min(pause_s, left_s))
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        return job

    def jobs(self, filters: Mapping[str, Any], after: str, limit: int | None) -> Events:
        """Emit jobs, the newest first, asking for the next page only when it is wanted."""
        left = limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = yield from self.exchange(calls.jobs(filters, size, after))
            for job in page.jobs[:left]:
                yield Emit(job)
            left = None if left is None else left - len(page.jobs)
            if not page.next:
                return
            after = page.next

    def events(self, job_id: str, after: int = 0, *, to_end: bool = True) -> Events:
        """Emit a job's events behind the number `after` until the job has ended.

        Durable events come exactly once and in order, whatever happens to the line. Deltas
        (number 0) are shown as they come; those of a broken line are lost.

        Args:
            to_end: go on where the job waits for a person; otherwise end there.
        """
        last, ended, attempt = after, False, 0
        # Invariant: all durable events up to `last` have been emitted, and none behind it;
        # `ended` says whether that one ended the job. `attempt` counts lines since then.
        while True:
            attempt += 1
            failure: Failure | None = yield Open(calls.events(job_id, last))
            parser = SseParser()
            while failure is None:
                piece: bytes | Failure | None = yield Read()
                if isinstance(piece, Failure):
                    failure = piece
                    break
                if piece is None:
                    if ended:
                        return
                    failure = _cut()
                    break
                for event in read_events(parser.feed(piece)):
                    if 0 < event.seq <= last:
                        continue
                    if event.seq > last + 1:
                        failure = _cut()  # a hole: ask again for what is missing
                        break
                    if event.seq:
                        last, ended, attempt = event.seq, event.type in END_EVENTS, 0
                    yield Emit(event)
                    if event.type == "job.input_required" and not to_end:
                        job = yield from self.exchange(calls.job(job_id))
                        if job.stopped:
                            return
            yield self._pause(failure, max(1, attempt), True, True)

    def _pause(self, failure: Failure, attempt: int, repeatable: bool, patient: bool) -> Pause:
        """Give the pause before the next attempt, or raise what went wrong."""
        delay = self._retries.delay(
            failure, attempt, self._draw(), repeatable=repeatable, patient=patient
        )
        if delay is None:
            raise failure.error
        return Pause(delay)


def read_events(messages: Iterable[Message]) -> Iterator[Event]:
    """Read the messages of a stream; what is no event of a job is left out."""
    for message in messages:
        try:
            data = json.loads(message.data)
        except ValueError:
            data = None
        if message.event == "error":
            raise _told(data)
        if isinstance(data, Mapping) and isinstance(data.get("type"), str):
            yield Event(
                job_id=str(data.get("job_id", "")),
                seq=int(data.get("seq") or 0),
                type=data["type"],
                at_s=float(data.get("at_s") or 0.0),
                step_id=str(data.get("step_id") or ""),
                data=data.get("data") or {},
            )


def _told(problem: Any) -> GanglineError:
    return failure_of(Reply(500, {}, problem)).error


def _cut() -> Failure:
    error = ServiceError(
        "The stream of events ended before the job did",
        next_step="Ask for the events again; none is lost.",
    )
    return Failure(error, transient=True)
