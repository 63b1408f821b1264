"""What no engine can beat: bare commits, bare tasks. An entrant of benchmarks/overhead.py."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

from benchmarks.overhead_child import Timed, folder, serve

PAYLOAD = "x" * 300
"""About what two events of a step take."""


def commits(synchronous: str, per_commit: int = 1) -> Callable[[int], Timed]:
    """Insert `num` rows, `per_commit` of them in each transaction, WAL."""

    def prepare(num: int) -> Timed:
        path = Path(folder()) / f"floor-{synchronous}-{per_commit}.sqlite"
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("CREATE TABLE IF NOT EXISTS steps (id INTEGER PRIMARY KEY, data TEXT)")

        def timed() -> None:
            for _ in range(num // per_commit):
                connection.execute("BEGIN IMMEDIATE")
                for _ in range(per_commit):
                    connection.execute("INSERT INTO steps (data) VALUES (?)", (PAYLOAD,))
                connection.execute("COMMIT")
            connection.close()

        return timed

    return prepare


def tasks(num: int) -> Timed:
    """Await one asyncio task after the other."""

    async def step(value: int) -> int:
        return value + 1

    async def chain() -> None:
        value = 0
        for _ in range(num):
            value = await asyncio.create_task(step(value))

    return lambda: asyncio.run(chain())


if __name__ == "__main__":
    serve(
        {
            "full": commits("FULL"),
            "normal": commits("NORMAL"),
            "full_grouped": commits("FULL", 100),
            "tasks": tasks,
        }
    )
