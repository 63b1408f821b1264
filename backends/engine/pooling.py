"""Embeddings of prompts: the mean of the last hidden states, made chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor
from torch.nn import functional as F

from gangline.backends.base import Sampled, ScheduledRequest

from .model import Model


class Pooling:
    """Sums of hidden states of the requests that are embedded, by request id."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor | None] = {}

    def __bool__(self) -> bool:
        """Tell whether any request is embedded."""
        return bool(self._sums)

    def add(self, request_id: str) -> None:
        """Begin a request that is to be embedded."""
        self._sums[request_id] = None

    def remove(self, request_id: str) -> None:
        """Forget a request; one that is not known is fine."""
        self._sums.pop(request_id, None)

    def without_logits(self, scheduled: Sequence[ScheduledRequest]) -> tuple[ScheduledRequest, ...]:
        """Give a step in which no logits are computed for embedded requests."""
        return tuple(
            replace(entry, sample=False) if entry.request_id in self._sums else entry
            for entry in scheduled
        )

    def take(
        self, scheduled: Sequence[ScheduledRequest], hidden: Tensor, model: Model
    ) -> dict[str, Sampled]:
        """Add up a step's hidden states [tokens, hidden_size]; answer requests that are complete."""
        complete: dict[str, Sampled] = {}
        end = 0
        # Invariant: rows hidden[:end] belong to the requests so far, in the order scheduled.
        for entry in scheduled:
            start, end = end, end + len(entry.token_ids)
            if entry.request_id not in self._sums:
                continue
            total = model.last_states(hidden, slice(start, end)).sum(dim=0)
            before = self._sums[entry.request_id]
            if before is not None and entry.num_computed:  # 0 again: it was pre-empted
                total += before
            self._sums[entry.request_id] = total
            if entry.sample:
                # The length of the mean is that of the sum, so the count does not matter.
                vector = F.normalize(total, dim=0).tolist()
                complete[entry.request_id] = Sampled((), "stop", embedding=tuple(vector))
        return complete
