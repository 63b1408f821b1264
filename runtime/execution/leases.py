"""The jobs this process holds in the store: kept alive by one heartbeat, given back when done."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from gangline.ir.errors import GanglineError, LeaseLost
from gangline.runtime.store import Store
from gangline.runtime.store.store import LEASE_S

from .driver import Driver
from .surroundings import Surroundings

logger = logging.getLogger(__name__)


class Leases:
    """Hold jobs in the name of one owner.

    Args:
        drivers: the jobs that run now; one whose lease is lost is dropped.
    """

    def __init__(
        self, store: Store, owner: str, around: Surroundings, drivers: Mapping[str, Driver]
    ) -> None:
        self._store = store
        self._owner = owner
        self._around = around
        self._drivers = drivers
        self._unreleased: dict[str, int] = {}
        self._timer: Any = None

    def begin(self) -> None:
        """Take the lease of this process, and start its heartbeat. On the loop only."""
        self._store.register(self._owner, LEASE_S)
        self._beat_later()

    def _beat_later(self) -> None:
        self._timer = self._around.loop.call_later(LEASE_S / 3, self._beat)

    def acquire(self, job_id: str) -> int:
        """Take a job's lease; LeaseLost while another live owner holds it. From any thread."""
        return self._store.acquire(job_id, self._owner, LEASE_S)

    def release(self, job_id: str, epoch: int) -> None:
        """Give a job's lease back; tried again at the next beat if the store cannot take it."""
        try:
            ticket = self._store.release(job_id, epoch)
        except GanglineError:
            return  # the store is closed: its other users see that this process is gone
        ticket.add_done_callback(partial(self._released, job_id, epoch))

    def close(self) -> None:
        """End the heartbeat, and free what is held still."""
        with suppress(GanglineError):  # the store is closed
            self._store.unregister(self._owner)
        if self._timer is not None:
            self._around.mailbox.post(self._timer.cancel)

    def _beat(self) -> None:
        self._beat_later()
        for job_id, epoch in list(self._unreleased.items()):
            del self._unreleased[job_id]
            self.release(job_id, epoch)
        with suppress(GanglineError):  # the store is closed
            self._store.heartbeat(self._owner, LEASE_S).add_done_callback(self._renewed)

    def _renewed(self, ticket: Any) -> None:
        if isinstance(ticket.exception(), LeaseLost):
            again = self._store.register(self._owner, LEASE_S)
            again.add_done_callback(lambda _: self._around.mailbox.post(self._drop_taken))

    def _drop_taken(self) -> None:
        """Drop jobs that others took while our lease had run out; what waits to be stored is
        refused by the store."""
        owned = self._store.owned(self._owner)
        for driver in list(self._drivers.values()):
            if driver.journal.is_idle and owned.get(driver.job_id) != driver.epoch:
                driver.abort(LeaseLost("The lease ran out, and another process took the job"))

    def _released(self, job_id: str, epoch: int, ticket: Any) -> None:
        if ticket.exception() is not None:
            self._unreleased[job_id] = epoch
