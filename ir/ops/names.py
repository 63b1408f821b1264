"""Words that attributes and operands of several operations are made of."""

from __future__ import annotations

from collections.abc import Mapping

EFFECTS = ("none", "read", "write")
ROLES = ("system", "user", "assistant")
FORMATS = ("text", "json")
GRAMMAR_KINDS = ("lark", "json_schema", "regex")
SAMPLING_OPERANDS = ("seed", "temperature", "grammar")
"""Operands of an llm that steer decoding; all others are fields of its prompt, or its `cache`."""
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
the author fills. A row may also have `labels` (see TOOL_LABELS)."""
PLANNED_AGENT = frozenset({"agent", "name", "effects", "parameters", "required", "given"})
"""What an expand says of each nested agent that a plan may call: `agent` is its function."""
TOOL_LABELS = ("secret", "external", "declassify")
"""What the policy pass knows of a tool: its result is secret; what it is given leaves us; its
result is public whatever it is given (a redaction, a yes or no)."""
EXPAND_FORMS = ("steps", "lines")
"""How a plan is written: JSON steps, or lines `name(key=value, other=$1)` taken one by one."""
ON_ERROR = ("fail", "keep")
"""What a planned step that fails does: the job fails, or its error becomes its result."""
PATTERNS = ("single", "network", "supervisor", "supervisor_as_tool", "hierarchical", "custom")
"""How the agents of a nested agent work together (arXiv 2507.19635, figure 1)."""
LOOKUPS = ("key", "text", "vector")
"""How a memory lookup finds entries: by key, by words, by nearness of embeddings."""

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
