"""Rules of stages that are taken apart: shards, experts, drafts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gangline.ir.errors import VerifyError

from .caches import origin
from .facts import Facts, OpFacts, Rule

_SHARDS = ("stage.prefill_shard", "stage.decode_shard")
_EXPERTS = ("stage.expert_prefill", "stage.expert_decode")
_PARTS = frozenset({*_SHARDS, *_EXPERTS})
_CACHED = frozenset({"stage.prefill_shard", "stage.expert_prefill"})
_PREFILL_OF = {
    "stage.decode_shard": "stage.prefill_shard",
    "stage.expert_decode": "stage.expert_prefill",
}


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


def parts_are_summed(facts: Facts) -> Iterator[VerifyError]:
    """No part stands alone: its hidden states go into one sum or merge, with its siblings'."""
    for found in facts.of(*_SHARDS, *_EXPERTS, "stage.merge"):
        if found.name == "stage.merge" and "degree" not in found.attrs:
            continue
        home = "stage.merge" if found.name in _EXPERTS else "stage.all_reduce"
        hidden = [value for value in found.results if facts.kind(value) == "hidden"]
        users = [use.owner.operation.name for value in hidden for use in value.uses]
        if users.count(home) != 1:
            yield found.error(
                f"{found.name} is part of a whole, and goes into {users.count(home)} {home}, not one"
            )


def parts_are_of_one_whole(facts: Facts) -> Iterator[VerifyError]:
    """What is summed or merged computed the same prompt, or went on from the same cache."""
    for found in facts.of("stage.all_reduce", "stage.merge"):
        parts = [facts.producer(value) for value in found.operands]
        begun = {_beginning(facts, part) for part in parts if part and part.name in _PARTS}
        if len(begun) > 1:
            yield found.error(f"{found.name} joins parts of different work")


def _beginning(facts: Facts, part: OpFacts) -> Any:
    """Give the value that every part of one whole computes on: tokens, or a joined cache."""
    first = part.operands[0] if part.operands else None
    maker = origin(facts, first) if first is not None else None
    # A decode may go on from the cache of its own shard, which differs from its siblings'.
    if maker is not None and maker.name in _CACHED and maker.operands:
        first = maker.operands[0]
    moved = origin(facts, first) if first is not None else None
    return moved.results[0] if moved is not None and moved.results else first


def parts_continue_their_own(facts: Facts) -> Iterator[VerifyError]:
    """A part of a decode goes on from its own part's cache, or from one joined of as many."""
    for found in facts.of("stage.decode_shard", "stage.expert_decode"):
        maker = origin(facts, found.operands[0]) if found.operands else None
        if maker is not None and maker.name == "stage.join_kv" and len(maker.operands) > 1:
            maker = origin(facts, maker.operands[1])
            numbers: tuple[str, ...] = (
                ("degree",) if found.name == "stage.decode_shard" else ("experts",)
            )
        else:
            numbers = ("rank", "degree", "expert", "experts")
        if maker is None or maker.name not in _CACHED:
            continue
        if maker.name != _PREFILL_OF[found.name] or any(
            _int(maker, number) != _int(found, number) for number in numbers
        ):
            yield found.error(f"{found.name} goes on from the cache of another part")


def drafts_are_verified(facts: Facts) -> Iterator[VerifyError]:
    """What a verify reads was drafted, by another model for the same prompt."""
    for found in facts.of("stage.verify"):
        maker = origin(facts, found.operands[1]) if len(found.operands) > 1 else None
        if maker is None or maker.name != "stage.draft":
            yield found.error("stage.verify reads what a stage.draft proposed")
        elif maker.attrs.get("model") == found.attrs.get("model"):
            yield found.error("stage.verify and its stage.draft are of one model")
        elif _differ(_prompt(facts, found), _prompt(facts, maker)):
            yield found.error("stage.verify and its stage.draft answer different prompts")


def drafts_have_a_verify(facts: Facts) -> Iterator[VerifyError]:
    """What is drafted is verified: alone it is no answer."""
    for found in facts.of("stage.draft"):
        users = [use.owner.operation.name for value in found.results for use in value.uses]
        if not {"stage.verify", "stage.transfer"} & set(users):
            yield found.error("stage.draft proposes what no stage.verify reads")


def _differ(one: Any, other: Any) -> bool:
    return one is not None and other is not None and one != other


def _prompt(facts: Facts, found: OpFacts) -> Any:
    """Give what a prefilled prompt says, whatever model it is for; None where it is not known."""
    prefill = origin(facts, found.operands[0])
    tokenize = origin(facts, prefill.operands[0]) if prefill and prefill.operands else None
    if tokenize is None or tokenize.name != "stage.tokenize":
        return None
    return tokenize.attrs.get("template"), tokenize.names, tokenize.operands


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
    parts_are_summed,
    parts_are_of_one_whole,
    parts_continue_their_own,
    drafts_are_verified,
    drafts_have_a_verify,
)
