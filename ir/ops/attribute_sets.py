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

NAME = AttributeSpec("name", "str", doc="What the step is called.")
NAMES = AttributeSpec(
    "names",
    "strs",
    doc="The name of each operand after the leading ones. Operands beyond the names carry no "
    "data: they are results of earlier effects, which must have happened first.",
)
MODEL = AttributeSpec("model", "str", doc="A model of the catalogue.")
TEMPLATE = (
    AttributeSpec(
        "template", "json", doc="Messages `{role, text}`; `{field}` stands for a named operand."
    ),
    AttributeSpec(
        "free", "strs", required=False, doc="Fields that may move to the front of the prompt."
    ),
    AttributeSpec(
        "prefix_ids",
        "json",
        required=False,
        doc="Ends of what other prompts begin with too: `{scope, message, chars}` of the template.",
    ),
)
SAMPLING = (
    AttributeSpec("max_tokens", "int", minimum=1, doc="Most tokens written."),
    AttributeSpec(
        "temperature", "float", required=False, minimum=0.0, doc="0 always takes the likeliest."
    ),
    AttributeSpec(
        "top_p",
        "float",
        required=False,
        minimum=0.0,
        maximum=1.0,
        doc="Draw from the likeliest tokens that together have this probability.",
    ),
    AttributeSpec("seed", "int", required=False, doc="Seed of the draws."),
    AttributeSpec("stop", "strs", required=False, doc="Texts that end the answer."),
    AttributeSpec(
        "grammar", "json", required=False, doc="`{kind, text}`: what the answer must match."
    ),
)
FORMAT = (
    AttributeSpec("format", "str", choices=FORMATS, doc="How the answer is read."),
    AttributeSpec(
        "schema", "json", required=False, doc="JSON Schema that a `json` answer must match."
    ),
)
TOOL = (
    NAME,
    NAMES,
    AttributeSpec("tool", "str", doc="The registered name."),
    AttributeSpec("effects", "str", choices=EFFECTS, doc="What the tool does to the world."),
    AttributeSpec("timeout_s", "float", minimum=0.0, doc="Seconds one try may take."),
    AttributeSpec("retries", "int", minimum=0, doc="Further tries after one that failed."),
    AttributeSpec("idempotent", "bool", doc="Whether calling it twice does no more than once."),
    AttributeSpec("signature", "str", doc="Hash of its parameters; another one is another tool."),
    AttributeSpec(
        "labels", "strs", required=False, doc="What the policy knows of it (`secret`, `external`)."
    ),
)
ASK = (
    NAME,
    NAMES,
    AttributeSpec("schema", "json", doc="JSON Schema of the answer."),
)
EXPAND = (
    NAME,
    NAMES,
    AttributeSpec("tools", "json", doc="Rows of the tools and agents that a plan may use."),
    AttributeSpec("max_steps", "int", minimum=1, doc="Most steps a plan may have."),
    AttributeSpec("granted", "strs", doc="Tools with write effects a plan uses without asking."),
    AttributeSpec("form", "str", required=False, choices=EXPAND_FORMS, doc="How plans look."),
    AttributeSpec(
        "on_error", "str", required=False, choices=ON_ERROR, doc="What a failed step does."
    ),
)
COMPUTE = (
    AttributeSpec("fn", "str", choices=tuple(COMPUTE_ARITY), doc="What is computed."),
    AttributeSpec("key", "str", required=False, doc="The member that `get` gives."),
    AttributeSpec("keys", "strs", required=False, doc="The keys of `dict`, one per operand."),
)
_SPACE = AttributeSpec("space", "str", doc="The memory space, within the job's tenant.")
RECALL = (
    NAME,
    NAMES,
    _SPACE,
    AttributeSpec("by", "str", choices=LOOKUPS, doc="How entries are found."),
    AttributeSpec("limit", "int", minimum=1, doc="Most entries."),
)
STORE = (NAME, NAMES, _SPACE)
OBSERVE = (NAME, NAMES, AttributeSpec("space", "str", doc="The log that is appended to."))
SHARD = (
    AttributeSpec("rank", "int", minimum=0, doc="Which part this is, from 0."),
    AttributeSpec("degree", "int", minimum=1, doc="How many parts there are."),
)
