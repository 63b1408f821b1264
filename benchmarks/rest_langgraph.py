"""A graph of five nodes for LangGraph's server: a peer of benchmarks/rest.py."""

from __future__ import annotations

from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph  # type: ignore[import-not-found, unused-ignore]


class State(TypedDict):
    """One number."""

    x: int


async def step(state: State) -> dict[str, Any]:
    """Add one."""
    return {"x": state["x"] + 1}


builder = StateGraph(State)
names = [f"step{number}" for number in range(5)]
for name in names:
    builder.add_node(name, step)
for before, after in zip([START, *names], [*names, END], strict=True):
    builder.add_edge(before, after)
graph = builder.compile()
