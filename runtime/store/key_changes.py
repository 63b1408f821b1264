"""Whether the API keys have changed: at once for changes made here, soon for all others."""

from __future__ import annotations

import math
import time
from typing import TypeVar

from .database import Database
from .keys import count_changes
from .ticket import Ticket

T = TypeVar("T")

LOOK_S = 0.02
"""How old a look at the keys may be: less than a command takes to end that changed them, and a
busy server is spared a read per request."""


class KeyChanges:
    """Look at the keys of one database, no more often than needed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._num_writes = 0
        self._found: tuple[int, int] | None = None
        self._looked_s = -math.inf

    def look(self) -> tuple[int, int]:
        """Give something that differs after every change of the keys."""
        if self._num_writes:
            return count_changes(self._database)
        now_s = time.monotonic()
        found, fresh = self._found, now_s - self._looked_s <= LOOK_S
        if found is None or not fresh:
            found = count_changes(self._database)
            self._looked_s, self._found = now_s, found
        return found

    def follow(self, ticket: Ticket[T]) -> Ticket[T]:
        """Note a change that is being written; gives its ticket."""
        # Whoever hears that the change is done may look before this callback is called.
        self._num_writes += 1

        def done(_: object) -> None:
            self._num_writes -= 1
            self._found = None

        ticket.add_done_callback(done)
        return ticket
