"""The jobs this process holds in the store: kept alive by one heartbeat, given back when done."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from gangline.ir.errors import GanglineError, LeaseLost

from .driver import Driver
from .store import Store
from .surroundings import LEASE_S, Surroundings

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
        """Start the heartbeat. On the loop only."""
        self._timer = self._around.loop.call_later(LEASE_S / 3, self._beat)

    def acquire(self, job_id: str) -> int:
        """Take a job's lease; LeaseLost while another live owner holds it. From any thread."""
        return self._store.acquire(job_id, self._owner, LEASE_S, self._around.clock.now())

    def release(self, job_id: str, epoch: int) -> None:
        """Give a job's lease back; tried again at the next beat if the store cannot take it."""
        try:
            ticket = self._store.release(job_id, epoch)
        except GanglineError:
            return  # the store is closed: its other users see that this process is gone
        ticket.add_done_callback(partial(self._released, job_id, epoch))

    def close(self) -> None:
        """End the heartbeat."""
        if self._timer is not None:
            self._around.mailbox.post(self._timer.cancel)

    def _beat(self) -> None:
        self.begin()
        for job_id, epoch in list(self._unreleased.items()):
            del self._unreleased[job_id]
            self.release(job_id, epoch)
        until_s = self._around.clock.now() + LEASE_S
        for driver in list(self._drivers.values()):
            renewed = self._store.renew(driver.job_id, driver.epoch, until_s)
            renewed.add_done_callback(partial(self._renewed, driver))

    def _renewed(self, driver: Driver, ticket: Any) -> None:
        if isinstance(ticket.exception(), LeaseLost):
            self._around.mailbox.post(driver.abort, ticket.exception())

    def _released(self, job_id: str, epoch: int, ticket: Any) -> None:
        if ticket.exception() is not None:
            self._unreleased[job_id] = epoch
