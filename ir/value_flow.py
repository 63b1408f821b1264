"""Where the values of a program go: a graph of values, memory spaces and regions that run.

Nodes are value numbers, then one node per region (whether and how often it runs), then one per
memory space. An edge says that the one may be learned from the other, and by which stage; it is
implicit where only a decision carries it: a branch, a loop's end, the length of a map's list.

Built once in time linear in the program, and only for programs that have both a secret source
and an external tool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .ops import TOOL_LABELS
from .program import HOST_STEPS, Program, Stage

SECRET, EXTERNAL, DECLASSIFY = TOOL_LABELS
Edge = tuple[int, int, bool]
"""(node it goes to, stage that carries it, implicit)."""

HasLabel = Callable[[Mapping[str, Any], str], bool]
"""Says whether a tool's attributes (or an expand's row) carry a label."""


def has_label(tool: Mapping[str, Any], label: str) -> bool:
    """Say whether a tool's own attributes carry a label."""
    return label in tool.get("labels", ())


def rows(stage: Stage) -> Sequence[Mapping[str, Any]]:
    """Give the tools and agents that a plan of an expand may use; nothing for other stages."""
    return stage.attributes.get("tools", ()) if stage.op == "expand" else ()


def row_name(row: Mapping[str, Any]) -> str:
    """Give the registered name of a planned tool, or the function of a planned agent."""
    return str(row.get("tool") or row.get("agent") or row["name"])


def named(stage: Stage) -> dict[str, int]:
    """Give a host step's operands by name; those after the named ones only order effects."""
    return dict(zip(stage.attributes.get("names", ()), stage.operands, strict=False))


class ValueFlow:
    """The graph of one program.

    Attributes:
        edges: by node.
        region_of: the region each stage stands in, by stage id.
    """

    def __init__(self, program: Program, has: HasLabel = has_label) -> None:
        self.program = program
        self._has = has
        self._spaces: dict[str, int] = {}
        self._literals: dict[int, Stage] = {}
        self._alias: dict[int, int] = {}
        self._constants: dict[int, Any] = {}
        self.region_of = _homes(program)
        values = 1 + max(
            (
                *(value for stage in program.stages for value in stage.results),
                *(value for region in program.regions for value in region.arguments),
            ),
            default=-1,
        )
        self._first_region = values
        self.edges: list[list[Edge]] = [[] for _ in range(values + len(program.regions))]
        for stage in program.stages:
            self._stage(stage)

    def control(self, region: int) -> int:
        """Give the node of "this region runs"."""
        return self._first_region + region

    def space(self, name: str) -> int:
        """Give the node of a memory space."""
        node = self._spaces.get(name)
        if node is None:
            node = self._spaces[name] = len(self.edges)
            self.edges.append([])
        return node

    @property
    def spaces(self) -> Mapping[str, int]:
        """Give the nodes of the memory spaces that the program names."""
        return self._spaces

    def _edge(self, source: int, target: int, stage: Stage, implicit: bool = False) -> None:
        self.edges[source].append((target, stage.id, implicit))

    def _all(self, sources: Sequence[int], targets: Sequence[int], stage: Stage) -> None:
        for source in sources:
            for target in targets:
                self._edge(source, target, stage)

    def _stage(self, stage: Stage) -> None:
        match stage.op:
            case "constant":
                for value in stage.results:
                    self._constants[value] = stage.attributes["value"]
            case "compute":
                self._compute(stage)
            case "branch":
                self._branch(stage)
            case "loop":
                self._loop(stage)
            case "map":
                self._map(stage)
            case "call":
                self._call(stage)
            case op if op in HOST_STEPS:
                self._host(stage)
            case _:
                # Whatever else a stage is, its results may hold all that it reads.
                self._all(stage.operands, stage.results, stage)
                self._enclosed(stage)

    def _enclosed(self, stage: Stage) -> None:
        """A region runs only if the one around it does."""
        home = self.region_of.get(stage.id, 0)
        for region in stage.regions:
            self._edge(self.control(home), self.control(region), stage, True)

    # Host steps ---------------------------------------------------------------------------

    def _host(self, stage: Stage) -> None:
        given = named(stage)
        match stage.op:
            case "tool" if self._has(stage.attributes, DECLASSIFY):
                return
            case "ask":
                # A person answers what he likes, but among the choices he is given.
                if "choices" in given:
                    self._all([given["choices"]], stage.results, stage)
            case "store" | "observe":
                self._all(list(given.values()), stage.results, stage)
                node = self.space(stage.attributes["space"])
                self._all(list(given.values()), [node], stage)
                home = self.region_of.get(stage.id, 0)
                self._edge(self.control(home), node, stage, True)
            case "lookup":
                node = self.space(stage.attributes["space"])
                self._all([*given.values(), node], stage.results, stage)
            case "expand":
                self._expand(stage, given)
            case _:
                self._all(list(given.values()), stage.results, stage)

    def _expand(self, stage: Stage, given: Mapping[str, int]) -> None:
        """A plan decides which agents run, and may hand them all that it has."""
        self._all(list(given.values()), stage.results, stage)
        regions = self.program.regions
        for index in stage.regions:
            self._all(list(given.values()), regions[index].arguments, stage)
            self._all(regions[index].yields, stage.results, stage)
            if "plan" in given:
                self._edge(given["plan"], self.control(index), stage, True)
        # What one agent gives, a plan may hand to another.
        for index in stage.regions:
            for other in stage.regions:
                self._all(regions[index].yields, regions[other].arguments, stage)
        self._enclosed(stage)

    # Computations ---------------------------------------------------------------------------

    def _compute(self, stage: Stage) -> None:
        fn = stage.attributes["fn"]
        if fn in ("list", "dict"):
            for value in stage.results:
                self._literals[value] = stage
        chosen = self._member(stage, fn) if fn in ("get", "item") else None
        if chosen is not None:
            for value in stage.results:
                self._alias[value] = chosen
            self._all([chosen], stage.results, stage)
            return
        operands: Sequence[int] = stage.operands
        if fn == "len" and self._root(operands[0]) in self._literals:
            return  # the author wrote how long it is
        self._all(operands, stage.results, stage)

    def _member(self, stage: Stage, fn: str) -> int | None:
        """Give the value that a part of a list or dict written by the author is, if that is sure."""
        literal = self._literals.get(self._root(stage.operands[0]))
        if literal is None:
            return None
        if fn == "get":
            keys = literal.attributes.get("keys", ())
            key = stage.attributes.get("key")
            if key not in keys:
                return None
            # The last of equal keys wins when the dict is made.
            at = len(keys) - 1 - list(reversed(keys)).index(key)
            return self._root(literal.operands[at])
        index = self._constants.get(stage.operands[1])
        if literal.attributes["fn"] != "list":
            return None
        if not isinstance(index, int) or isinstance(index, bool):
            return None
        if not -len(literal.operands) <= index < len(literal.operands):
            return None
        return self._root(literal.operands[index])

    def _root(self, value: int) -> int:
        # Invariant: an alias is an older value, so the chain ends.
        while value in self._alias:
            value = self._alias[value]
        return value

    # Control ----------------------------------------------------------------------------------

    def _branch(self, stage: Stage) -> None:
        condition = stage.operands[0]
        for target in stage.results:
            self._edge(condition, target, stage, True)
        for index in stage.regions:
            self._edge(condition, self.control(index), stage, True)
            self._all(self.program.regions[index].yields, stage.results, stage)
        self._enclosed(stage)

    def _loop(self, stage: Stage) -> None:
        until, body = (self.program.regions[index] for index in stage.regions)
        targets = (*until.arguments, *body.arguments, *stage.results)
        self._all((*stage.operands, *body.yields), targets, stage)
        for test in until.yields:
            for target in (*targets, *map(self.control, stage.regions)):
                self._edge(test, target, stage, True)
        self._enclosed(stage)

    def _map(self, stage: Stage) -> None:
        items, (index,) = stage.operands[0], stage.regions
        body = self.program.regions[index]
        self._all((items,), body.arguments, stage)
        self._all(body.yields, stage.results, stage)
        if self._root(items) not in self._literals:
            for target in (*stage.results, self.control(index)):
                self._edge(items, target, stage, True)
        self._enclosed(stage)

    def _call(self, stage: Stage) -> None:
        for index in stage.regions:
            body = self.program.regions[index]
            for given, argument in zip(stage.operands, body.arguments, strict=False):
                self._alias[argument] = self._root(given)
                self._edge(given, argument, stage)
            for value, result in zip(body.yields, stage.results, strict=False):
                self._alias[result] = value
                self._edge(value, result, stage)
        self._enclosed(stage)


