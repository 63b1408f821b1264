"""Which request computed a prefill that several decodes share."""

from __future__ import annotations

from gangline.ir.specs.request import Finished, FirstToken

from .commands import SubmitRequest
from .outcome import RequestOutcome


class SharedPrefills:
    """Remembers, by prefill step, the request that found the least of it in the prefix cache.

    A prefill is recorded with the first of its decodes that ends, which need not be the one whose
    request computed it.
    """

    def __init__(self) -> None:
        self._computed: dict[str, RequestOutcome] = {}

    def clear(self) -> None:
        """Forget all: what was in flight is issued anew."""
        self._computed.clear()

    def begin(self, command: SubmitRequest, event: FirstToken, issued_s: float, now: float) -> None:
        """Note what a request took for its prompt, if no other took more."""
        known = self._computed.get(command.prefill.id)
        if known is None or event.cached_tokens < known.finished.cached_tokens:
            done = Finished(
                *(event.request_id, now, (), "", ""),
                prompt_tokens=event.prompt_tokens,
                cached_tokens=event.cached_tokens,
                prefill_busy_s=event.busy_s,
            )
            self._computed[command.prefill.id] = RequestOutcome(done, issued_s, now, now)

    def of(self, command: SubmitRequest, outcome: RequestOutcome) -> RequestOutcome:
        """Give what is to be recorded of the prefill of a request that ended; its own if alone."""
        known = self._computed.setdefault(command.prefill.id, outcome)
        return outcome if known.finished.request_id == command.request_id else known

    def is_of(self, command: SubmitRequest) -> bool:
        """Say whether what was recorded of the prefill is what this request took."""
        known = self._computed.get(command.prefill.id)
        return known is not None and known.finished.request_id == command.request_id
