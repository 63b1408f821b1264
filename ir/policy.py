"""The plan check before a run: what a program would do that its policy does not allow.

Secrets: values of inputs and tools marked `secret` are followed through the whole program
(computations, prompts and what models write from them, branches, loops, maps, nested workflows,
memory spaces, plans) to the tools marked `external`. Every path is counted, taken or not. A
tool marked `declassify` ends a path; so does a person, who answers what he likes.

Writes: a tool that the author's own graph calls is granted by being written there, unless the
policy says otherwise (`authored`). What plans may call is checked when they are written, by
ir/plan_policy.py; here a plan is something that may hand on all that it is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gangline.ir.specs.finding import Finding, Hop
from gangline.ir.specs.policy import Flow, Grant, Policy

from .program import Parameter, Program, Stage
from .value_flow import (
    EXTERNAL,
    SECRET,
    HasLabel,
    Reach,
    ValueFlow,
    has_label,
    named,
    row_name,
    rows,
)

_LLM_STAGES = (".tokenize", ".prefill", ".decode", ".detokenize")
_UNSEEN = frozenset({"compute", "constant", "transfer", "kv_transfer"})
"""Ops that a path does not name: they only pass on what they read."""

MAX_SOURCES_APART = 8
"""Of more secret sources than this, a call is reported with the nearest one only."""


def findings(program: Program, policy: Policy) -> tuple[Finding, ...]:
    """Give what a program would do against a policy, secrets first, each in program order."""
    return (*secret_findings(program, policy), *write_findings(program, policy))


def labelling(policy: Policy) -> HasLabel:
    """Give the labels of tools: their own, and those that the policy gives them."""
    more = {SECRET: frozenset(policy.secret), EXTERNAL: frozenset(policy.external)}

    def has(tool: Mapping[str, Any], label: str) -> bool:
        return has_label(tool, label) or row_name(tool) in more.get(label, ())

    return lambda tool, label: has({"name": "", **tool}, label)


# Secrets ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """Where a secret comes from: its name, the node of its value, and how a path begins."""

    name: str
    node: int
    hop: Hop


@dataclass(frozen=True, slots=True)
class Sink:
    """A call of an external tool: what it is given, and the region it stands in."""

    tool: str
    stage: Stage
    operands: tuple[int, ...]
    hop: Hop | None = None  # of a planned tool, after the expand


@dataclass(frozen=True, slots=True)
class Origin:
    """A secret that reaches a value: its source, its path so far, and whether only decisions
    carry it."""

    source: str
    path: tuple[Hop, ...]
    implicit: bool = False


def secret_findings(program: Program, policy: Policy) -> Iterator[Finding]:
    """Yield the paths from secret sources to external tools that the policy does not allow."""
    has = labelling(policy)
    sinks = list(_sinks(program, has))
    if not sinks or not _has_sources(program, policy, has):
        return
    flow = ValueFlow(program, has)
    found: dict[tuple[int, str, str], Finding] = {}
    for group in _groups(_sources(program, flow, policy, has), policy):
        reach = _Reaches(flow, group, policy.implicit)
        for sink in sinks:
            finding = reach.finding(sink, policy)
            if finding is not None:
                found.setdefault((sink.stage.id, sink.tool, finding.source), finding)
    yield from (found[key] for key in sorted(found))


def exposure(program: Program, policy: Policy) -> dict[int, dict[str, tuple[Origin, ...]]]:
    """Give, for each expand stage, the secrets that reach its operands, by operand name.

    The empty name stands for the decision that the stage runs at all.
    """
    expands = [stage for stage in program.stages if stage.op == "expand"]
    has = labelling(policy)
    if not expands or not _has_sources(program, policy, has):
        return {}
    flow = ValueFlow(program, has)
    found: dict[int, dict[str, tuple[Origin, ...]]] = {stage.id: {} for stage in expands}
    for group in _groups(_sources(program, flow, policy, has), policy):
        reach = _Reaches(flow, group, policy.implicit)
        for stage in expands:
            control = flow.control(flow.region_of.get(stage.id, 0))
            for name, node in {**named(stage), "": control}.items():
                origin = reach.origin(node)
                if origin is not None:
                    known = found[stage.id].get(name, ())
                    found[stage.id][name] = (*known, origin)
    return found


class _Reaches:
    """What one group of sources reaches: by data alone, and by decisions too."""

    def __init__(self, flow: ValueFlow, sources: Sequence[Source], implicit: bool) -> None:
        self._flow = flow
        self._by_node = {source.node: source for source in reversed(sources)}
        starts = [source.node for source in sources]
        self._explicit = Reach(flow, starts, explicit=True)
        self._all = Reach(flow, starts, explicit=False) if implicit else self._explicit

    def origin(self, *nodes: int) -> Origin | None:
        """Give the nearest source of some nodes; None where no secret reaches them."""
        for reach in (self._explicit, self._all):
            node = reach.nearest(nodes)
            if node is not None:
                start, stages = reach.path(node)
                source = self._by_node[start]
                hops = [source.hop, *_hops(self._flow.program, stages)]
                return Origin(source.name, _joined(hops), reach is not self._explicit)
        return None

    def finding(self, sink: Sink, policy: Policy) -> Finding | None:
        """Give the violation of a call; None where there is none, or it is allowed."""
        control = self._flow.control(self._flow.region_of.get(sink.stage.id, 0))
        origin = self.origin(*sink.operands, control)
        if origin is None or Flow(origin.source, sink.tool) in policy.flows:
            return None
        end = [Hop(sink.stage.name, sink.stage.where), *([sink.hop] if sink.hop else ())]
        return leak(origin, sink.tool, end)


def leak(origin: Origin, tool: str, end: Sequence[Hop]) -> Finding:
    """Say that a secret reaches an external tool; `end` are the last hops, the tool's own last."""
    how = "decides what is asked of" if origin.implicit else "goes to"
    return Finding(
        rule="secret-decides-external" if origin.implicit else "secret-to-external",
        source=origin.source,
        sink=tool,
        path=_joined([*origin.path, *end]),
        detail=f"Data from {origin.source}, marked secret, {how} {tool}, marked external",
        next_step="Keep it from the tool, put a tool labelled declassify between them, or allow "
        f'it in the policy: flows = ["{Flow(origin.source, tool)}"].',
    )


