"""Requests to engines that belong to no job: what the OpenAI-compatible routes ask for."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace

from gangline.backends.base import Backend, OpenBackend, PromptEncoder
from gangline.ir.errors import BackendUnavailable, from_json
from gangline.ir.specs.request import (
    Cancel,
    EngineEvent,
    Finished,
    FirstToken,
    RequestFailed,
    Submit,
)
from gangline.runtime.dispatch.outcome import DirectOutcome
from gangline.runtime.dispatch.pricing import Pricing

from .surroundings import Surroundings

logger = logging.getLogger(__name__)

Observer = Callable[[DirectOutcome], None]


@dataclass(slots=True, eq=False)
class _Direct:
    """One request in flight; `events` is None once nobody listens any more."""

    submit: Submit
    device: str
    submitted_s: float
    loop: asyncio.AbstractEventLoop
    events: asyncio.Queue[EngineEvent] | None = field(default_factory=asyncio.Queue)
    first_token_s: float = math.nan


class DirectRequests:
    """Send requests to the engines that jobs use, by the same routing. For coroutines.

    Attributes:
        observers: told of every request that ended; they must be quick.
    """

    def __init__(self, around: Surroundings, pricing: Pricing) -> None:
        self.observers: list[Observer] = []
        self._around = around
        self._pricing = pricing
        self._in_flight: dict[str, _Direct] = {}
        self._encoders: dict[str, PromptEncoder] = {}

    @property
    def num_in_flight(self) -> int:
        """Requests that engines work on, those included that nobody waits for any more."""
        return len(self._in_flight)

    def now(self) -> float:
        """Give the time on the clock that deadlines are on."""
        return self._around.clock.now()

    def serves(self, model: str) -> bool:
        """Say whether any device can run a model."""
        return bool(self._candidates(model))

    async def prompts(self, model: str) -> PromptEncoder:
        """Give what turns prompts for a model into tokens; the first call loads it, on a thread.

        Raises:
            BackendUnavailable: no device of the fleet can run the model.
        """
        if model not in self._encoders:
            backend = self._backend(self._pick(model))
            self._encoders[model] = await asyncio.to_thread(backend.prompts, model)
        return self._encoders[model]

    async def stream(self, submit: Submit) -> AsyncGenerator[EngineEvent, None]:
        """Run one request: its events, the last one `Finished`. Close it to cancel the request.

        Its id must be new. The arrival time is set here, once the model is loaded: loading is
        the machine's time, not the request's.

        Raises:
            GanglineError: what the engine or the loading of the model failed with.
        """
        device = self._pick(submit.model)
        backend = self._backend(device)
        self._around.routing.begin(device)  # loading counts: those who come meanwhile go elsewhere
        try:
            await self._loaded(backend, submit.model)
        except BaseException:
            self._around.routing.end(device)
            raise
        now = self._around.clock.now()
        loop = asyncio.get_running_loop()
        direct = _Direct(replace(submit, arrival_s=now), device, now, loop)
        events = direct.events
        assert events is not None
        self._in_flight[submit.request_id] = direct
        try:
            backend.send(direct.submit)
        except Exception:
            self._forget(direct)
            raise
        try:
            while True:
                event = await events.get()
                if isinstance(event, RequestFailed):
                    raise from_json(dict(event.error))
                yield event
                if isinstance(event, Finished):
                    return
        finally:
            direct.events = None
            if submit.request_id in self._in_flight:
                backend.send(Cancel(submit.request_id))

    def take(self, event: EngineEvent, at_s: float) -> None:
        """Take an event of a request that is no job's; an unknown one is ignored."""
        direct = self._in_flight.get(event.request_id)
        if direct is None:
            return
        if isinstance(event, FirstToken):
            direct.first_token_s = at_s
        if isinstance(event, Finished | RequestFailed):
            self._forget(direct)
            self._tell(direct, event, at_s)
        events = direct.events
        if events is None:
            return
        if direct.loop is self._around.loop:
            events.put_nowait(event)
        elif not direct.loop.is_closed():
            direct.loop.call_soon_threadsafe(events.put_nowait, event)

    def _forget(self, direct: _Direct) -> None:
        del self._in_flight[direct.submit.request_id]
        self._around.routing.end(direct.device)

    def _tell(self, direct: _Direct, event: Finished | RequestFailed, at_s: float) -> None:
        outcome = DirectOutcome(
            direct.submit,
            direct.device,
            event,
            direct.submitted_s,
            at_s,
            direct.first_token_s,
            self._usd(direct.device, event),
        )
        for observer in self.observers:
            try:
                observer(outcome)
            except Exception:
                logger.exception("an observer of direct requests failed")

    def _usd(self, device: str, event: Finished | RequestFailed) -> float:
        if isinstance(event, RequestFailed):
            return 0.0
        pricing = self._pricing
        busy = pricing.busy_usd(device, event.prefill_busy_s + event.decode_busy_s)
        prompt = pricing.prompt_usd(device, event.prompt_tokens)
        return busy + prompt + pricing.output_usd(device, len(event.token_ids))

    async def _loaded(self, backend: Backend, model: str) -> None:
        loading = backend.prepare(model)
        if not loading.done():
            # Not wrap_future: giving up here must not cancel the loading others wait for.
            ready, loop = asyncio.Event(), asyncio.get_running_loop()
            loading.add_done_callback(lambda _: loop.call_soon_threadsafe(ready.set))
            await ready.wait()
        loading.result()

    def _pick(self, model: str) -> str:
        return self._around.routing.least(self._candidates(model) or [self._none(model)])

    def _none(self, model: str) -> str:
        raise BackendUnavailable(
            f"No device of this fleet can run the model {model!r}",
            where=f"model {model}",
            next_step=f"Fetch it with `gangline models pull {model}`.",
        )

    def _candidates(self, model: str) -> list[str]:
        return [
            device_id
            for device_id in self._around.routing.device_ids or self._around.backends
            if isinstance(backend := self._around.backend(device_id), OpenBackend)
            and backend.serves(model)
        ]

    def _backend(self, device: str) -> OpenBackend:
        backend = self._around.backend(device)
        assert isinstance(backend, OpenBackend)  # _candidates gives no other
        return backend
