"""Who goes first: small named classes that give a request one number, smaller is sooner.

The number depends on the request alone, never on the current time, so a heap keeps the order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .request import Request


class Policy(Protocol):
    """An order of service."""

    def key(self, request: Request) -> float:
        """Give the request's place in the order; smaller goes first."""


@dataclass(frozen=True, slots=True)
class Fcfs:
    """First come, first served: the baseline."""

    def key(self, request: Request) -> float:
        return request.submit.arrival_s


@dataclass(frozen=True, slots=True)
class Urgency:
    """Latest start first: deadline - rest of the job - what this request itself still needs.

    The key is kept within [arrival, arrival + patience_s]. The upper bound is the ageing that
    keeps requests with a late or no deadline from starving, the lower one keeps hopelessly
    late requests from pushing in front of all others for ever. Together they bound waiting:
    whatever arrives more than `patience_s` after a request cannot go before it.

    A request of priority p stands where one that is p times `patience_s` later would: behind
    all of a lower number that come within that time, so that priorities starve nobody either.

    Attributes:
        prefill_s_per_token, decode_s_per_token: expected seconds on this device.
    """

    prefill_s_per_token: float
    decode_s_per_token: float
    patience_s: float

    def key(self, request: Request) -> float:
        arrival = request.submit.arrival_s
        own_s = (
            request.num_pending * self.prefill_s_per_token
            + request.num_left * self.decode_s_per_token
        )
        latest_start = request.deadline_s - request.remaining_s - own_s
        place = min(max(arrival, latest_start), arrival + self.patience_s)
        return place + request.submit.priority * self.patience_s
