"""The whole prompt of a model call that may go on from a KV cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gangline.ir.attributes import decode
from gangline.ir.ops import SAMPLING_OPERANDS

from .prompt_parts import FIELD

PREFIX = "prefix"
"""Operand of a tokenize stage that is no field: the tokens that its prompt begins with."""

_NO_FIELDS = frozenset({*SAMPLING_OPERANDS, "cache"})


@dataclass(slots=True)
class WholePrompt:
    """A template with its fields, from the first message on.

    Tokens at the seam of two texts depend on both, so a prompt is never encoded in pieces: what
    continues a cache says again what the cache holds.

    Attributes:
        fields: values by name.
        ends: rows of `prefix_ids`.
        tokens, kv: of the cache that the prompt goes on from; None where it begins anew.
    """

    template: list[dict[str, str]] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    ends: list[dict[str, Any]] = field(default_factory=list)
    tokens: Any = None
    kv: Any = None


def whole_prompt(op: Any) -> WholePrompt:
    """Give the prompt of an `agent.llm` or `agent.cache` whose own cache is lowered already."""
    named = dict(zip(decode(op.attributes["names"]), op.operands, strict=True))
    kv = named.get("cache")
    found = WholePrompt() if kv is None else _before(kv)
    names = {
        name: _add(found.fields, name, value)
        for name, value in named.items()
        if name not in _NO_FIELDS
    }
    own = [{**m, "text": _renamed(m["text"], names)} for m in decode(op.attributes["template"])]
    _append(
        found, own, decode(op.attributes["prefix_ids"]) if "prefix_ids" in op.attributes else ()
    )
    return found


def _before(kv: Any) -> WholePrompt:
    """Give the prompt that a cache holds."""
    tokens = kv.owner.operation.operands[0]
    made = tokens.owner.operation
    fields = dict(zip(decode(made.attributes["names"]), made.operands, strict=True))
    fields.pop(PREFIX, None)
    ends = decode(made.attributes["prefix_ids"]) if "prefix_ids" in made.attributes else []
    return WholePrompt(decode(made.attributes["template"]), fields, ends, tokens, kv)


def _add(fields: dict[str, Any], name: str, value: Any) -> str:
    """Add a field under a name that no other value has; give the name."""
    found, count = name, 1
    while found == PREFIX or (found in fields and fields[found] != value):
        count += 1
        found = f"{name}_{count}"
    fields[found] = value
    return found


def _renamed(text: str, names: Mapping[str, str]) -> str:
    return FIELD.sub(lambda m: m[0] if m[1] is None else f"{{{names[m[1]]}}}", text)


def _append(
    found: WholePrompt, own: Sequence[dict[str, str]], ends: Sequence[Mapping[str, Any]]
) -> None:
    """Let the last message of a prompt go on with the first of its continuation."""
    last = len(found.template) - 1
    length = len(found.template[last]["text"]) if found.template else 0
    shift = max(last, 0)
    rows = {row["scope"]: dict(row) for row in found.ends}
    for row in ends:
        chars = row["chars"] + (0 if row["message"] else length)
        rows[row["scope"]] = {**row, "chars": chars, "message": row["message"] + shift}
    found.ends = list(rows.values())
    if found.template:
        found.template[last] = {**own[0], "text": found.template[last]["text"] + own[0]["text"]}
        found.template += own[1:]
    else:
        found.template = list(own)
