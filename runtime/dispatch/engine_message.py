"""What an engine is told of a job's request, and how soon it comes among others."""

from __future__ import annotations

from gangline.ir.specs.event import LOCAL
from gangline.ir.specs.request import SamplingParams, Submit

from .commands import Call, Embed, Prefill, Request, SubmitRequest
from .job import DEFAULT_PRIORITY
from .prefixes import Wanted, wanted


def submit_message(command: Request, now: float, cache_salt: str = "", priority: int = 0) -> Submit:
    """Give the message of a request that arrives at an engine now."""
    # What writes nothing ends with the first token, which an engine draws in any case.
    sampling = (
        command.sampling if isinstance(command, SubmitRequest) else SamplingParams(max_tokens=1)
    )
    return Submit(
        request_id=command.request_id,
        model=command.model,
        prompt_tokens=command.prompt_tokens,
        sampling=sampling,
        arrival_s=now,
        deadline_s=command.deadline_s,
        remaining_s=command.remaining_s,
        cache_salt=cache_salt,
        priority=priority,
        embed=isinstance(command, Embed),
    )


def want_of(command: Call | Request, tenant: str) -> Wanted | None:
    """Say what a tenant's request looks for; None for what no prefix cache helps."""
    if not isinstance(command, SubmitRequest | Prefill):
        return None
    output = command.sampling.max_tokens if isinstance(command, SubmitRequest) else 1
    num_tokens = len(command.prompt_tokens)
    return wanted(command.request_id, num_tokens, output, command.prefixes, tenant)


def engine_priority(tenant: str, priority: int) -> int:
    """Give the place of a job's requests in an engine's queue: lower is sooner, 0 is usual.

    Args:
        priority: of the job, 0 to 9, higher is sooner. One above the usual goes first where all
            are one tenant. Elsewhere it does among the tenant's own jobs only, which wait for
            slots before: engines are everybody's, and a tenant must not push others back.
    """
    place = DEFAULT_PRIORITY - priority
    return place if tenant in ("", LOCAL) else max(place, 0)
