"""Who gets the next free slot: weighted fair between tenants, priority with aging within one.

Pure: time is an argument. Tenants are compared by the slot time they have had, divided by their
weight. A slot in use counts as it passes, so that long jobs weigh as much as they hold. A tenant
that comes back after a pause starts level with the others: what it did not use is not saved up.

Within a tenant, a priority counts as waiting time: `aging_s` seconds for each. So a higher one
goes first, and no job is overtaken for ever.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field

MIN_TURN_S = 0.001
"""Slot time charged for a start, in seconds, so that jobs of no length take turns too."""


@dataclass(slots=True, eq=False)
class Waiting:
    """One job that waits for a slot.

    Attributes:
        solo: it may have brought a server down: runs only while no other such job does.
        expires_s: when it must be handed out whatever is free, to be recorded as expired.
    """

    job_id: str
    tenant: str
    priority: int
    since_s: float
    epoch: int = 0
    solo: bool = False
    expires_s: float | None = None
    taken: bool = False
    rank: tuple[float, int] = (0.0, 0)


Place = tuple[float, int, Waiting]
"""Orders a tenant's line: larger goes sooner. The number keeps equal jobs as they came."""


@dataclass(slots=True, eq=False)
class Share:
    """What one tenant has waiting, has running, and has had.

    `line` is sorted, and the next job is its last: to take it moves nothing.
    """

    name: str
    weight: float = 1.0
    used_s: float = 0.0
    at_s: float = 0.0
    running: int = 0
    num_waiting: int = 0
    turn: int = 0
    line: list[Place] = field(default_factory=list)

    def settle(self, now: float) -> None:
        """Charge the slots held since the last time."""
        self.used_s += self.running * max(0.0, now - self.at_s) / self.weight
        self.at_s = now


class FairQueue:
    """Jobs that wait for one of `max_running` slots."""

    def __init__(self, max_running: int, aging_s: float = 30.0) -> None:
        self.max_running = max_running
        self._aging_s = aging_s
        self._shares: dict[str, Share] = {}
        self._waiting: dict[str, Waiting] = {}
        self._running: dict[str, Waiting] = {}
        self._solo: str | None = None
        self._expiring: list[tuple[float, int, Waiting]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._waiting

    @property
    def num_running(self) -> int:
        """Slots in use."""
        return len(self._running)

    def num_waiting(self, tenant: str) -> int:
        """Count a tenant's waiting jobs."""
        share = self._shares.get(tenant)
        return share.num_waiting if share else 0

    def tenants(self) -> Iterator[Share]:
        """Give the tenants that have something here."""
        return iter(self._shares.values())

    def push(self, job: Waiting, now: float, weight: float = 1.0) -> None:
        """Add a job; nothing happens if it waits or runs here already."""
        if job.job_id in self._waiting or job.job_id in self._running:
            return
        share = self._shares.get(job.tenant)
        if share is None:
            # Level with whoever has had least, so that a pause is neither credit nor debt.
            share = self._shares[job.tenant] = Share(job.tenant, at_s=now, used_s=self._level(now))
        else:
            share.settle(now)
        share.weight = weight
        self._count += 1
        self._waiting[job.job_id] = job
        share.num_waiting += 1
        job.rank = (job.priority * self._aging_s - job.since_s, -self._count)
        insort(share.line, (*job.rank, job))
        if job.expires_s is not None:
            heapq.heappush(self._expiring, (job.expires_s, self._count, job))
            if len(self._expiring) > 2 * len(self._waiting) + 64:
                self._expiring = [entry for entry in self._expiring if not entry[2].taken]
                heapq.heapify(self._expiring)

    def take(self, now: float) -> Waiting | None:
        """Give the next job a slot; None if no slot is free or no job may run."""
        if len(self._running) >= self.max_running:
            return None
        # Invariant: every round drops a tenant whose waiting jobs may all not run now.
        candidates = [share for share in self._shares.values() if share.num_waiting]
        while candidates:
            for share in candidates:
                share.settle(now)
            best = min(candidates, key=_order)
            job = self._first(best)
            if job is not None:
                self._start(best, job)
                return job
            candidates.remove(best)
        return None

    def expired(self, now: float) -> list[Waiting]:
        """Take out the jobs whose time ran out while they waited; they get no slot."""
        found = []
        while self._expiring and self._expiring[0][0] <= now:
            job = heapq.heappop(self._expiring)[2]
            if self.remove(job.job_id) is not None:
                found.append(job)
        return found

    def remove(self, job_id: str) -> Waiting | None:
        """Take a waiting job out; None if it does not wait here."""
        job = self._waiting.pop(job_id, None)
        if job is not None:
            job.taken = True
            share = self._shares[job.tenant]
            share.num_waiting -= 1
            del share.line[_place(share, job)]
            self._tidy(share)
        return job

    def end(self, job_id: str, now: float) -> None:
        """Free the slot of a job; nothing happens if it has none."""
        job = self._running.pop(job_id, None)
        if job is None:
            return
        share = self._shares[job.tenant]
        share.settle(now)
        share.running -= 1
        if self._solo == job_id:
            self._solo = None
        self._tidy(share)

    def position(self, job_id: str) -> int | None:
        """Count the jobs of the same tenant that go before this one; None if it does not wait."""
        job = self._waiting.get(job_id)
        if job is None:
            return None
        share = self._shares[job.tenant]
        return len(share.line) - 1 - _place(share, job)

    def clear(self) -> list[Waiting]:
        """Take out everything that waits."""
        return [job for job_id in list(self._waiting) if (job := self.remove(job_id)) is not None]

    def _level(self, now: float) -> float:
        for share in self._shares.values():
            share.settle(now)
        return min((share.used_s for share in self._shares.values()), default=0.0)

    def _first(self, share: Share) -> Waiting | None:
        """Take the tenant's first job that may run now; suspects stay while one runs."""
        for at in range(len(share.line) - 1, -1, -1):
            if self._solo is None or not share.line[at][2].solo:
                return share.line.pop(at)[2]
        return None

    def _start(self, share: Share, job: Waiting) -> None:
        del self._waiting[job.job_id]
        job.taken = True
        self._running[job.job_id] = job
        self._count += 1
        share.turn = self._count
        share.num_waiting -= 1
        share.running += 1
        share.used_s += MIN_TURN_S / share.weight
        if job.solo:
            self._solo = job.job_id

    def _tidy(self, share: Share) -> None:
        """Forget a tenant that has nothing here."""
        if not share.num_waiting and not share.running:
            del self._shares[share.name]


def _place(share: Share, job: Waiting) -> int:
    return bisect_left(share.line, job.rank, key=lambda place: place[:2])


def _order(share: Share) -> tuple[float, float, int]:
    return (share.used_s, share.running / share.weight, share.turn)
