"""The lease of this process, kept alive by one heartbeat: jobs are taken and given back under it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from gangline.ir.errors import GanglineError, LeaseLost
from gangline.runtime.store import Store
from gangline.runtime.store.store import LEASE_S

from .driver import Driver
from .fence import now_s
from .surroundings import Surroundings

logger = logging.getLogger(__name__)


class OwnLease:
    """Hold jobs in the name of one owner.

    Args:
        drivers: the jobs that run now; one whose lease is lost is dropped.

    Attributes:
        on_lapse: told, when the lease had run out, which jobs are ours still, by their epochs.
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
        self.on_lapse: Callable[[Mapping[str, int]], object] = lambda owned: None

    def begin(self) -> None:
        """Take the lease of this process, and start its heartbeat. On the loop only."""
        fence = self._around.fence
        # Nothing is held before the store has this, as it takes its orders in turn.
        self._store.register(self._owner, LEASE_S)
        fence.look, fence.until_s = self._renew, now_s() + LEASE_S
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
        self._renew()

    def _renew(self) -> None:
        with suppress(GanglineError):  # the store is closed
            beat = self._store.heartbeat(self._owner, LEASE_S)
            beat.add_done_callback(partial(self._posted, now_s() + LEASE_S))

    def _posted(self, until_s: float, ticket: Any) -> None:
        self._around.mailbox.post(self._renewed, until_s, ticket.exception())

    def _renewed(self, until_s: float, error: BaseException | None) -> None:
        if isinstance(error, LeaseLost):
            self._around.fence.until_s = 0.0
            again = self._store.register(self._owner, LEASE_S)
            again.add_done_callback(partial(self._posted, now_s() + LEASE_S))
        elif error is None:
            # A claim may have renewed a lease that had run out, so that no beat noticed it.
            if not self._around.fence.is_open:
                self._drop_taken()
            self._around.fence.open_until(until_s)

    def _drop_taken(self) -> None:
        """Drop jobs that others took while our lease had run out; what waits to be stored is
        refused by the store."""
        owned = self._store.owned(self._owner)
        for driver in list(self._drivers.values()):
            if driver.journal.is_idle and owned.get(driver.job_id) != driver.epoch:
                driver.abort(LeaseLost("The lease ran out, and another process took the job"))
        self.on_lapse(owned)

    def _released(self, job_id: str, epoch: int, ticket: Any) -> None:
        if ticket.exception() is not None:
            self._unreleased[job_id] = epoch
