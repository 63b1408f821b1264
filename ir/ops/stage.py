"""Operations of the stage level: what a device or a host runs."""

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
from .spec import AttributeSpec, OpSpec, one
from .types import VALUE

_STAGE = frozenset({"stage"})
_ROUTE = (
    NAME,
    AttributeSpec("source", "str", doc="The device the value is on."),
    AttributeSpec("target", "str", doc="The device it is wanted on; never the source."),
)

_HOST = (
    OpSpec(
        "stage.tool",
        (),
        VALUE,
        (VALUE,),
        TOOL,
        levels=_STAGE,
        effects="attribute",
        doc="A call of a registered tool on a host.",
    ),
    OpSpec(
        "stage.ask",
        (),
        VALUE,
        (VALUE,),
        ASK,
        levels=_STAGE,
        effects="read",
        doc="A question to a person; the job waits.",
    ),
    OpSpec(
        "stage.expand",
        (),
        VALUE | {"tokens"},
        (one("json"),),
        EXPAND,
        levels=_STAGE,
        effects="attribute",
        doc="A plan's steps; `form = lines` reads the tokens of a decode while they are written.",
    ),
    OpSpec(
        "stage.lookup",
        (),
        VALUE | {"vector"},
        (one("list"),),
        RECALL,
        levels=_STAGE,
        effects="read",
        doc="Entries of a memory space that fit a query (a key, words, or an embedding).",
    ),
    OpSpec(
        "stage.store",
        (),
        VALUE | {"vector"},
        (one("text"),),
        STORE,
        levels=_STAGE,
        effects="write",
        doc="One entry put into a memory space, with its embedding where there is one.",
    ),
    OpSpec(
        "stage.observe",
        (),
        VALUE,
        (one("int"),),
        OBSERVE,
        levels=_STAGE,
        effects="write",
        doc="One observation appended to a log.",
    ),
    OpSpec(
        "stage.constant",
        results=(VALUE,),
        attributes=(AttributeSpec("value", "json", doc="The value."),),
        pure=True,
        levels=_STAGE,
        doc="A JSON value.",
    ),
    OpSpec(
        "stage.compute",
        (),
        VALUE,
        (VALUE,),
        COMPUTE,
        pure=True,
        levels=_STAGE,
        doc="A small computation that the dispatcher does itself.",
    ),
)

_MODEL = (
    OpSpec(
        "stage.tokenize",
        variadic=VALUE | {"tokens"},
        results=(one("tokens"),),
        attributes=(
            NAME,
            NAMES,
            MODEL,
            *TEMPLATE,
            AttributeSpec(
                "open",
                "bool",
                required=False,
                doc="Whether its last message goes on: only what continues it can be answered.",
            ),
        ),
        pure=True,
        levels=_STAGE,
        doc="A prompt's tokens. An operand named `prefix` is what they begin with; the template "
        "still says the whole prompt, so that it is encoded in one go.",
        result_names=("tokens",),
    ),
    OpSpec(
        "stage.prefill",
        (one("tokens"),),
        one("kv"),
        (one("kv"),),
        (NAME, MODEL),
        levels=_STAGE,
        doc="The KV cache of a prompt, computed beyond the cache it is given.",
        operand_names=("tokens",),
        result_names=("kv",),
    ),
    OpSpec(
        "stage.decode",
        (one("kv"),),
        VALUE,
        (one("tokens"),),
        (NAME, NAMES, MODEL, *SAMPLING),
        levels=_STAGE,
        doc="Tokens written from a KV cache; a cache may have several decodes.",
        operand_names=("kv",),
        result_names=("tokens",),
    ),
    OpSpec(
        "stage.detokenize",
        (one("tokens"),),
        None,
        (VALUE,),
        (NAME, MODEL, *FORMAT),
        pure=True,
        levels=_STAGE,
        doc="An answer's text or parsed value.",
        operand_names=("tokens",),
        result_names=("answer",),
    ),
    OpSpec(
        "stage.embed",
        (VALUE,),
        None,
        (one("vector"),),
        (NAME, MODEL),
        pure=True,
        levels=_STAGE,
        doc="The embedding of a text.",
        operand_names=("text",),
        result_names=("vector",),
    ),
)

_MOVES = (
    OpSpec(
        "stage.transfer",
        (VALUE | {"tokens", "vector"},),
        None,
        (VALUE | {"tokens", "vector"},),
        _ROUTE,
        pure=True,
        levels=_STAGE,
        doc="The same value on another device.",
        operand_names=("value",),
    ),
    OpSpec(
        "stage.kv_transfer",
        (one("kv"),),
        None,
        (one("kv"),),
        (*_ROUTE, MODEL),
        pure=True,
        levels=_STAGE,
        doc="The same KV cache on another device.",
        operand_names=("kv",),
    ),
)

STAGE_OPS = (*_HOST, *_MODEL, *_MOVES)
