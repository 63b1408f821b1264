"""`gangline.Client`: submit jobs to a server and follow them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import httpx

from gangline.ir.errors import GanglineError
from gangline.ir.specs.event import Event

from . import calls, wire
from .actions import Action, Emit, Events, Open, Pause, Read, Send, Steps
from .call import Failure
from .calls import Page
from .core import Core
from .job_body import job_body
from .job_handle import JobHandle
from .job_view import JobView
from .problems import failure_of
from .retry import RetryPolicy

if TYPE_CHECKING:
    from gangline.workflows.workflow import Workflow

T = TypeVar("T")


class Client:
    """Talk to a gangline server. Use as a context manager, or `close` it; threads may share one.

    Args:
        base_url: where the server is; otherwise GANGLINE_SERVER, otherwise this machine.
        api_key: otherwise GANGLINE_API_KEY, otherwise none.
        timeout: seconds one request may take.
        retries: when failed requests are sent again. Submits carry an idempotency key, so that
            sending one twice never makes two jobs.
        transport: what carries the requests, for tests (`gangline.runtime.client.testing`).

    Every method raises the GanglineError that the server tells, or ServiceError if it cannot
    be reached.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        retries: RetryPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(transport=transport, **wire.settings(base_url, api_key, timeout))
        self._core = Core(retries)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(
        self,
        workflow: Workflow[..., Any] | str,
        /,
        *,
        idempotency_key: str | None = None,
        wait: float | None = None,
        **given: Any,
    ) -> JobHandle:
        """Submit a job; keywords are the workflow's inputs, and options.

        Options: deadline (seconds), on_deadline ("late" or "expire"), budget_usd, priority (0
        to 9, higher is sooner), admit ("always" or "feasible"), model, metadata, webhook,
        job_id, and inputs (a mapping, for inputs that are named like an option).

        Args:
            idempotency_key: the same key with the same job gives the job there is; made up
                where it is absent.
            wait: seconds the server may hold its answer until the job has stopped.
        """
        call = calls.submit(job_body(workflow, given), idempotency_key, wait or 0.0)
        return JobHandle(self, self._run(self._core.exchange(call)), workflow)

    def batch(
        self,
        workflow: Workflow[..., Any] | str,
        inputs: Sequence[Mapping[str, Any]],
        *,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> list[JobHandle | GanglineError]:
        """Submit one job for each of `inputs` in one request; an error stands for a refused one."""
        bodies = [job_body(workflow, {**options, "inputs": one}) for one in inputs]
        made = self._run(self._core.exchange(calls.batch(bodies, idempotency_key)))
        return [
            one if isinstance(one, GanglineError) else JobHandle(self, one, workflow)
            for one in made
        ]

    def plan(self, workflow: Workflow[..., Any] | str, /, **given: Any) -> dict[str, Any]:
        """Ask what a job would take and cost, step by step, and whether it would be admitted."""
        return self._run(self._core.exchange(calls.plan(job_body(workflow, given))))

    def job(self, job_id: str) -> JobView:
        """Ask for a job as it is now."""
        return self._run(self._core.exchange(calls.job(job_id)))

    def handle(self, job_id: str) -> JobHandle:
        """Take up a job that was submitted before; NotFoundError if there is none."""
        return JobHandle(self, self.job(job_id))

    def wait(self, job_id: str, timeout: float | None = None) -> JobView:
        """Wait until a job has stopped, at most `timeout` seconds; gives the job as it then is."""
        return self._run(self._core.wait(job_id, timeout))

    def jobs(
        self,
        *,
        status: str | None = None,
        workflow: str | None = None,
        created_after: float | None = None,
        created_before: float | None = None,
        limit: int | None = None,
        after: str = "",
    ) -> Iterator[JobView]:
        """Iterate over jobs, the newest first; pages are asked for as they are needed."""
        filters = {
            "status": status,
            "workflow": workflow,
            "created_after": created_after,
            "created_before": created_before,
        }
        return self._iterate(self._core.jobs(filters, after, limit))

    def page(self, *, limit: int = 50, after: str = "", **filters: Any) -> Page:
        """Ask for one page of jobs; filters as for `jobs`."""
        return self._run(self._core.exchange(calls.jobs(filters, limit, after)))

    def steps(self, job_id: str) -> list[dict[str, Any]]:
        """Ask for a job's step records."""
        return self._run(self._core.exchange(calls.steps(job_id)))

    def events(self, job_id: str, after: int = 0, *, to_end: bool = True) -> Iterator[Event]:
        """Follow a job's events behind the number `after`, until the job has ended.

        Durable events come exactly once and in order, also over a line that breaks. With
        `to_end` False the iterator also ends where the job waits for a person.
        """
        return self._iterate(self._core.events(job_id, after, to_end=to_end))

    def about(self, job_id: str, what: Literal["plan", "graph", "artifacts"]) -> Mapping[str, Any]:
        """Ask for a job's plan against what happened, its graph, or what it made."""
        return self._run(self._core.exchange(calls.about(job_id, what)))

    def cancel(self, job_id: str) -> JobView:
        """Cancel a job; ConflictError if it has ended in another way."""
        return self._run(self._core.cancel(job_id))

    def resume(self, job_id: str, interrupt: str, value: Any) -> JobView:
        """Answer the question a job waits for; RequestError if the value does not fit it."""
        return self._run(self._core.exchange(calls.resume(job_id, interrupt, value)))

    def retry(
        self,
        job_id: str,
        *,
        step: str | None = None,
        rerun: Sequence[str] = (),
        inputs: Mapping[str, Any] | None = None,
    ) -> JobView:
        """Go on with a job that stopped; what is recorded is not run again.

        Args:
            step: run this step and all that comes after it anew.
            rerun: writing steps that were in flight and may run a second time.
            inputs: values for inputs whose secrets were not stored.
        """
        call = calls.retry(job_id, step, rerun, inputs or {})
        return self._run(self._core.exchange(call))

    def fork(
        self,
        job_id: str,
        step: str,
        *,
        inputs: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> JobHandle:
        """Make a new job from this one's results up to `step`; `inputs` replace its inputs."""
        call = calls.fork(job_id, step, inputs or {}, idempotency_key)
        return JobHandle(self, self._run(self._core.exchange(call)))

    def workflows(self) -> list[dict[str, Any]]:
        """Ask which workflows the server has registered."""
        return self._run(self._core.exchange(calls.listed("/v1/workflows")))

    def workflow(self, name: str) -> dict[str, Any]:
        """Ask for one workflow: its inputs with their types, its deadline and budget."""
        return self._run(self._core.exchange(calls.workflow(name)))

    def devices(self) -> list[dict[str, Any]]:
        """Ask for the server's devices, with their queues and use."""
        return self._run(self._core.exchange(calls.listed("/v1/devices")))

    def capacity(self) -> dict[str, Any]:
        """Ask how much room the server has."""
        return self._run(self._core.exchange(calls.document("/v1/capacity")))

    def _run(self, steps: Steps[T]) -> T:
        with _Line(self._http) as line:
            outcome: Any = None
            while True:
                try:
                    action = steps.send(outcome)
                except StopIteration as done:
                    value: T = done.value
                    return value
                outcome = line.perform(action)

    def _iterate(self, steps: Events) -> Iterator[Any]:
        with _Line(self._http) as line:
            outcome: Any = None
            while True:
                try:
                    action = steps.send(outcome)
                except StopIteration:
                    return
                if isinstance(action, Emit):
                    yield action.value
                    outcome = None
                else:
                    outcome = line.perform(action)


class _Line:
    """Carry actions out over httpx; holds the stream that is open."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._pieces: Iterator[bytes] = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hang_up()

    def perform(self, action: Action) -> Any:
        """Carry out one action and give its outcome; a failed exchange is an outcome too."""
        try:
            match action:
                case Send():
                    return wire.reply(self._http.send(self._built(action)))
                case Open():
                    return self._open(action)
                case Read():
                    return next(self._pieces, None)
                case Pause(seconds):
                    time.sleep(seconds)
        except httpx.HTTPError as error:
            return wire.failure(error, str(self._http.base_url))
        return None

    def _built(self, action: Send | Open) -> httpx.Request:
        stream = isinstance(action, Open)
        return self._http.build_request(
            **wire.sent(action.request, self._http.timeout, stream=stream)
        )

    def _open(self, action: Open) -> Failure | None:
        self._hang_up()
        self._response = self._http.send(self._built(action), stream=True)
        if self._response.is_success:
            self._pieces = self._response.iter_bytes()
            return None
        self._response.read()
        return failure_of(wire.reply(self._response))

    def _hang_up(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None
