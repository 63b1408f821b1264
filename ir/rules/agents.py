"""Rules of nested agents: calls, and agents that a run-time plan may call."""

from __future__ import annotations

from collections.abc import Iterator

from gangline.ir.errors import VerifyError
from gangline.ir.module import mlir

from .expands import planned_agents
from .facts import Facts, Rule
from .functions import argument_rows


def calls_resolve(facts: Facts) -> Iterator[VerifyError]:
    """A call names a function of the module, with its types; further operands only order effects."""
    for found in facts.of("agent.call"):
        callee = str(found.attrs.get("callee"))
        function = facts.functions.get(callee)
        if function is None:
            yield found.error(f"agent.call of @{callee}, which is not there")
            continue
        kind = mlir.FunctionType(function.given["function_type"].value)
        operands, results = found.types
        inputs = tuple(kind.inputs)
        if (operands[: len(inputs)], results) != (inputs, tuple(kind.results)):
            yield found.error(f"agent.call of @{callee} does not fit {kind}")


def planned_agents_resolve(facts: Facts) -> Iterator[VerifyError]:
    """An agent that a plan may call is a function, whose inputs the row gives."""
    for found in facts.of("agent.expand", "stage.expand"):
        for row in planned_agents(found):
            function = facts.functions.get(row["agent"])
            if function is None:
                yield found.error(
                    f"{found.name} names the agent @{row['agent']}, which is not there"
                )
                continue
            inputs = {str(given.get("agent.name")) for given in argument_rows(facts, function)}
            if inputs != {*row["parameters"], *row["given"]}:
                yield found.error(
                    f"{found.name} does not give the inputs of the agent @{row['agent']}"
                )


def nothing_calls_itself(facts: Facts) -> Iterator[VerifyError]:
    """No function reaches itself through calls and planned agents."""
    edges = edges_of(facts)
    for name, function in facts.functions.items():
        if _reaches(edges, name):
            yield function.error(f"function @{name} calls itself")


def edges_of(facts: Facts) -> dict[str, set[str]]:
    """Give the functions that each function may call, without those that are not there."""
    edges: dict[str, set[str]] = {name: set() for name in facts.functions}
    for found in facts.of("agent.call", "agent.expand", "stage.expand"):
        *_, function = found.around()
        callees = (
            [str(found.attrs.get("callee"))]
            if found.name == "agent.call"
            else [row["agent"] for row in planned_agents(found)]
        )
        edges[str(function.attrs["sym_name"])] |= set(callees) & facts.functions.keys()
    return edges


def _reaches(edges: dict[str, set[str]], start: str) -> bool:
    pending, seen = list(edges[start]), set()
    # Invariant: `seen` holds functions reached whose callees are in `pending` or `seen`.
    while pending:
        name = pending.pop()
        if name == start:
            return True
        if name not in seen:
            seen.add(name)
            pending.extend(edges[name])
    return False


RULES: tuple[Rule, ...] = (calls_resolve, planned_agents_resolve, nothing_calls_itself)
