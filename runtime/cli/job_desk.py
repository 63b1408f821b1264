"""Where `gangline jobs` finds jobs: on a server, or in the store of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from gangline.ir.specs.event import Event
from gangline.ir.specs.policy import Grant, Policy

SERVER = "GANGLINE_SERVER"
STARTED = frozenset({"queued", "running"})

OnEvent = Callable[[Event], None]
Document = dict[str, Any]
"""A job as `docs/schemas/job_result.json` describes it."""


@dataclass(frozen=True, slots=True)
class Order:
    """A job to submit, as it was typed. `deadline_s` is seconds from now."""

    workflow: str
    pairs: Sequence[str] = ()
    input_json: str | None = None
    deadline_s: float | None = None
    on_deadline: str = "late"
    budget_usd: float | None = None
    priority: int = 5
    model: str | None = None
    fleet: str | None = None
    idempotency_key: str | None = None
    policy: Policy | None = None
    grants: Sequence[Grant] = ()


class JobDesk(Protocol):
    """Jobs somewhere. A `job` is an id, or a unique beginning or end of one.

    What begins or goes on with a job gives its document: the local desk once the job has
    stopped, unless it was only stored; a server's at once.
    """

    follows: bool
    """Whether the jobs run elsewhere, so that one may watch them."""

    def __enter__(self) -> Self:
        """Begin; leaving closes what was opened."""

    def __exit__(self, *_: object) -> None:
        """Close what was opened."""

    def submit(self, order: Order, on_event: OnEvent | None) -> Document:
        """Submit a job; without `on_event` nobody waits for it."""

    def list(self, limit: int, after: str | None, status: str | None) -> Document:
        """Give one page of jobs (docs/schemas/jobs.json)."""

    def show(self, job: str) -> Document:
        """Give a job."""

    def follow(self, job: str) -> Iterator[Event]:
        """Give the job's events from its beginning until it has stopped."""

    def cancel(self, job: str) -> Document:
        """End a job; gives its id and status."""

    def retry(
        self,
        job: str,
        inputs: Mapping[str, Any],
        rerun: Sequence[str],
        step: str | None,
        on_event: OnEvent,
    ) -> Document:
        """Go on with a job that stopped."""

    def resume(self, job: str, interrupt: str, answer: str, on_event: OnEvent) -> Document:
        """Answer what a job asks, and go on with it."""

    def fork(self, job: str, step: str, inputs: Mapping[str, Any], on_event: OnEvent) -> Document:
        """Run a new job from before a step of a job."""


def open_desk(server: str | None, fleet: str | None = None) -> JobDesk:
    """Give the desk of a server (or of GANGLINE_SERVER), or this machine's own."""
    address = server or os.environ.get(SERVER)
    if address:
        from .remote_desk import RemoteDesk

        return RemoteDesk(address)
    from .local_desk import LocalDesk

    return LocalDesk(fleet)
