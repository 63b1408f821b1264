"""Send what is in the outbox: one task that looks for messages that are due."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Any

from gangline.ir.errors import GanglineError
from gangline.runtime.clock import Clock
from gangline.runtime.store import Store
from gangline.runtime.store.records import Delivery

from .settings import Settings
from .webhooks import Message, Sender, backoff_s, message_body

logger = logging.getLogger(__name__)

AT_ONCE, AT_ONCE_PER_TENANT = 16, 4
"""Messages sent side by side; a tenant whose receiver hangs must not hold up the others'."""

BEHIND = 256
"""Messages of one tenant that wait in memory for one of its places."""

KEPT_S = 30.0
"""How long one waits there; the outbox hands it out again after a minute."""

STOP_S = 5.0
"""How long a look at the outbox is waited for when the server stops."""

LOOK_EVERY_S = 2.0
"""How often the outbox is looked at when nobody says that something is in it."""


class Deliveries:
    """Deliver webhook messages, each until it arrived or is given up.

    Args:
        document: gives the document of a job; None where there is none any more.

    Attributes:
        outcomes: how often an attempt ended how: `delivered`, `failed` (it is tried again),
            `dropped` (given up) or `unwanted`.
    """

    def __init__(
        self,
        store: Store,
        sender: Sender,
        settings: Settings,
        clock: Clock,
        document: Callable[[str], Awaitable[dict[str, Any] | None]],
    ) -> None:
        self._store = store
        self._sender = sender
        self._settings = settings
        self._clock = clock
        self._document = document
        self.outcomes: Counter[str] = Counter()
        self._expected: set[str] = set()
        self._due = asyncio.Event()
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._busy: dict[str, int] = {}
        self._behind: dict[str, deque[tuple[float, Delivery]]] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._rounds(), name="webhooks")

    async def stop(self) -> None:
        """End; what is under way is sent again later, with the same id."""
        self._stopping = True
        self._due.set()
        if self._task is not None:
            # A look at the outbox is let end: it must not go on in a store that is closed.
            await asyncio.wait([self._task], timeout=STOP_S)
        tasks = [*self._sending, *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._sender.close()

    def expect(self, job_id: str) -> None:
        """Note that a job has a webhook, to look as soon as it has stopped here."""
        if len(self._expected) > self._settings.queue_in_memory:
            self._expected.clear()  # their ends are noticed by looking, a little later
        self._expected.add(job_id)

    def stopped(self, job_id: str) -> None:
        """Look now if a job that stopped here has a webhook."""
        if job_id in self._expected:
            self._expected.discard(job_id)
            self._due.set()

    async def _rounds(self) -> None:
        while not self._stopping:
            self._due.clear()
            try:
                found = await asyncio.to_thread(self._store.deliveries, self._clock.now(), AT_ONCE)
            except GanglineError as error:
                logger.warning("the outbox cannot be read: %s", error)
                found = []
            for delivery in () if self._stopping else found:
                await self._dispatch(delivery)
            if len(found) == AT_ONCE:
                continue
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._due.wait()
            except TimeoutError:
                pass

    async def _dispatch(self, delivery: Delivery) -> None:
        """Send a message in its tenant's turn: now, or after those that are under way."""
        if self._busy.get(delivery.tenant, 0) < AT_ONCE_PER_TENANT:
            await self._begin(delivery)
            return
        behind = self._behind.setdefault(delivery.tenant, deque())
        if len(behind) < BEHIND:
            behind.append((self._clock.now(), delivery))
        else:
            later_s = self._clock.now() + LOOK_EVERY_S
            self._store.postpone(delivery.id, delivery.attempts, later_s, delivery.error)

    async def _begin(self, delivery: Delivery) -> None:
        tenant = delivery.tenant
        self._busy[tenant] = self._busy.get(tenant, 0) + 1
        await self._at_once.acquire()
        task = asyncio.get_running_loop().create_task(self._attempts(delivery))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _attempts(self, delivery: Delivery) -> None:
        """Send a message and then those of its tenant that waited for a place."""
        tenant, next_one = delivery.tenant, delivery
        try:
            # Invariant: this task is one of the tenant's places in `_busy`.
            while True:
                try:
                    await self._attempt(next_one)
                except Exception:
                    logger.exception("webhook %s could not be dealt with", next_one.id)
                behind = self._behind.get(tenant)
                if not behind:
                    return
                taken_s, next_one = behind.popleft()
                if self._clock.now() - taken_s > KEPT_S:
                    behind.clear()  # handed out again by now, perhaps to another server
                    return
        finally:
            self._at_once.release()
            self._busy[tenant] -= 1
            if not self._busy[tenant]:
                del self._busy[tenant]
                self._behind.pop(tenant, None)

    async def _attempt(self, delivery: Delivery) -> None:
        wanted = delivery.webhook.get("events")
        document = await self._document(delivery.job_id)
        if document is None or (wanted is not None and delivery.event not in wanted):
            self.outcomes["unwanted"] += 1
            self._store.delivered(delivery.id)
            return
        limit = self._settings.webhook_body_bytes
        body = message_body(delivery.event, delivery.at_s, document, limit)
        url, secret = str(delivery.webhook["url"]), delivery.webhook.get("secret")
        now = self._clock.now()
        attempt = await self._sender.send(Message(delivery.id, url, secret, body), now)
        if attempt.ok:
            self.outcomes["delivered"] += 1
            await self._store.delivered(delivery.id)
            return
        attempts = delivery.attempts + 1
        host = url.partition("://")[2].partition("/")[0]
        logger.warning("webhook %s to %s: %s", delivery.id, host, attempt.error)
        given_up = attempt.final or attempts >= self._settings.webhook_tries
        self.outcomes["dropped" if given_up else "failed"] += 1
        if given_up:
            await self._store.postpone(delivery.id, attempts, now, attempt.error)
            await self._store.dropped(delivery.id)
        else:
            next_at_s = now + backoff_s(attempts)
            await self._store.postpone(delivery.id, attempts, next_at_s, attempt.error)
