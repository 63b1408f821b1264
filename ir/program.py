"""The frozen program: what everything below the compiler runs on.

A program is one tree of regions. A region holds stages in an order in which every operand
comes before its use; values are numbered once for the whole program (SSA), so an inner region
may read a value of any region around it.

    op          operands                 regions                      results
    constant    -                        -                            value (attributes["value"])
    compute     per fn                   -                            value (pure, evaluated by
                                                                      the dispatcher itself)
    tool        arguments, named         -                            what the function returned
    ask         question, then choices   -                            what a person answered
                where there are any
    expand      plan, then values the    body(parameters) -> value    results of the steps that the
                author fills, named      of each agent it may call    plan asked for, by their ids
    tokenize    template fields, named   -                            prompt tokens
    prefill     tokens                   -                            kv handle
    decode      kv, then named options   -                            output tokens
                (seed, grammar, ...)
    detokenize  output tokens            -                            text or parsed value
    map         list                     body(item) -> value          list, in input order
    branch      condition                then() -> v, else() -> v     value
    loop        initial value            until(v) -> bool, body(v)    last value
    call        arguments, then values   body(parameters) -> value    value (a nested workflow)
                that it only waits for

`compute` functions are those of `COMPUTE_FUNCTIONS`; each is total on JSON values or raises
StepError. A loop tests `until` first, then runs `body`, at most `max_trips` times.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .errors import VersionError
from .ops import OP_TABLE_VERSION, granted_by_version_1

COMPUTE_FUNCTIONS = (
    "get",  # (mapping) attribute "key" -> member
    "item",  # (sequence, index) -> element
    "len",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "not",
    "and",
    "or",
    "add",
    "sub",
    "mul",
    "list",  # (a, b, ...) -> [a, b, ...]
    "dict",  # (a, b, ...) attribute "keys" -> {key: value}
    "range",  # (n) -> [0, ..., n-1]
)

STEP_OPS = frozenset(
    {
        *("tool", "ask", "expand", "lookup", "store", "observe"),
        *("tokenize", "prefill", "decode", "detokenize", "embed"),
    }
)
"""Ops that are recorded as steps; the others are evaluated by the dispatcher itself."""

HOST_STEPS = frozenset({"tool", "ask", "expand", "lookup", "store", "observe"})
"""Steps that no model takes part in: they need a host with CPU cores."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One operation.

    Attributes:
        id: index into `Program.stages`.
        op: see the table at the top of this file.
        name: unique in the program and stable across compilations of the same source, for
            example `draft.prefill` or `execute` (the second use of a name gets `#2`).
        operands, results: value numbers.
        attributes: JSON. tool: `tool` (registered name), `names` (parameter of each operand),
            `effects`, `timeout_s`, `retries`, `idempotent`, `signature`. ask: `names`, `schema`
            (JSON Schema of the answer). expand: `names`, `tools` (see ops.PLANNED_TOOL),
            `max_steps`, `form`, `on_error`, and where agents are among the tools `agents` (row name: index into
            `regions`) and `inputs` (row name: names of the region's arguments). tokenize: `model`,
            `template` (list of {role, text} with {field} marks), `names` (field of each
            operand). prefill: `model`. decode: `model`, `max_tokens`, `temperature`, `seed`,
            `stop`, `grammar` ({kind, text}) and `names` for operands after the kv. detokenize:
            `model`, `format` (`text` or `json`). loop: `max_trips`. compute: `fn`.
        regions: indices into `Program.regions`.
        where: `file:line` in the author's source; not part of the hash.
    """

    id: int
    op: str
    name: str
    operands: tuple[int, ...] = ()
    results: tuple[int, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    regions: tuple[int, ...] = ()
    where: str = ""


@dataclass(frozen=True, slots=True)
class Region:
    """A list of stages with its own parameters; `yields` are the values it gives back."""

    arguments: tuple[int, ...]
    stages: tuple[int, ...]
    yields: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One input of a workflow. `type` is the printed form of its IR type, e.g. `text`.

    `secret` says that it may not reach an external tool (see ir/policy.py).
    """

    name: str
    type: str
    schema: Mapping[str, Any] = field(default_factory=dict)
    required: bool = True
    default: Any = None
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled workflow. `regions[0]` is the body; its arguments are the inputs in order.

    `text` is the canonical stage-level MLIR without locations; `hash` identifies it together
    with `version`, the version of the op table it was compiled with.
    """

    name: str
    inputs: tuple[Parameter, ...]
    regions: tuple[Region, ...]
    stages: tuple[Stage, ...]
    deadline_s: float | None = None
    budget_usd: float | None = None
    text: str = ""
    version: int = OP_TABLE_VERSION

    @property
    def hash(self) -> str:
        """blake2b-128 over the op-table version and the canonical text, in hex."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(f"op-table {self.version}\n".encode())
        digest.update(self.text.encode())
        return digest.hexdigest()

    @property
    def body(self) -> Region:
        """The region that is the workflow itself."""
        return self.regions[0]

    def walk(self, region: int = 0) -> Iterator[Stage]:
        """Yield every stage of a region and of the regions inside it, in program order."""
        for index in self.regions[region].stages:
            stage = self.stages[index]
            yield stage
            for inner in stage.regions:
                yield from self.walk(inner)

    def producers(self) -> dict[int, Stage]:
        """Map each value number to the stage that makes it (region arguments are absent)."""
        return {value: stage for stage in self.stages for value in stage.results}

    def to_json(self) -> dict[str, Any]:
        """Give the program as plain JSON; `from_json` rebuilds an equal one."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Program:
        """Rebuild a program from `to_json`; VersionError where a newer gangline wrote it.

        A program of an older version gets what its stages have now, and keeps version and hash.
        """
        version = data.get("version", 1)
        if version > OP_TABLE_VERSION:
            raise VersionError(
                f"the program is written for version {version} of the op table, and this "
                f"gangline knows versions 1 to {OP_TABLE_VERSION}",
                where=data["name"],
                next_step="Use a newer gangline, or submit the workflow again.",
            )
        return cls(
            name=data["name"],
            inputs=tuple(Parameter(**row) for row in data["inputs"]),
            regions=tuple(
                Region(tuple(row["arguments"]), tuple(row["stages"]), tuple(row["yields"]))
                for row in data["regions"]
            ),
            stages=tuple(_stage(row, version) for row in data["stages"]),
            deadline_s=data["deadline_s"],
            budget_usd=data["budget_usd"],
            text=data["text"],
            version=version,
        )


def _stage(row: Mapping[str, Any], version: int) -> Stage:
    tuples = {key: tuple(row[key]) for key in ("operands", "results", "regions")}
    attributes = row["attributes"]
    if version < 2 and row["op"] == "expand" and "granted" not in attributes:
        granted = granted_by_version_1(attributes.get("tools"))
        row = {**row, "attributes": {**attributes, "granted": granted}}
    return Stage(**{**row, **tuples})
