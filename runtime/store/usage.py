"""What tenants have used: sums by ten seconds and by UTC day, kept with every append."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .database import Database
from .records import Usage
from .statements import SPEND

if TYPE_CHECKING:
    from .operations import Append

FINE_S, DAY_S = 10, 86_400
FINE_KEPT_S = 3600.0
DAYS_KEPT_S = 400 * DAY_S
LATE_S = 1.0
"""How long what running jobs spend may be missing from the sums."""

Spent = tuple[str, float, float, int]
"""A job's id, the time, US dollars, tokens."""

UsageRow = tuple[str, int, int, float, int, str]
"""A job's id, width and number of the slot, US dollars, tokens, the writer's name."""


class Spending:
    """What appends spent, on its way to the sums.

    Adding to sums costs as much as the append itself, so it is not done with every one: it waits
    in memory until a job stops, or for `LATE_S`. A crash loses at most that much of the sums,
    never of the jobs' own rows.
    """

    def __init__(self) -> None:
        self._waiting: list[Spent] = []
        self._staged: list[Spent] | None = None
        self._due_s = 0.0

    def take(self, appends: Sequence[Append], writer: str, now_s: float) -> list[UsageRow]:
        """Take what some appends spend; give what is to be written in this transaction."""
        changes = [(append.job_id, append.change) for append in appends]
        spent = [
            (job_id, change.updated_s, change.usd, change.prompt_tokens + change.output_tokens)
            for job_id, change in changes
            if change.usd or change.prompt_tokens or change.output_tokens
        ]
        waiting = (self._waiting if self._staged is None else self._staged) + spent
        if waiting and (now_s >= self._due_s or any(change.stops for _, change in changes)):
            self._staged = []
            return _rows(waiting, writer)
        self._staged = waiting
        return []

    def settle(self, stored: bool, now_s: float) -> None:
        """Hear how the transaction ended for which `take` was called."""
        if stored and self._staged is not None:
            if not self._staged:
                self._due_s = now_s + LATE_S
            self._waiting = self._staged
        self._staged = None

    def hurry(self) -> None:
        """Let what waits be written with the next transaction."""
        self._due_s = 0.0

    @property
    def is_empty(self) -> bool:
        """Say whether nothing waits."""
        return not self._waiting


def _rows(spent: Iterable[Spent], writer: str) -> list[UsageRow]:
    sums: dict[tuple[str, int, int], tuple[float, int]] = {}
    for job_id, at_s, usd, tokens in spent:
        for width_s in (FINE_S, DAY_S):
            slot = job_id, width_s, int(at_s // width_s)
            usd_before, tokens_before = sums.get(slot, (0.0, 0))
            sums[slot] = usd_before + usd, tokens_before + tokens
    return [(*slot, usd, tokens, writer) for slot, (usd, tokens) in sums.items()]


def spend(database: Database, tenant: str, at_s: float, usd: float, tokens: int) -> None:
    """Add to a tenant's sums what no job of its spent."""
    for width_s in (FINE_S, DAY_S):
        slot = int(at_s // width_s)
        database.run(SPEND, (tenant, width_s, slot, usd, tokens, database.writer))


def read_usage(database: Database, tenant: str, since_s: float) -> Usage:
    """Sum what was used since a time; whole days if it is a midnight (UTC), else by ten seconds.

    Ten-second sums are kept for an hour: for longer spans ask since a midnight.
    """
    width_s = DAY_S if since_s % DAY_S == 0 else FINE_S
    ((usd, tokens),) = database.read(
        "SELECT coalesce(sum(usd), 0), coalesce(sum(tokens), 0) FROM usage "
        "WHERE tenant = ? AND width_s = ? AND slot >= ?",
        (tenant, width_s, int(since_s // width_s)),
    )
    ((in_flight,),) = database.read(
        "SELECT count(*) FROM jobs WHERE tenant = ? AND status IN ('queued', 'running')",
        (tenant,),
    )
    return Usage(float(usd), int(tokens), int(in_flight))


def forget_old(database: Database, now: float) -> None:
    """Drop ten-second sums that are over an hour old, and days that are over a year old."""
    for width_s, kept_s in ((FINE_S, FINE_KEPT_S), (DAY_S, DAYS_KEPT_S)):
        database.run(
            "DELETE FROM usage WHERE width_s = ? AND slot < ?",
            (width_s, int((now - kept_s) // width_s)),
        )
