"""Operations of the agent level: what an author writes, and the glue between values and scf.

Operands after the named ones carry no data: they only say that an earlier effect must have
happened (see workflows/tracing).
"""

from __future__ import annotations

from .attribute_sets import (
    ASK,
    COMPUTE,
    EXPAND,
    FORMAT,
    MODEL,
    NAME,
    NAMES,
    OBSERVE,
    RECALL,
    SAMPLING,
    STORE,
    TEMPLATE,
    TOOL,
)
from .names import PATTERNS
from .spec import AttributeSpec, OpSpec, one
from .types import VALUE

_AGENT = frozenset({"agent"})
_EMBEDDER = AttributeSpec(
    "model", "str", required=False, doc="The model whose embeddings a `vector` lookup compares."
)

_WORK = (
    OpSpec(
        "agent.llm",
        variadic=VALUE | {"kv"},
        results=(VALUE,),
        attributes=(NAME, NAMES, MODEL, *TEMPLATE, *SAMPLING, *FORMAT),
        levels=_AGENT,
        doc="A model writes an answer to a prompt made of its template and operands; an operand named "
        "`cache` is a KV cache that the prompt continues, `seed`, `temperature` and `grammar` steer "
        "the draws, all others are fields.",
        result_names=("answer",),
    ),
    OpSpec(
        "agent.cache",
        variadic=VALUE | {"kv"},
        results=(one("kv"),),
        attributes=(NAME, NAMES, MODEL, *TEMPLATE),
        pure=True,
        levels=_AGENT,
        doc="The KV cache of a prompt's beginning, which several llm calls continue; an operand named "
        "`cache` is what it continues itself.",
        result_names=("cache",),
    ),
    OpSpec(
        "agent.tool",
        (),
        VALUE,
        (VALUE,),
        TOOL,
        levels=_AGENT,
        effects="attribute",
        doc="A call of a registered tool.",
        result_names=("result",),
    ),
    OpSpec(
        "agent.ask",
        (),
        VALUE,
        (VALUE,),
        ASK,
        levels=_AGENT,
        effects="read",
        doc="A question to a person, whose answer is the result.",
        result_names=("answer",),
    ),
    OpSpec(
        "agent.expand",
        (),
        VALUE,
        (one("json"),),
        EXPAND,
        levels=_AGENT,
        effects="attribute",
        doc="A plan written at run time (the operand named `plan`): checked, then spliced in as "
        "steps. It gives their results by their ids; other operands fill what a plan may not choose.",
        result_names=("results",),
    ),
    OpSpec(
        "agent.recall",
        (),
        VALUE,
        (one("list"),),
        (*RECALL, _EMBEDDER),
        levels=_AGENT,
        effects="read",
        doc="A memory lookup: entries of a memory space that fit a query.",
        result_names=("entries",),
    ),
    OpSpec(
        "agent.remember",
        (),
        VALUE,
        (one("text"),),
        (*STORE, _EMBEDDER),
        levels=_AGENT,
        effects="write",
        doc="A memory store: one entry of a memory space; gives its key.",
        result_names=("key",),
    ),
    OpSpec(
        "agent.observe",
        (),
        VALUE,
        (one("int"),),
        OBSERVE,
        levels=_AGENT,
        effects="write",
        doc="An observation (an event and what came of it) appended to a log; gives its number.",
        result_names=("number",),
    ),
    OpSpec(
        "agent.constant",
        results=(VALUE,),
        attributes=(AttributeSpec("value", "json", doc="The value."),),
        pure=True,
        levels=_AGENT,
        doc="A JSON value.",
    ),
    OpSpec(
        "agent.compute",
        (),
        VALUE,
        (VALUE,),
        COMPUTE,
        pure=True,
        levels=_AGENT,
        doc="A small computation that the dispatcher does itself.",
    ),
    OpSpec(
        "agent.call",
        variadic=VALUE,
        results=(VALUE,),
        attributes=(
            NAME,
            AttributeSpec("callee", "symbol", doc="The function that is called."),
            AttributeSpec(
                "pattern",
                "str",
                required=False,
                choices=PATTERNS,
                doc="How the agents inside work together.",
            ),
        ),
        effects="attribute",
        doc="A nested agent or workflow: a function of the same module.",
    ),
)

_GLUE = (
    OpSpec(
        "agent.cast",
        (VALUE,),
        None,
        (VALUE,),
        pure=True,
        glue=True,
        doc="The same value under another type.",
        operand_names=("value",),
    ),
    OpSpec(
        "agent.length",
        (one("list"),),
        None,
        (one("int"),),
        pure=True,
        glue=True,
        doc="The length of a map's list.",
        operand_names=("items",),
    ),
    OpSpec(
        "agent.empty", (), None, (one("list"),), pure=True, glue=True, doc="What a map starts with."
    ),
    OpSpec(
        "agent.element",
        (one("list"), one("int")),
        None,
        (VALUE,),
        glue=True,
        doc="The item of one trip of a map.",
        operand_names=("items", "index"),
    ),
    OpSpec(
        "agent.append",
        (one("list"), VALUE),
        None,
        (one("list"),),
        glue=True,
        doc="The result of one trip of a map.",
        operand_names=("collected", "value"),
    ),
    OpSpec(
        "agent.until",
        (one("bool"),),
        None,
        (one("bool"),),
        glue=True,
        doc="The test that ends a loop: nothing in front of it may write.",
        operand_names=("done",),
    ),
)

AGENT_OPS = (*_WORK, *_GLUE)
