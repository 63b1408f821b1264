"""The graph document: a program's stages and what became of their steps."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from gangline.ir.program import Program
from gangline.ir.specs.plan import Plan, StagePlan
from gangline.planner.graph_nodes import graph_nodes

from .job_fold import JobFold, StageTotals, stage_status

_MARKS = {"tool": "[{}]", "decode": "([{}])", "prefill": "([{}])"}


def graph_document(
    job_id: str, program: Program, fold: JobFold, plan: Plan | None
) -> dict[str, Any]:
    """Give a job's graph (schema: docs/schemas/job_graph.json).

    A node is a stage, or control flow (`map`, `branch`, `loop`, `call`) that others name as their
    `parent`, with `side` saying which part they are in. A node that runs many times (in a map or
    a loop) stands for all its steps: `steps` counts them by status.
    """
    rows = {row.stage: row for row in plan.stages} if plan else {}
    nodes, edges = _flat(program)
    documents = [_node(node, fold, rows.get(node["id"])) for node in nodes]
    _boxes(documents)
    return {
        "job_id": job_id,
        "workflow": program.name,
        "program_hash": fold.queued.get("program_hash", ""),
        "status": fold.status,
        "last_seq": fold.last_seq,
        "nodes": documents,
        "edges": edges,
        "critical_path": list(plan.critical_path) if plan else [],
    }


def draw(document: Mapping[str, Any], program: Program, form: str) -> str:
    """Write a graph document as `mermaid` or `svg` text."""
    if form == "mermaid":
        return graph_mermaid(document)
    from gangline.planner.graph_svg import graph_svg

    return graph_svg(program, status={node["id"]: node["status"] for node in document["nodes"]})


def graph_mermaid(document: Mapping[str, Any]) -> str:
    """Write a graph document as a Mermaid flowchart."""
    numbers = {node["id"]: f"n{number}" for number, node in enumerate(document["nodes"])}
    inside: dict[str | None, list[Mapping[str, Any]]] = {}
    for node in document["nodes"]:
        inside.setdefault(node["parent"], []).append(node)
    lines = ["flowchart LR"]
    stack: list[tuple[Mapping[str, Any] | str, int]] = []
    stack.extend((node, 1) for node in reversed(inside.get(None, [])))
    # Invariant: a box's lines are written before those of what stands after it.
    while stack:
        found, depth = stack.pop()
        if isinstance(found, str):
            lines.append("  " * depth + found)
            continue
        name, label = numbers[found["id"]], _escaped(found["label"])
        if found["id"] in inside:
            lines.append("  " * depth + f'subgraph {name}["{label}"]')
            stack.append(("end", depth))
            stack.extend((child, depth + 1) for child in reversed(inside[found["id"]]))
        else:
            shape = _MARKS.get(found["op"], "[{}]").format(f'"{label}"')
            lines.append("  " * depth + f"{name}{shape}:::{found['status']}")
    lines += [
        f"  {numbers[edge['source']]} --> {numbers[edge['target']]}" for edge in document["edges"]
    ]
    lines += ["  classDef succeeded stroke:#2e7d32", "  classDef failed stroke:#b00020"]
    lines += ["  classDef running stroke:#3d6fb6,stroke-width:3px"]
    return "\n".join(lines) + "\n"


_trees: OrderedDict[str, tuple[list[dict[str, Any]], list[dict[str, str]]]] = OrderedDict()
_KEPT = 32


def _flat(program: Program) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Give the nodes and edges of a program, which never change; those used last are kept."""
    key = program.hash
    found = _trees.get(key)
    if found is None:
        found = _trees[key] = graph_nodes(program)
        while len(_trees) > _KEPT:
            _trees.popitem(last=False)
    return found


def _node(node: Mapping[str, Any], fold: JobFold, row: StagePlan | None) -> dict[str, Any]:
    totals = fold.stages.get(node["id"])
    status = stage_status(totals, fold.stopped)
    return {
        **node,
        "status": status,
        "steps": _counts(totals, fold.stopped),
        "device": ", ".join(sorted(totals.devices)) if totals else (row.device if row else ""),
        "start_s": totals.start_s if totals else None,
        "end_s": totals.end_s if totals else None,
        "seconds": totals.seconds if totals else None,
        "usd": totals.usd if totals else None,
        "output_tokens": totals.output_tokens if totals else None,
        "predicted_s": row.seconds * row.visits if row else None,
        "predicted_usd": row.usd * row.visits if row else None,
        "error": totals.error if totals and status == "failed" else None,
    }


def _counts(totals: StageTotals | None, stopped: bool) -> dict[str, int]:
    counts = {name: count for name, count in (totals.counts if totals else {}).items() if count}
    if stopped:
        left = counts.pop("running", 0) + counts.pop("queued", 0)
        return {**counts, "cancelled": left} if left else counts
    return counts


_RANK = ("failed", "running", "queued", "cancelled", "succeeded", "pending")


def _boxes(documents: Iterable[dict[str, Any]]) -> None:
    """Give control flow the state of what is inside it: parents come before their children."""
    by_id = {node["id"]: node for node in documents}
    # Invariant: when a node is met from behind, all inside it have told it their state.
    for node in reversed(list(by_id.values())):
        parent = by_id.get(node["parent"] or "")
        if parent is None or node["status"] == "pending":
            continue
        parent["status"] = min(parent["status"], node["status"], key=_RANK.index)
        parent["start_s"] = min(_numbers(parent["start_s"], node["start_s"]), default=None)
        parent["end_s"] = max(_numbers(parent["end_s"], node["end_s"]), default=None)


def _numbers(*values: float | None) -> list[float]:
    return [value for value in values if value is not None]


def _escaped(text: str) -> str:
    return text.replace('"', "#quot;").replace("\n", " ")
