"""Rules of prompts: templates, fields that may move, grammars, schemas of answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from gangline.ir.errors import VerifyError
from gangline.ir.ops import GRAMMAR_KINDS, ROLES, SAMPLING_OPERANDS

from .facts import Facts, OpFacts, Rule

_FIELD = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*)\}")
_PROMPTED = ("agent.llm", "agent.cache", "stage.tokenize")
_DRAWING = ("agent.llm", "stage.decode", "stage.sample", "stage.verify")
_NO_FIELDS = {
    "agent.llm": frozenset({*SAMPLING_OPERANDS, "cache"}),
    "agent.cache": frozenset({"cache"}),
    "stage.tokenize": frozenset({"prefix"}),
}


def templates_are_messages(facts: Facts) -> Iterator[VerifyError]:
    """A template is a list of messages."""
    for found in facts.of(*_PROMPTED):
        if "template" in found.given and _messages(found) is None:
            yield found.error(f"the template of {found.name} is no list of {{role, text}}")


def templates_fit_names(facts: Facts) -> Iterator[VerifyError]:
    """The fields of a template are the named operands that steer nothing."""
    for found in facts.of(*_PROMPTED):
        messages = _messages(found)
        if messages is None:
            continue
        names = set(found.names)
        used = {m[1] for row in messages for m in _FIELD.finditer(row["text"]) if m[1]}
        for name in sorted(used - names):
            yield found.error(f"the template of {found.name} uses {{{name}}}")
        for name in sorted(names - used - _NO_FIELDS[found.name]):
            yield found.error(f"the template of {found.name} lacks {{{name}}}")


def free_fields_are_fields(facts: Facts) -> Iterator[VerifyError]:
    """Only fields of the prompt can be free."""
    for found in facts.of(*_PROMPTED):
        free = found.attrs.get("free")
        known = set(found.names) - _NO_FIELDS[found.name]
        for name in free if isinstance(free, list) else ():
            if name not in known:
                yield found.error(f"{name!r} is free in {found.name}, but is no field of it")


def _messages(found: OpFacts) -> list[dict[str, Any]] | None:
    rows = found.attrs.get("template")
    return rows if isinstance(rows, list) and rows and all(map(_is_message, rows)) else None


def _is_message(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and row.keys() == {"role", "text"}
        and row["role"] in ROLES
        and isinstance(row["text"], str)
    )


def grammars_are_known(facts: Facts) -> Iterator[VerifyError]:
    """A constant grammar has a known kind and a text, and excludes a grammar operand."""
    for found in facts.of(*_DRAWING):
        grammar = found.attrs.get("grammar")
        if grammar is None:
            continue
        known = isinstance(grammar, dict) and grammar.keys() == {"kind", "text"}
        if not known or grammar["kind"] not in GRAMMAR_KINDS:
            yield found.error(f"the grammar of {found.name} is no {{kind, text}}")
        if "grammar" in found.names:
            yield found.error(f"{found.name} has two grammars")


def schemas_are_schemas(facts: Facts) -> Iterator[VerifyError]:
    """The schema of an answer is a JSON Schema."""
    for found in facts.of("agent.llm", "stage.detokenize", "agent.ask", "stage.ask"):
        if not isinstance(found.attrs.get("schema", {}), dict | bool):
            yield found.error(f"the schema of {found.name} is no JSON Schema")


RULES: tuple[Rule, ...] = (
    templates_are_messages,
    templates_fit_names,
    free_fields_are_fields,
    grammars_are_known,
    schemas_are_schemas,
)