def _homes(program: Program) -> dict[int, int]:
    pairs = enumerate(program.regions)
    return {stage: index for index, region in pairs for stage in region.stages}


class Reach:
    """What is reached from some nodes, each by a shortest path (breadth first).

    Args:
        explicit: follow no implicit edges.
    """

    def __init__(self, flow: ValueFlow, starts: Sequence[int], explicit: bool) -> None:
        # By node: (node before it, stage between, distance); -1 before a start.
        self._came: dict[int, tuple[int, int, int]] = dict.fromkeys(starts, (-1, -1, 0))
        frontier = list(self._came)
        edges = flow.edges
        # Invariant: `frontier` holds the nodes of one distance, all of them in `_came`.
        while frontier:
            found: list[int] = []
            for node in frontier:
                distance = self._came[node][2] + 1
                for target, stage, implicit in edges[node]:
                    if target not in self._came and not (explicit and implicit):
                        self._came[target] = (node, stage, distance)
                        found.append(target)
            frontier = found

    def __contains__(self, node: int) -> bool:
        return node in self._came

    def nearest(self, nodes: Sequence[int]) -> int | None:
        """Give the node of the shortest path; None where none is reached."""
        reached = [node for node in nodes if node in self._came]
        return min(reached, key=lambda node: self._came[node][2], default=None)

    def path(self, node: int) -> tuple[int, list[int]]:
        """Give the start that a node is reached from, and the stages between in order."""
        stages: list[int] = []
        # Invariant: `stages` are those after `node`, backwards.
        while True:
            before, stage, _ = self._came[node]
            if before < 0:
                return node, stages[::-1]
            stages.append(stage)
            node = before

    def nodes(self) -> Iterator[int]:
        """Yield every node reached, the starts first."""
        return iter(self._came)
