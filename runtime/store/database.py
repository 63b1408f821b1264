"""What the store needs of a database: one connection that writes, several that read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gangline.ir.errors import StoreError

Row = tuple[Any, ...]
MAX_LEASE_S = 3600.0
"""No lease lasts longer; one that seems to is of a clock that started anew."""


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with `?` for values. `expected` rows must change, or the fast way does not hold."""

    sql: str
    values: Sequence[Any] = ()
    expected: int | None = None


class Unexpected(Exception):
    """A statement changed another number of rows: its batch is done again, one by one."""


class Database(Protocol):
    """One of two databases. The writing side belongs to the writer's thread alone.

    Attributes:
        where: the file or URL, for messages; no password in it.
        errors: exceptions the driver raises.
        conflicts: those of `errors` that a value causes, not the state of the world.
        writer: under which name this process adds to sums, so that it shares no row of them
            with another process, and waits for none.
        sharing: what a transaction runs before it creates jobs; `excluding` before it drops
            documents that no job refers to.
    """

    where: str
    errors: tuple[type[BaseException], ...]
    conflicts: tuple[type[BaseException], ...]
    writer: str
    sharing: tuple[Statement, ...]
    excluding: tuple[Statement, ...]

    def begin(self) -> None:
        """Begin a transaction that no other writer disturbs."""
        ...

    def commit(self) -> None:
        """End the transaction; on return it is on disk."""
        ...

    def rollback(self) -> None:
        """Undo the transaction, whatever state it is in; never raises."""
        ...

    def mark(self) -> None:
        """Remember this point of the transaction."""
        ...

    def undo(self) -> None:
        """Go back to the point remembered."""
        ...

    def forget(self) -> None:
        """Drop the point remembered."""
        ...

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Execute; give the number of rows changed."""
        ...

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Execute; give the rows."""
        ...

    def run_all(self, statements: Sequence[Statement]) -> None:
        """Execute in order, in as few round trips as can be; Unexpected if a count is off."""
        ...

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Read what is committed, from any thread, beside the writer."""
        ...

    def clock(self) -> tuple[float, str]:
        """Give seconds on the clock of leases and the clock's era (another era: all lapsed)."""
        ...

    def again(self, error: BaseException, num_tries: int) -> bool:
        """Say whether a transaction that failed with one of `errors` is worth repeating now.

        Waits for a server that went away; `num_tries` counts the attempts so far.
        """
        ...

    def refusal(self, error: BaseException) -> StoreError:
        """Put an error of the driver into our words."""
        ...

    def close(self) -> None:
        """Close every connection."""
        ...
