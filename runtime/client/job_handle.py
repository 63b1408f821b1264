"""A submitted job in a caller's hands: wait for it, follow it, steer it, take its result."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from gangline.ir.errors import JobError
from gangline.ir.specs.event import Event

from .job_view import JobView

if TYPE_CHECKING:
    from gangline.workflows.workflow import Workflow

    from .asynchronous import AsyncClient
    from .sync import Client


def output_of(job: JobView, workflow: Workflow[..., Any] | str | None) -> Any:
    """Give a job's output as the workflow's return type, or raise why there is none."""
    if not job.stopped:
        raise JobError(
            f"The job is still {job.status}",
            where=job.id,
            next_step="Wait longer, or cancel it.",
        )
    error = job.exception()
    if error is not None:
        raise error
    if workflow is None or isinstance(workflow, str):
        return job.output
    from gangline.workflows.hints import adapter

    return adapter(workflow.returns).validate_python(job.output)


class JobHandle:
    """A job of a `Client`. `last` is how it was when the server was last asked."""

    def __init__(
        self, client: Client, job: JobView, workflow: Workflow[..., Any] | str | None = None
    ) -> None:
        self.last = job
        self._client = client
        self._workflow = workflow

    def __repr__(self) -> str:
        return f"<job {self.id} ({self.last.status})>"

    @property
    def id(self) -> str:
        """The job's id."""
        return self.last.id

    def job(self) -> JobView:
        """Ask how the job is now."""
        self.last = self._client.job(self.id)
        return self.last

    def wait(self, timeout: float | None = None) -> JobView:
        """Wait until the job has stopped, at most `timeout` seconds; gives it as it then is."""
        if not self.last.stopped:
            self.last = self._client.wait(self.id, timeout)
        return self.last

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the output; raises why there is none, JobError if it is not there in time."""
        return output_of(self.wait(timeout), self._workflow)

    def events(self, after: int = 0, *, to_end: bool = True) -> Iterator[Event]:
        """Follow the job's events; see `Client.events`."""
        return self._client.events(self.id, after, to_end=to_end)

    def steps(self) -> list[dict[str, Any]]:
        """Ask for the job's step records."""
        return self._client.steps(self.id)

    def cancel(self) -> JobView:
        """Cancel the job; ConflictError if it has ended."""
        self.last = self._client.cancel(self.id)
        return self.last

    def resume(self, interrupt: str, value: Any) -> JobView:
        """Answer the question the job waits for."""
        self.last = self._client.resume(self.id, interrupt, value)
        return self.last


class AsyncJobHandle:
    """A job of an `AsyncClient`. `last` is how it was when the server was last asked."""

    def __init__(
        self, client: AsyncClient, job: JobView, workflow: Workflow[..., Any] | str | None = None
    ) -> None:
        self.last = job
        self._client = client
        self._workflow = workflow

    def __repr__(self) -> str:
        return f"<job {self.id} ({self.last.status})>"

    @property
    def id(self) -> str:
        """The job's id."""
        return self.last.id

    async def job(self) -> JobView:
        """Ask how the job is now."""
        self.last = await self._client.job(self.id)
        return self.last

    async def wait(self, timeout: float | None = None) -> JobView:
        """Wait until the job has stopped, at most `timeout` seconds; gives it as it then is."""
        if not self.last.stopped:
            self.last = await self._client.wait(self.id, timeout)
        return self.last

    async def result(self, timeout: float | None = None) -> Any:
        """Wait for the output; raises why there is none, JobError if it is not there in time."""
        return output_of(await self.wait(timeout), self._workflow)

    def events(self, after: int = 0, *, to_end: bool = True) -> AsyncIterator[Event]:
        """Follow the job's events; see `AsyncClient.events`."""
        return self._client.events(self.id, after, to_end=to_end)

    async def steps(self) -> list[dict[str, Any]]:
        """Ask for the job's step records."""
        return await self._client.steps(self.id)

    async def cancel(self) -> JobView:
        """Cancel the job; ConflictError if it has ended."""
        self.last = await self._client.cancel(self.id)
        return self.last

    async def resume(self, interrupt: str, value: Any) -> JobView:
        """Answer the question the job waits for."""
        self.last = await self._client.resume(self.id, interrupt, value)
        return self.last
