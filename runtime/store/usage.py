"""What tenants have used: sums by ten seconds and by UTC day, kept with every append."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .database import Database
from .records import Usage

if TYPE_CHECKING:
    from .operations import Append

FINE_S, DAY_S = 10, 86_400
FINE_KEPT_S = 3600.0


def usage_rows(
    appends: Iterable[Append], writer: str
) -> list[tuple[str, int, int, float, int, str]]:
    """Give what some appends add: job, width and number of the slot, US dollars, tokens, writer."""
    sums: dict[tuple[str, int, int], tuple[float, int]] = {}
    for append in appends:
        change = append.change
        for width_s in (FINE_S, DAY_S):
            slot = append.job_id, width_s, int(change.updated_s // width_s)
            usd, tokens = sums.get(slot, (0.0, 0))
            tokens += change.prompt_tokens + change.output_tokens
            sums[slot] = usd + change.usd, tokens
    return [(*slot, usd, tokens, writer) for slot, (usd, tokens) in sums.items()]


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


def forget_fine(database: Database, now: float) -> int:
    """Drop ten-second sums that are over an hour old; gives how many."""
    return database.run(
        "DELETE FROM usage WHERE width_s = ? AND slot < ?",
        (FINE_S, int((now - FINE_KEPT_S) // FINE_S)),
    )
