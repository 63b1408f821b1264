"""Accept jobs: check, plan, admit, and make the job that the store will hold.

The hot path of a server. What is alike for many jobs is made once: the compiled program, the
plan, the adapters of the inputs, and most of the first event's data.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gangline.ir.errors import (
    AdmissionError,
    ConfigError,
    ConflictError,
    RequestError,
    TooLargeError,
)
from gangline.ir.specs.event import Event
from gangline.ir.specs.plan import Plan
from gangline.ir.specs.policy import Grant, Policy
from gangline.runtime.clock import Clock
from gangline.runtime.dispatch.job import Job, policy_data
from gangline.runtime.job_id import new_job_id
from gangline.runtime.job_policy import allowed, checked, narrowed
from gangline.runtime.redact import redact
from gangline.runtime.session import Session, limits

from .job_request import JobRequest
from .offers import Offer, Offers
from .plan_report import misses
from .plans import Planned, Plans
from .settings import Settings
from .tenant import Tenant


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that may be stored.

    Attributes:
        keep: it must wait in this process's memory: an input holds a secret, which is not stored.
    """

    queued: Event
    offer: Offer
    planned: Planned
    keep: bool


class Intake:
    """Turn requests into jobs."""

    def __init__(
        self, offers: Offers, plans: Plans, session: Session, settings: Settings, clock: Clock
    ) -> None:
        self._offers = offers
        self._plans = plans
        self._session = session
        self._settings = settings
        self._clock = clock
        self._bases: dict[tuple[str, int, int], tuple[Planned, dict[str, Any]]] = {}
        self._prepared: set[tuple[int, int]] = set()

    async def accept(
        self, tenant: Tenant, request: JobRequest, text: str, trace: str | None
    ) -> Accepted:
        """Check a request and make its first event; nothing is stored.

        Args:
            text: the request as JSON (`text_of`).

        Raises:
            NotFoundError: no such workflow. InputError: an input is wrong. RequestError: the id
            is no UUID. PolicyError: the policy refuses the workflow, or the request asks for
            more than it allows. TooLargeError: the input is. AdmissionError: it was to be admitted only
            if it can be done in time and budget.
        """
        offer = self._offers.find(request.workflow)
        keep = self._measure(text)
        if not offer.is_compiled:
            await offer.compiled()  # its inputs are checked against it
        inputs = offer.checked(request.input)
        program = await offer.compiled(request.model)
        policy = self.policy(offer, request)
        # Before the plan: what is refused costs nothing.
        found = checked(program, policy)
        deadline_s, budget_usd = limits_of(offer, request)
        planned = self._plans.known(program, deadline_s, budget_usd)
        if planned is None:
            planned = await self._plans.get(program, deadline_s, budget_usd)
        if request.admit == "feasible":
            admit(planned.plan, deadline_s, budget_usd)
        now = self._clock.now()
        data = {
            **self._base(offer, planned),
            **policy_data(policy, found),
            "inputs": inputs,
            "deadline_s": deadline_s,
            "budget_usd": budget_usd,
            "tenant": tenant.name,
            "priority": request.priority,
            "on_deadline": request.on_deadline,
            "metadata": request.metadata,
        }
        if trace is not None:
            data["trace"] = trace
        queued = Event(_job_id(request.id, now), 1, "job.queued", now, "", data)
        return Accepted(queued, offer, planned, keep)

    def policy(self, offer: Offer, request: JobRequest) -> Policy:
        """Give the policy that a job of this request gets; PolicyError where it asks for more."""
        base = allowed(offer.workflow.policy, self._settings.policy)
        if request.policy is None and request.grants is None:
            return base
        try:
            policy = None if request.policy is None else Policy.from_json(request.policy)
            grants = request.grants
            wanted = None if grants is None else [Grant.parse(text) for text in grants]
        except ConfigError as error:
            raise RequestError(error.detail, where=error.where, next_step=error.next_step) from None
        return narrowed(base, policy, wanted)

    def _base(self, offer: Offer, planned: Planned) -> Mapping[str, Any]:
        """Give the part of the first event that all jobs of a program and plan share."""
        key = (offer.name, id(planned.program), id(planned.plan))
        found = self._bases.get(key)
        if found is None:
            if len(self._bases) > 4 * self._settings.plans_kept:
                self._bases.clear()
            job = Job(
                offer.name,
                planned.program,
                {},
                planned.plan,
                device=self._session.device,
                source=offer.source,
            )
            data = job.event_data()
            # The key's ids are good for as long as their objects live: they are kept beside it.
            found = self._bases[key] = (planned, data)
            self._session.prepare(planned.program, planned.plan)
        return found[1]

    def _measure(self, text: str) -> bool:
        """Check the size of a request; say whether it holds a secret that is not stored."""
        if len(text) > self._settings.max_input_bytes:
            raise TooLargeError(
                f"The request has {len(text)} characters of JSON; at most "
                f"{self._settings.max_input_bytes} are taken",
                where="input",
                next_step="Give a reference to the data (a database, a URL) instead of the data.",
            )
        return ("://" in text or "password=" in text) and redact(text) != text


def limits_of(offer: Offer, request: JobRequest) -> tuple[float | None, float | None]:
    """Give deadline (seconds from now) and budget (US dollars): the request's, or the author's."""
    deadline_s = None if request.deadline_ms is None else request.deadline_ms / 1000.0
    return limits(offer.workflow, offer.program(), deadline_s, request.budget_usd)


def admit(plan: Plan | None, deadline_s: float | None, budget_usd: float | None) -> None:
    """Raise AdmissionError where a plan is expected to miss a limit."""
    reasons = misses(plan, deadline_s, budget_usd)
    if reasons:
        raise AdmissionError(
            f"The job was not admitted: {' and '.join(reasons)}",
            next_step='Give it more, or submit it with admit="always".',
        )


def text_of(request: JobRequest) -> str:
    """Write what a request asks for as JSON; how the caller waits for it is no part of that."""
    return request.model_dump_json(exclude={"mode"})


def body_hash(text: str) -> str:
    """Hash a request's text, to tell equal ones under one idempotency key."""
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=16).hexdigest()


def _job_id(given: str | None, now: float) -> str:
    if given is None:
        return new_job_id(now)
    try:
        found = str(uuid.UUID(given))
    except ValueError:
        found = ""
    if found != given.lower():
        raise RequestError(
            "The id is not a UUID", where="id", next_step="Leave it out, or send a UUID."
        )
    return found


def taken() -> ConflictError:
    """Say that the id a caller chose is in use: the same words whoever's job it is."""
    return ConflictError(
        "The id is taken", where="id", next_step="Leave it out, or send another UUID."
    )
