"""Rules of stages that are taken apart: shards, experts, drafts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gangline.ir.errors import VerifyError

from .caches import origin
from .facts import Facts, OpFacts, Rule

_SHARDS = ("stage.prefill_shard", "stage.decode_shard")
_EXPERTS = ("stage.expert_prefill", "stage.expert_decode")


def numbers_are_below_counts(facts: Facts) -> Iterator[VerifyError]:
    """The rank of a shard is below its degree, an expert's number below their count."""
    sharded = (*_EXPERTS, "stage.merge")
    for names, number, count in (
        (_SHARDS, "rank", "degree"),
        (sharded, "rank", "degree"),
        (_EXPERTS, "expert", "experts"),
    ):
        for found in facts.of(*names):
            if names is sharded and "degree" not in found.attrs and "rank" not in found.attrs:
                continue
            if _int(found, number) >= _int(found, count):
                yield found.error(f"{number} {_int(found, number)} of {_int(found, count)} parts")
    for found in facts.of("stage.gate"):
        if _int(found, "top_k") > _int(found, "experts"):
            yield found.error("a gate picks more experts than there are")


def sums_are_complete(facts: Facts) -> Iterator[VerifyError]:
    """An all-reduce sums every shard of one degree once, or the merges of sharded experts."""
    for found in facts.of("stage.all_reduce"):
        makers = [facts.producer(value) for value in found.operands]
        kinds = (*_SHARDS, "stage.merge")
        problem = _incomplete(makers, kinds, "rank", "degree", _int(found, "degree"))
        if problem:
            yield found.error(f"stage.all_reduce {problem}")


def caches_are_joined_whole(facts: Facts) -> Iterator[VerifyError]:
    """The parts of a joined cache are those of every shard or expert."""
    for found in facts.of("stage.join_kv"):
        makers = [origin(facts, value) for value in found.operands[1:]]
        first = next((maker for maker in makers if maker), None)
        by_rank = first is None or first.name == "stage.prefill_shard"
        number, count = ("rank", "degree") if by_rank else ("expert", "experts")
        names = ("stage.prefill_shard",) if by_rank else ("stage.expert_prefill",)
        total = _int(first, count) if first else 0
        if not by_rank and first is not None and _int(first, "degree"):
            by_shard = [m for m in makers if m is not None and _int(m, "rank") == 0]
            numbers = sorted((_int(m, "rank"), _int(m, number)) for m in makers if m is not None)
            degree = _int(first, "degree")
            if numbers != [(r, e) for r in range(degree) for e in range(total)]:
                yield found.error(f"stage.join_kv joins not every expert of {degree} shards once")
            makers = [*by_shard]
        if problem := _incomplete(makers, names, number, count, total):
            yield found.error(f"stage.join_kv {problem}")


def merges_are_complete(facts: Facts) -> Iterator[VerifyError]:
    """A merge weighs every expert once, by the gate that they were told by."""
    for found in facts.of("stage.merge"):
        makers = [facts.producer(value) for value in found.operands[1:]]
        experts = _int(found, "experts")
        if problem := _incomplete(makers, _EXPERTS, "expert", "experts", experts):
            yield found.error(f"stage.merge {problem}")
        elif any(m and _int(m, "rank") != _int(found, "rank") for m in makers):
            yield found.error("stage.merge and its experts differ in rank")
        elif any(m and len(m.operands) > 1 and m.operands[1] != found.operands[0] for m in makers):
            yield found.error("stage.merge and its experts differ in their gate")


def gates_tell_experts(facts: Facts) -> Iterator[VerifyError]:
    """A routing is made by a gate of as many experts as it routes to."""
    for found in facts.of(*_EXPERTS, "stage.merge"):
        for value in found.operands:
            if facts.kind(value) == "routing":
                gate = facts.producer(value)
                if gate is None or _int(gate, "experts") != _int(found, "experts"):
                    yield found.error(f"{found.name} and its gate differ in experts")


def drafts_are_verified(facts: Facts) -> Iterator[VerifyError]:
    """What a verify reads was drafted, by another model."""
    for found in facts.of("stage.verify"):
        maker = origin(facts, found.operands[1]) if len(found.operands) > 1 else None
        if maker is None or maker.name != "stage.draft":
            yield found.error("stage.verify reads what a stage.draft proposed")
        elif maker.attrs.get("model") == found.attrs.get("model"):
            yield found.error("stage.verify and its stage.draft are of one model")


def _incomplete(
    makers: Sequence[OpFacts | None], names: Sequence[str], number: str, count: str, total: int
) -> str:
    """Say why these are not the parts 0 to total - 1 of one whole; empty where they are."""
    parts = [maker for maker in makers if maker is not None]
    if len(parts) < len(makers) or len({part.name for part in parts}) > 1:
        return "joins what are no parts of one whole"
    if any(part.name not in names for part in parts):
        return f"joins what are no {' or '.join(names)}"
    if len(parts) != total or any(_int(part, count) != total for part in parts):
        return f"joins {len(parts)} parts, not {total} of {count} {total}"
    if sorted(_int(part, number) for part in parts) != list(range(total)):
        return f"joins one {number} twice, and leaves one out"
    return ""


def _int(found: OpFacts, name: str) -> int:
    value: Any = found.attrs.get(name)
    return value if isinstance(value, int) else 0


RULES: tuple[Rule, ...] = (
    numbers_are_below_counts,
    sums_are_complete,
    caches_are_joined_whole,
    merges_are_complete,
    gates_tell_experts,
    drafts_are_verified,
)
