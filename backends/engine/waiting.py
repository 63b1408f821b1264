"""Requests that have no blocks yet: a queue by urgency, and those held for a shared prefix."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from .request import Request, RequestStatus


class WaitingQueue:
    """A heap of waiting requests, most urgent first.

    Entries are never searched for: a request that is cancelled, or moves because its deadline
    does, leaves a stale entry behind that is dropped when it comes to the top.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, int, Request]] = []

    def push(self, request: Request) -> None:
        """Put a request at its place; an earlier entry of it no longer counts."""
        request.status = RequestStatus.WAITING
        request.version += 1
        heapq.heappush(self._heap, (request.urgency, request.order, request.version, request))

    def head(self) -> Request | None:
        """Give the most urgent waiting request, if there is any."""
        while self._heap:
            *_, version, request = self._heap[0]
            if request.status is RequestStatus.WAITING and request.version == version:
                return request
            heapq.heappop(self._heap)
        return None

    def pop(self) -> Request:
        """Take out what `head` showed."""
        return heapq.heappop(self._heap)[-1]


class Claims:
    """Blocks that are being computed right now, by key, and the requests held for them.

    Of several requests with the same prefix only the first computes it. The others wait for
    the last block that they share with it, then find all of them in the cache.
    """

    def __init__(self) -> None:
        self._owner: dict[bytes, Request] = {}
        self._held: dict[bytes, list[Request]] = {}

    def claim(self, owner: Request, keys: Sequence[bytes]) -> None:
        """Say that a running request is about to compute these blocks."""
        for key in keys:
            self._owner.setdefault(key, owner)

    def hold(self, request: Request, keys: Sequence[bytes]) -> bool:
        """Hold a request if the first of the blocks it needs is being computed; say whether.

        The owner inherits the urgency of what waits for it.
        """
        owner = self._owner.get(keys[0]) if keys else None
        if owner is None:
            return False
        request.status = RequestStatus.HELD
        self._held.setdefault(self._last_shared(owner, keys), []).append(request)
        owner.urgency = min(owner.urgency, request.urgency)
        return True

    def _last_shared(self, owner: Request, keys: Sequence[bytes]) -> bytes:
        last = keys[0]
        for key in keys:
            if self._owner.get(key) is not owner:
                break
            last = key
        return last

    def release(self, owner: Request, keys: Sequence[bytes]) -> list[Request]:
        """End claims, as the blocks are computed or will never be; give who waited for them."""
        released: list[Request] = []
        for key in keys:
            if self._owner.get(key) is owner:
                del self._owner[key]
                released += self._held.pop(key, ())
        return [request for request in released if request.status is RequestStatus.HELD]