def _groups(sources: Sequence[Source], policy: Policy) -> Iterator[list[Source]]:
    """Follow few sources one by one, so that every pair is found; of many only those with
    flows of their own, all others together, so that the time stays linear in the program."""
    names = {source.name for source in sources}
    few = len(names) <= MAX_SOURCES_APART
    special = names if few else {flow.source for flow in policy.flows}
    groups: dict[str, list[Source]] = {}
    for source in sources:
        groups.setdefault(source.name if source.name in special else "", []).append(source)
    yield from groups.values()


def _has_sources(program: Program, policy: Policy, has: HasLabel) -> bool:
    if any(_input_is_secret(row, policy) for row in program.inputs):
        return True
    for stage in program.stages:
        if stage.op == "tool" and has(stage.attributes, SECRET):
            return True
        if stage.op == "lookup" and f"memory:{stage.attributes['space']}" in policy.secret:
            return True
        if any(has(row, SECRET) for row in rows(stage)):
            return True
    return False


def _input_is_secret(row: Parameter, policy: Policy) -> bool:
    return row.secret or f"input:{row.name}" in policy.secret


def _sources(program: Program, flow: ValueFlow, policy: Policy, has: HasLabel) -> list[Source]:
    found = []
    for given, value in zip(program.inputs, program.body.arguments, strict=True):
        if _input_is_secret(given, policy):
            name = f"input:{given.name}"
            found.append(Source(name, value, Hop(name)))
    for space, node in flow.spaces.items():
        if f"memory:{space}" in policy.secret:
            found.append(Source(f"memory:{space}", node, Hop(f"memory:{space}")))
    for stage in program.stages:
        if not stage.results:
            continue
        if stage.op == "tool" and has(stage.attributes, SECRET):
            hop = Hop(stage.name, stage.where)
            found.append(Source(row_name(stage.attributes), stage.results[0], hop))
        for row in rows(stage):
            if has(row, SECRET):
                hop = Hop(f"{stage.name}.{row['name']}", stage.where)
                found.append(Source(row_name(row), stage.results[0], hop))
    return found


def _sinks(program: Program, has: HasLabel) -> Iterator[Sink]:
    for stage in program.stages:
        if stage.op == "tool" and has(stage.attributes, EXTERNAL):
            yield Sink(row_name(stage.attributes), stage, tuple(named(stage).values()))
        for row in rows(stage):
            if has(row, EXTERNAL):
                given = named(stage)
                names = [name for name in ("plan", *row["given"]) if name in given]
                hop = Hop(f"{stage.name}.{row['name']}", stage.where)
                yield Sink(row_name(row), stage, tuple(given[name] for name in names), hop)


