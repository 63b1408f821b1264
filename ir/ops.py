"""The op table: every operation of the `agent` and `stage` dialects, once.

The Python verifier, the OpView classes and the IRDL text are all made from `OPS`, so a rule
stated here holds everywhere. Nothing in this file needs MLIR.

Operations are written in MLIR's generic form. None of them holds a region: branches, loops and
maps are `scf` operations, because MLIR's own passes delete live functions around unregistered
operations with regions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TYPES: Mapping[str, str] = {
    "text": "!agent.text",
    "database": "!agent.database",
    "json": "!agent.json",
    "list": "!agent.list",
    "int": "i64",
    "float": "f64",
    "bool": "i1",
    "tokens": "!stage.tokens",
    "kv": "!stage.kv",
}
"""Type names used by `Parameter.type` and the graph, and how MLIR prints them."""

TYPE_NAMES: Mapping[str, str] = {text: name for name, text in TYPES.items()}

VALUE = frozenset({"text", "database", "json", "list", "int", "float", "bool"})
"""Types whose values are JSON; `tokens` and `kv` are handles that never leave an engine."""

EFFECTS = ("none", "read", "write")
ROLES = ("system", "user", "assistant")
FORMATS = ("text", "json")
GRAMMAR_KINDS = ("lark", "json_schema", "regex")
SAMPLING_OPERANDS = ("seed", "temperature", "grammar")
"""Operands of an llm that steer decoding; all others are fields of its prompt."""
ASK_OPERANDS = ("question", "choices")
"""Named operands of an ask: what is asked, and (not always) what may be answered."""
PLANNED_TOOL = frozenset(
    {
        *("tool", "effects", "timeout_s", "retries", "idempotent", "signature"),
        *("name", "parameters", "required", "given"),
    }
)
"""What an expand says of each tool that a plan may use: what a tool stage has, what the plan
calls it, the JSON Schemas of the parameters a plan may set, which of them it must, and the names
the author fills."""

COMPUTE_ARITY: Mapping[str, tuple[int, int | None]] = {
    "get": (1, 1),
    "item": (2, 2),
    "len": (1, 1),
    "eq": (2, 2),
    "ne": (2, 2),
    "lt": (2, 2),
    "le": (2, 2),
    "gt": (2, 2),
    "ge": (2, 2),
    "not": (1, 1),
    "and": (2, None),
    "or": (2, None),
    "add": (2, 2),
    "sub": (2, 2),
    "mul": (2, 2),
    "list": (0, None),
    "dict": (0, None),
    "range": (1, 1),
}
"""Fewest and most operands of each compute function (None: no limit)."""


@dataclass(frozen=True, slots=True)
class AttributeSpec:
    """One attribute. `kind` is str, int, float, bool, strs (array of strings), symbol or json.

    `choices` limits a str; `minimum` bounds an int or float from below (inclusive).
    """

    name: str
    kind: str
    required: bool = True
    choices: tuple[str, ...] = ()
    minimum: float | None = None


@dataclass(frozen=True, slots=True)
class OpSpec:
    """One operation.

    Attributes:
        name: `dialect.op`.
        operands: allowed types of each leading operand.
        variadic: allowed types of any further operands; None where there are none.
        results: allowed types of each result.
        attributes: its attributes; any other is an error.
        pure: True where equal operands and attributes always give an equal result and
            nothing else happens, so it may be merged or removed.
        levels: the levels (agent, stage) at which the operation may occur.
        glue: True where it only gives shape to an scf operation; it is no stage.
    """

    name: str
    operands: tuple[frozenset[str], ...] = ()
    variadic: frozenset[str] | None = None
    results: tuple[frozenset[str], ...] = ()
    attributes: tuple[AttributeSpec, ...] = ()
    pure: bool = False
    levels: frozenset[str] = frozenset({"agent", "stage"})
    glue: bool = False

    @property
    def dialect(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]

    @property
    def mnemonic(self) -> str:
        """The part of the name after the dot."""
        return self.name.partition(".")[2]

    def attribute(self, name: str) -> AttributeSpec | None:
        """Find an attribute by name."""
        return next((found for found in self.attributes if found.name == name), None)


def _one(*types: str) -> frozenset[str]:
    return frozenset(types)


_AGENT = frozenset({"agent"})
_STAGE = frozenset({"stage"})
_NAME = AttributeSpec("name", "str")
_NAMES = AttributeSpec("names", "strs")
_MODEL = AttributeSpec("model", "str")
_TEMPLATE = (
    AttributeSpec("template", "json"),
    AttributeSpec("free", "strs", required=False),
)
_SAMPLING = (
    AttributeSpec("max_tokens", "int", minimum=1),
    AttributeSpec("temperature", "float", required=False, minimum=0.0),
    AttributeSpec("top_p", "float", required=False, minimum=0.0),
    AttributeSpec("seed", "int", required=False),
    AttributeSpec("stop", "strs", required=False),
    AttributeSpec("grammar", "json", required=False),
)
_FORMAT = (
    AttributeSpec("format", "str", choices=FORMATS),
    AttributeSpec("schema", "json", required=False),
)
_TOOL = (
    _NAME,
    _NAMES,
    AttributeSpec("tool", "str"),
    AttributeSpec("effects", "str", choices=EFFECTS),
    AttributeSpec("timeout_s", "float", minimum=0.0),
    AttributeSpec("retries", "int", minimum=0),
    AttributeSpec("idempotent", "bool"),
    AttributeSpec("signature", "str"),
)
_ASK = (_NAME, _NAMES, AttributeSpec("schema", "json"))
_EXPAND = (
    _NAME,
    _NAMES,
    AttributeSpec("tools", "json"),
    AttributeSpec("max_steps", "int", minimum=1),
)
_COMPUTE = (
    AttributeSpec("fn", "str", choices=tuple(COMPUTE_ARITY)),
    AttributeSpec("key", "str", required=False),
    AttributeSpec("keys", "strs", required=False),
)

_TABLE = (
    # What an author writes. Operands after the named ones carry no data: they only say that an
    # earlier effect must have happened (see workflows/tracing).
    OpSpec(
        "agent.llm",
        variadic=VALUE,
        results=(VALUE,),
        attributes=(_NAME, _NAMES, _MODEL, *_TEMPLATE, *_SAMPLING, *_FORMAT),
        levels=_AGENT,
    ),
    OpSpec("agent.tool", (), VALUE, (VALUE,), _TOOL, levels=_AGENT),
    OpSpec("agent.ask", (), VALUE, (VALUE,), _ASK, levels=_AGENT),
    OpSpec("agent.expand", (), VALUE, (_one("json"),), _EXPAND, levels=_AGENT),
    OpSpec(
        "agent.constant",
        results=(VALUE,),
        attributes=(AttributeSpec("value", "json"),),
        pure=True,
        levels=_AGENT,
    ),
    OpSpec("agent.compute", (), VALUE, (VALUE,), _COMPUTE, pure=True, levels=_AGENT),
    OpSpec(
        "agent.call",
        variadic=VALUE,
        results=(VALUE,),
        attributes=(_NAME, AttributeSpec("callee", "symbol")),
    ),
    # Glue between values and scf.
    OpSpec("agent.cast", (VALUE,), None, (VALUE,), pure=True, glue=True),
    OpSpec("agent.length", (_one("list"),), None, (_one("int"),), pure=True, glue=True),
    OpSpec("agent.empty", (), None, (_one("list"),), pure=True, glue=True),
    OpSpec("agent.element", (_one("list"), _one("int")), None, (VALUE,), glue=True),
    OpSpec("agent.append", (_one("list"), VALUE), None, (_one("list"),), glue=True),
    OpSpec("agent.until", (_one("bool"),), None, (_one("bool"),), glue=True),
    # What a device runs.
    OpSpec("stage.tool", (), VALUE, (VALUE,), _TOOL, levels=_STAGE),
    OpSpec("stage.ask", (), VALUE, (VALUE,), _ASK, levels=_STAGE),
    OpSpec("stage.expand", (), VALUE, (_one("json"),), _EXPAND, levels=_STAGE),
    OpSpec(
        "stage.constant",
        results=(VALUE,),
        attributes=(AttributeSpec("value", "json"),),
        pure=True,
        levels=_STAGE,
    ),
    OpSpec("stage.compute", (), VALUE, (VALUE,), _COMPUTE, pure=True, levels=_STAGE),
    OpSpec(
        "stage.tokenize",
        variadic=VALUE,
        results=(_one("tokens"),),
        attributes=(_NAME, _NAMES, _MODEL, *_TEMPLATE),
        pure=True,
        levels=_STAGE,
    ),
    OpSpec(
        "stage.prefill",
        (_one("tokens"),),
        None,
        (_one("kv"),),
        (_NAME, _MODEL),
        levels=_STAGE,
    ),
    OpSpec(
        "stage.decode",
        (_one("kv"),),
        VALUE,
        (_one("tokens"),),
        (_NAME, _NAMES, _MODEL, *_SAMPLING),
        levels=_STAGE,
    ),
    OpSpec(
        "stage.detokenize",
        (_one("tokens"),),
        None,
        (VALUE,),
        (_NAME, _MODEL, *_FORMAT),
        pure=True,
        levels=_STAGE,
    ),
)

OPS: Mapping[str, OpSpec] = {spec.name: spec for spec in _TABLE}
DIALECTS = tuple(sorted({spec.dialect for spec in _TABLE}))
