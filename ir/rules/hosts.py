"""Rules of what hosts do: computations, constants, tools, questions, transfers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gangline.ir.errors import VerifyError
from gangline.ir.ops import ASK_OPERANDS, COMPUTE_ARITY, TOOL_LABELS

from .facts import Facts, Rule

_COMPUTES = ("agent.compute", "stage.compute")
_PYTHON: dict[str, type | tuple[type, ...]] = {
    "text": str,
    "database": str,
    "list": list,
    "int": int,
    "float": (int, float),
    "bool": bool,
}
"""Python types of JSON values, by the table's name of a result type; `json` takes all."""


def computes_have_operands(facts: Facts) -> Iterator[VerifyError]:
    """A compute function has as many operands as it takes."""
    for found in facts.of(*_COMPUTES):
        fewest, most = COMPUTE_ARITY.get(str(found.attrs.get("fn")), (0, None))
        count = len(found.operands)
        if count < fewest or (most is not None and count > most):
            yield found.error(f"compute {found.attrs['fn']} does not take {count} operands")


def computes_have_keys(facts: Facts) -> Iterator[VerifyError]:
    """`key` goes with `get` alone, and `keys` with `dict`: one per operand, each once."""
    for found in facts.of(*_COMPUTES):
        fn, keys = found.attrs.get("fn"), found.attrs.get("keys")
        if ("key" in found.given) != (fn == "get"):
            yield found.error(f"compute {fn}: `key` goes with `get` alone")
        count = len(keys) if isinstance(keys, list) else None
        if (count is not None) != (fn == "dict") or count not in (None, len(found.operands)):
            yield found.error(f"compute {fn}: `keys` goes with `dict`, one per operand")
        elif isinstance(keys, list) and len(set(map(str, keys))) < len(keys):
            yield found.error(f"compute {fn} has a key twice")


def constants_fit_their_type(facts: Facts) -> Iterator[VerifyError]:
    """The value of a constant is one of its result's type."""
    for found in facts.of("agent.constant", "stage.constant"):
        kind = facts.kind(found.results[0]) if len(found.results) == 1 else None
        if kind in _PYTHON and "value" in found.attrs and not _fits(found.attrs["value"], kind):
            yield found.error(f"{found.name} of type {kind} has another value")


def _fits(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "bool"
    return isinstance(value, _PYTHON[kind])


def labels_are_known(facts: Facts) -> Iterator[VerifyError]:
    """A tool's labels are those the policy knows."""
    for found in facts.of("agent.tool", "stage.tool"):
        labels = found.attrs.get("labels")
        for label in labels if isinstance(labels, list) else ():
            if label not in TOOL_LABELS:
                yield found.error(f"{label!r} is no label of a tool")


def asks_name_their_question(facts: Facts) -> Iterator[VerifyError]:
    """An ask names its question first, and maybe choices."""
    for found in facts.of("agent.ask", "stage.ask"):
        if tuple(found.names) not in (ASK_OPERANDS[:1], ASK_OPERANDS):
            yield found.error(f"{found.name} does not name question (and choices)")


def transfers_go_elsewhere(facts: Facts) -> Iterator[VerifyError]:
    """A transfer leads from one device to another, and keeps the type."""
    for found in facts.of("stage.transfer", "stage.kv_transfer"):
        source = found.attrs.get("source")
        if source is not None and source == found.attrs.get("target"):
            yield found.error(f"{found.name} leads from {source} to itself")
        if found.types[0] != found.types[1]:
            yield found.error(f"{found.name} changes the type of what it moves")


RULES: tuple[Rule, ...] = (
    computes_have_operands,
    computes_have_keys,
    constants_fit_their_type,
    labels_are_known,
    asks_name_their_question,
    transfers_go_elsewhere,
)