def _hops(program: Program, stages: Sequence[int]) -> Iterator[Hop]:
    for index in stages:
        stage = program.stages[index]
        if stage.op not in _UNSEEN:
            yield Hop(_author_name(stage.name), stage.where)


def _author_name(name: str) -> str:
    """Give the name of an llm call for its stages: what the author wrote is one step."""
    base, mark, count = name.partition("#")
    for end in _LLM_STAGES:
        if base.endswith(end):
            return f"{base.removesuffix(end)}{mark}{count}"
    return name


def _joined(hops: Sequence[Hop]) -> tuple[Hop, ...]:
    """Drop repetitions: one step carries a value over several edges."""
    return tuple(hop for at, hop in enumerate(hops) if at == 0 or hop != hops[at - 1])


# Writes -------------------------------------------------------------------------------------


def write_findings(program: Program, policy: Policy) -> Iterator[Finding]:
    """Yield the writes of the author's own graph that a policy with `authored = false` lacks."""
    if policy.authored:
        return
    nest = _Nest(program)
    calls: dict[str, float] = {}
    # Invariant: `calls` holds how often each tool is called at most by the stages seen so far.
    for stage in program.stages:
        if stage.op != "tool" or stage.attributes.get("effects", "write") != "write":
            continue
        tool = row_name(stage.attributes)
        grant, path = policy.grant(tool), nest.path(stage)
        if grant is None:
            yield not_granted(program.name, tool, path)
            continue
        before = calls.get(tool, 0)
        calls[tool] = before + nest.runs(stage)
        if grant.times is not None and before <= grant.times < calls[tool]:
            yield repeated(program.name, grant, calls[tool], path)


def not_granted(source: str, tool: str, path: Sequence[Hop]) -> Finding:
    """Say that a tool with write effects is reached that nobody granted."""
    return Finding(
        rule="write-not-granted",
        source=source,
        sink=tool,
        path=tuple(path),
        detail=f"The tool {tool} has write effects and was not granted",
        next_step=f"Grant it (--grant {tool}, or granted= of gl.expand), or do without it.",
    )


def repeated(source: str, grant: Grant, calls: float, path: Sequence[Hop]) -> Finding:
    """Say that a granted tool would be called too often."""
    count = "without a bound" if math.isinf(calls) else f"up to {calls:.0f} times"
    return Finding(
        rule="repeated-write",
        source=source,
        sink=grant.tool,
        path=tuple(path),
        detail=f"The tool {grant.tool} has write effects and would be called {count}; "
        f"{grant.times} were granted",
        next_step=f"Call it less often, or grant more: {grant.tool}:N.",
    )


class _Nest:
    """Which control stages stand around a stage, and how often they let it run."""

    def __init__(self, program: Program) -> None:
        self._region = {
            stage: index for index, row in enumerate(program.regions) for stage in row.stages
        }
        self._owner = {index: stage for stage in program.stages for index in stage.regions}
        self._paths: dict[int, tuple[Hop, ...]] = {0: ()}
        self._runs: dict[int, float] = {0: 1}

    def path(self, stage: Stage) -> tuple[Hop, ...]:
        """Give the control stages around a stage, the outermost first, and the stage itself."""
        region = self._known(stage)
        return (*self._paths[region], Hop(stage.name, stage.where))

    def runs(self, stage: Stage) -> float:
        """Give how often a stage runs at most; infinity where there is no bound."""
        return self._runs[self._known(stage)]

    def _known(self, stage: Stage) -> int:
        region = self._region[stage.id]
        chain = []
        at = region
        # Invariant: each of `chain` stands in the next one, and none of them is known.
        while at not in self._paths:
            chain.append(at)
            at = self._region[self._owner[at].id]
        for inner in reversed(chain):
            owner = self._owner[inner]
            outer = self._region[owner.id]
            self._paths[inner] = (*self._paths[outer], Hop(owner.name, owner.where))
            self._runs[inner] = self._runs[outer] * _times(owner, inner)
        return region


def _times(stage: Stage, region: int) -> float:
    match stage.op:
        case "map":
            return math.inf
        case "loop":
            return float(stage.attributes["max_trips"] + (region == stage.regions[0]))
        case "expand":
            return float(stage.attributes["max_steps"])
    return 1
