"""Attributes that operations of both levels share."""

from __future__ import annotations

from .names import (
    COMPUTE_ARITY,
    EFFECTS,
    EXPAND_FORMS,
    FORMATS,
    LOOKUPS,
    ON_ERROR,
)
from .spec import AttributeSpec

NAME = AttributeSpec("name", "str")
NAMES = AttributeSpec("names", "strs")
MODEL = AttributeSpec("model", "str")
TEMPLATE = (
    AttributeSpec("template", "json"),
    AttributeSpec("free", "strs", required=False),
)
SAMPLING = (
    AttributeSpec("max_tokens", "int", minimum=1),
    AttributeSpec("temperature", "float", required=False, minimum=0.0),
    AttributeSpec("top_p", "float", required=False, minimum=0.0),
    AttributeSpec("seed", "int", required=False),
    AttributeSpec("stop", "strs", required=False),
    AttributeSpec("grammar", "json", required=False),
)
FORMAT = (
    AttributeSpec("format", "str", choices=FORMATS),
    AttributeSpec("schema", "json", required=False),
)
TOOL = (
    NAME,
    NAMES,
    AttributeSpec("tool", "str"),
    AttributeSpec("effects", "str", choices=EFFECTS),
    AttributeSpec("timeout_s", "float", minimum=0.0),
    AttributeSpec("retries", "int", minimum=0),
    AttributeSpec("idempotent", "bool"),
    AttributeSpec("signature", "str"),
    AttributeSpec("labels", "strs", required=False),
)
ASK = (NAME, NAMES, AttributeSpec("schema", "json"))
EXPAND = (
    NAME,
    NAMES,
    AttributeSpec("tools", "json"),
    AttributeSpec("max_steps", "int", minimum=1),
    AttributeSpec("granted", "strs"),
    AttributeSpec("form", "str", required=False, choices=EXPAND_FORMS),
    AttributeSpec("on_error", "str", required=False, choices=ON_ERROR),
)
COMPUTE = (
    AttributeSpec("fn", "str", choices=tuple(COMPUTE_ARITY)),
    AttributeSpec("key", "str", required=False),
    AttributeSpec("keys", "strs", required=False),
)
RECALL = (
    NAME,
    NAMES,
    AttributeSpec("space", "str"),
    AttributeSpec("by", "str", choices=LOOKUPS),
    AttributeSpec("limit", "int", minimum=1),
)
STORE = (NAME, NAMES, AttributeSpec("space", "str"))
OBSERVE = (NAME, NAMES, AttributeSpec("space", "str"))
SHARD = (
    AttributeSpec("rank", "int", minimum=0),
    AttributeSpec("degree", "int", minimum=1),
)
