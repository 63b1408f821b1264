"""What the OpenAI-compatible routes share: the engines, the models, the quotas."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from gangline.backends.base import PromptEncoder
from gangline.ir.errors import ForbiddenError, OverloadedError
from gangline.ir.specs.model import ModelSpec
from gangline.ir.specs.request import SamplingParams, Submit
from gangline.runtime.execution.direct_requests import DirectRequests
from gangline.runtime.server.call import Call
from gangline.runtime.server.context import Context
from gangline.runtime.service.tenant import Tenant

from . import limits
from .errors import no_model, refused
from .ledger import Ledger

Tokens = tuple[int, ...]


class Gateway:
    """One per server. Its requests go to the engines of the server's jobs."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._catalogue: dict[str, ModelSpec] = {}
        self.ledger = Ledger(context.service.clock.now)

    @property
    def direct(self) -> DirectRequests:
        """The way to the engines."""
        return self._context.service.direct

    async def admission(
        self, tenant: Tenant, num_requests: int = 1
    ) -> AbstractContextManager[None]:
        """Let a request in, or say why not; what it gives is held until the request ends.

        Raises:
            OverloadedError: the server stops, or its engines have too much to do.
            QuotaError: raised on entering, where the tenant's quota has no room.
        """
        service = self._context.service
        if service.draining:
            raise _overloaded("The server is stopping")
        if self.direct.num_in_flight + num_requests > limits.MAX_IN_FLIGHT:
            raise _overloaded("The engines have more requests waiting than they should")
        return self.ledger.admitted(tenant, await service.quota_left(tenant))

    def models(self) -> list[ModelSpec]:
        """List the models of the catalogue that the fleet can run now."""
        if not self._catalogue:
            from gangline.runtime.machine.models import catalogue

            self._catalogue = catalogue()
        return [spec for name, spec in self._catalogue.items() if self.direct.serves(name)]

    def model(self, name: str) -> ModelSpec:
        """Give one of them; refused with 404 if there is none."""
        for spec in self.models():
            if spec.name == name:
                return spec
        raise no_model(name)

    async def encoded(
        self, model: ModelSpec, size: int, encode: Callable[[PromptEncoder], list[Tokens]]
    ) -> list[Tokens]:
        """Turn prompts of about `size` characters into tokens, on a thread if they are long."""
        encoder = await self.direct.prompts(model.name)
        if size <= limits.THREAD_CHARS:
            return encode(encoder)
        return await asyncio.to_thread(encode, encoder)

    def submits(
        self,
        call: Call,
        model: ModelSpec,
        request_id: str,
        prompts: Sequence[tuple[Tokens, SamplingParams]],
        *,
        priority: int | None,
        deadline_ms: float | None,
        embed: bool = False,
    ) -> list[Submit]:
        """Make the messages to the engines; ForbiddenError for a priority not allowed."""
        if (priority or 0) < 0 and not call.tenant.may("admin"):
            raise ForbiddenError(
                "A priority below 0 goes before other tenants' requests",
                where="body.priority",
                next_step="Use 0 or more, or a key with the scope admin.",
            )
        deadline_s = math.inf if deadline_ms is None else self.direct.now() + deadline_ms / 1000
        return [
            Submit(
                request_id=f"{request_id}:{index}",
                model=model.name,
                prompt_tokens=tokens,
                sampling=sampling,
                deadline_s=deadline_s,
                cache_salt=call.tenant.name,
                priority=priority or 0,
                embed=embed,
            )
            for index, (tokens, sampling) in enumerate(prompts)
        ]


def _overloaded(detail: str) -> OverloadedError:
    return OverloadedError(detail, next_step="Try again in a moment.", retry_after_s=1.0)


def room_for(model: ModelSpec, num_prompt: int, asked: int | None, default: int, param: str) -> int:
    """Give max_tokens; refused if prompt and output exceed the model's context."""
    room = model.context - num_prompt
    if room < 1 or (asked or 0) > room:
        wanted = f" and {asked} for the output" if asked else ""
        raise refused(
            f"This model's context is {model.context} tokens; the request has {num_prompt} in the "
            f"prompt{wanted}",
            param,
            "context_length_exceeded",
            "Shorten the prompt or ask for less output.",
        )
    return min(default, room) if asked is None else asked


def check_tokens(model: ModelSpec, tokens: Sequence[int], param: str) -> None:
    """Refuse token ids that the model does not have."""
    if any(token >= model.vocab_size for token in tokens):
        raise refused(f"Token ids of this model are below {model.vocab_size}", param)
