"""Who takes part in the overhead benchmark, and how much each does per round.

A round of a slow peer is short, so that all can be interleaved; figures are per step or per job.
"""

from __future__ import annotations

from dataclasses import dataclass

PEERS = {
    "langgraph": (".venv-bench-langgraph", "benchmarks.overhead_langgraph"),
    "dbos": (".venv-bench-dbos", "benchmarks.overhead_dbos"),
    "prefect": (".venv-bench-prefect", "benchmarks.overhead_prefect"),
    "ray": (".venv-bench-ray", "benchmarks.overhead_ray"),
}
"""By name: the default environment in the repository's folder, and the module to run in it."""

OWN = {"floor": "benchmarks.overhead_floor", "gangline": "benchmarks.overhead_ours"}

STEPS_PER_JOB = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: `process` runs `case` with `num`, or `quick` in a quick run.

    `units` of work per `num`: a job of the "jobs" shapes is five steps.
    """

    shape: str
    label: str
    process: str
    case: str
    num: int
    quick: int

    @property
    def units(self) -> int:
        """Steps per `num`."""
        return STEPS_PER_JOB if "jobs" in self.shape else 1


def _rows(shape: str, *entrants: tuple[str, str, str, int, int]) -> list[Row]:
    return [Row(shape, *entrant) for entrant in entrants]


ROWS: tuple[Row, ...] = (
    *_rows(
        "chain in memory",
        ("bare asyncio tasks", "floor", "tasks", 1000, 100),
        ("gangline, inline tools", "gangline", "chain_inline", 1000, 20),
        ("gangline, async tools", "gangline", "chain_async", 1000, 20),
        ("gangline, tools on threads", "gangline", "chain_thread", 1000, 20),
        ("LangGraph, no checkpointer", "langgraph", "chain_none", 1000, 20),
        ("LangGraph, InMemorySaver", "langgraph", "chain_memory", 300, 20),
        ("Ray tasks", "ray", "chain", 300, 10),
        ("Ray actor", "ray", "actor_chain", 300, 10),
        ("Prefect, ephemeral server", "prefect", "chain", 20, 2),
    ),
    *_rows(
        "fan-out in memory",
        ("gangline, inline tools", "gangline", "fan_inline", 1000, 20),
        ("gangline, async tools", "gangline", "fan_async", 1000, 20),
        ("gangline, tools on threads", "gangline", "fan_thread", 1000, 20),
        ("LangGraph, no checkpointer", "langgraph", "fan_none", 1000, 20),
        ("LangGraph, InMemorySaver", "langgraph", "fan_memory", 1000, 20),
        ("Ray tasks", "ray", "fan", 1000, 10),
        ("Prefect, ephemeral server", "prefect", "fan", 20, 2),
    ),
    *_rows(
        "five-step jobs in memory",
        ("gangline, inline tools", "gangline", "jobs_inline", 200, 4),
        ("gangline, tools on threads", "gangline", "jobs_thread", 200, 4),
        ("LangGraph, no checkpointer", "langgraph", "jobs_none", 100, 4),
        ("LangGraph, InMemorySaver", "langgraph", "jobs_memory", 100, 4),
        ("Ray tasks", "ray", "jobs", 100, 4),
        ("Prefect, ephemeral server", "prefect", "jobs", 2, 1),
    ),
    *_rows(
        "durable chain, a commit per step",
        ("bare SQLite FULL commits", "floor", "full", 300, 20),
        ("bare SQLite NORMAL commits", "floor", "normal", 300, 20),
        ("gangline, writing inline tools", "gangline", "write_chain_inline", 300, 20),
        ("gangline, writing tools on threads", "gangline", "write_chain_thread", 300, 20),
        ("LangGraph, SqliteSaver sync", "langgraph", "chain_sqlite_sync", 100, 10),
        ("LangGraph, SqliteSaver async", "langgraph", "chain_sqlite_async", 100, 10),
        ("DBOS, SQLite", "dbos", "chain", 30, 5),
    ),
    *_rows(
        "durable five-step jobs",
        ("bare SQLite FULL, 100 rows a commit", "floor", "full_grouped", 1000, 100),
        ("gangline, inline tools", "gangline", "stored_jobs_inline", 500, 4),
        ("gangline, tools on threads", "gangline", "stored_jobs_thread", 500, 4),
        ("gangline, writing inline tools", "gangline", "write_jobs_inline", 500, 4),
        ("gangline, writing tools on threads", "gangline", "write_jobs_thread", 500, 4),
        ("LangGraph, SqliteSaver sync", "langgraph", "jobs_sqlite_sync", 20, 2),
        ("LangGraph, SqliteSaver async", "langgraph", "jobs_sqlite_async", 20, 2),
        ("DBOS, SQLite, 16 threads", "dbos", "jobs", 16, 2),
    ),
    *_rows(
        "durable fan-out",
        ("gangline, tools on threads", "gangline", "stored_fan_thread", 1000, 20),
        ("LangGraph, SqliteSaver sync", "langgraph", "fan_sqlite_sync", 200, 10),
        ("DBOS, SQLite", "dbos", "fan", 50, 5),
    ),
)

SCALE = {
    "loop of steps, in memory": ("loop_memory", 10_000, 100_000),
    "loop of steps, stored": ("loop_stored", 10_000, 100_000),
    "loop of steps, served": ("loop_served", 10_000, 100_000),
    "unrolled chain, in memory": ("unrolled_memory", 10_000, 100_000),
    "unrolled chain, stored": ("unrolled_stored", 10_000, 100_000),
    "fan-out, in memory": ("wide_memory", 1_000, 10_000),
    "fan-out, stored": ("wide_stored", 1_000, 10_000),
    "fan-out, served": ("wide_served", 1_000, 10_000),
}
"""By name: the case, a size, and ten times that size."""
