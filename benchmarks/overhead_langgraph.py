"""LangGraph as an entrant of benchmarks/overhead.py, in its best configurations.

A chain is one node in a loop: cheaper there than a node per step. SqliteSaver keeps its database
in WAL mode with synchronous FULL; `sync` waits for every checkpoint, `async` (its default) may
lose the last steps of a killed process.
"""

from __future__ import annotations

import functools
import itertools
import operator
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.memory import InMemorySaver  # type: ignore[import-not-found]
from langgraph.checkpoint.sqlite import SqliteSaver  # type: ignore[import-not-found]
from langgraph.graph import END, START, StateGraph  # type: ignore[import-not-found]
from langgraph.types import Send  # type: ignore[import-not-found]

from benchmarks.overhead_child import Prepare, Timed, folder, serve


class State(TypedDict):
    """A number that every step raises, and where to stop."""

    x: int
    end: int


class Wide(TypedDict):
    """Many numbers, and their successors."""

    xs: list[int]
    done: Annotated[list[int], operator.add]


@functools.cache
def saver(kind: str) -> Any:
    """Open a checkpointer once per process; None keeps nothing."""
    if kind == "none":
        return None
    if kind == "memory":
        return InMemorySaver()
    path = Path(folder()) / "langgraph.sqlite"
    made = SqliteSaver(sqlite3.connect(path, check_same_thread=False))
    made.setup()
    return made


@functools.cache
def loop(kind: str) -> Any:
    """Compile one node that goes round until the end is reached."""
    graph = StateGraph(State)
    graph.add_node("step", lambda state: {"x": state["x"] + 1})
    graph.add_edge(START, "step")
    graph.add_conditional_edges(
        "step", lambda state: "step" if state["x"] < state["end"] else END, ["step", END]
    )
    return graph.compile(checkpointer=saver(kind))


@functools.cache
def fan(kind: str) -> Any:
    """Compile a fan-out by Send, and a join."""
    graph = StateGraph(Wide)
    graph.add_node("work", lambda item: {"done": [item["x"] + 1]})
    graph.add_node("join", lambda state: {})
    graph.add_conditional_edges(
        START, lambda state: [Send("work", {"x": x}) for x in state["xs"]], ["work"]
    )
    graph.add_edge("work", "join")
    graph.add_edge("join", END)
    return graph.compile(checkpointer=saver(kind))


_threads = itertools.count()


def invoke(graph: Any, state: dict[str, Any], num: int, kind: str, durability: str) -> Any:
    """Run a graph on a thread of its own."""
    config = {"configurable": {"thread_id": str(next(_threads))}, "recursion_limit": num + 10}
    options = {} if kind == "none" else {"durability": durability}
    return graph.invoke(state, config, **options)


def chain(kind: str, durability: str = "sync") -> Prepare:
    """Run one chain of `num` steps."""

    def prepare(num: int) -> Timed:
        graph = loop(kind)

        def timed() -> None:
            assert invoke(graph, {"x": 0, "end": num}, num, kind, durability)["x"] == num

        return timed

    return prepare


def wide(kind: str, durability: str = "sync") -> Prepare:
    """Run one fan-out of `num` steps and their join."""

    def prepare(num: int) -> Timed:
        graph = fan(kind)

        def timed() -> None:
            state = {"xs": list(range(num)), "done": []}
            assert len(invoke(graph, state, num, kind, durability)["done"]) == num

        return timed

    return prepare


def jobs(kind: str, durability: str = "sync") -> Prepare:
    """Run `num` jobs of five steps, one after the other (SqliteSaver has one lock)."""

    def prepare(num: int) -> Timed:
        graph = loop(kind)

        def timed() -> None:
            for _ in range(num):
                invoke(graph, {"x": 0, "end": 5}, 5, kind, durability)

        return timed

    return prepare


def cases(make: Callable[..., Prepare], name: str) -> dict[str, Prepare]:
    """Give a shape's cases in every configuration."""
    return {
        f"{name}_none": make("none"),
        f"{name}_memory": make("memory"),
        f"{name}_sqlite_sync": make("sqlite", "sync"),
        f"{name}_sqlite_async": make("sqlite", "async"),
    }


if __name__ == "__main__":
    serve(
        {**cases(chain, "chain"), **cases(wide, "fan"), **cases(jobs, "jobs")},
        ("langgraph", "langgraph-checkpoint-sqlite"),
    )
