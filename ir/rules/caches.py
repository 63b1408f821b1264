"""Rules of KV caches: where they come from, what may continue them, and of which model they are.

A cache may be moved, joined and shared: several decodes, also in inner blocks, continue one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gangline.ir.errors import VerifyError

from .facts import Facts, OpFacts, Rule

_WHOLE = frozenset({"stage.prefill", "stage.join_kv"})
_MAKERS = frozenset({*_WHOLE, "stage.prefill_shard", "stage.expert_prefill"})
_WHOLE_READERS = ("stage.decode", "stage.draft", "stage.verify")
_READERS = (*_WHOLE_READERS, "stage.decode_shard", "stage.expert_decode")
_MOVED = frozenset({"stage.transfer", "stage.kv_transfer"})
_PREFILLS = ("stage.prefill", "stage.prefill_shard", "stage.expert_prefill")


def caches_are_named(facts: Facts) -> Iterator[VerifyError]:
    """An llm continues the cache that is named so, and `prefix` of a tokenize is tokens."""
    for found in facts.of("agent.llm", "agent.cache", "stage.tokenize"):
        name, kind = ("prefix", "tokens") if found.name == "stage.tokenize" else ("cache", "kv")
        names = found.names
        for index, operand in enumerate(found.operands[: len(names)]):
            if (facts.kind(operand) == kind) != (names[index] == name):
                yield found.error(
                    f"operand {index} of {found.name}: `{name}` is the name of a {kind}"
                )


def caches_come_from_prefills(facts: Facts) -> Iterator[VerifyError]:
    """What a decode continues was made by a prefill, wherever it was moved since.

    A part of a decode continues a part's cache; a whole one needs a whole one.
    """
    for found in facts.of(*_READERS):
        if found.operands and facts.kind(found.operands[0]) == "kv":
            maker = origin(facts, found.operands[0])
            makers = _WHOLE if found.name in _WHOLE_READERS else _MAKERS
            if maker is None or maker.name not in makers:
                yield found.error(f"{found.name} takes its kv from a stage.prefill")


def prefills_continue_one_cache(facts: Facts) -> Iterator[VerifyError]:
    """A prefill goes on from one cache at most, and then its prompt begins with that one's."""
    for found in facts.of(*_PREFILLS):
        caches = [value for value in found.operands if facts.kind(value) == "kv"]
        if len(caches) > 1:
            yield found.error(f"{found.name} continues {len(caches)} caches, not one")
        for cache in caches:
            before, tokens = origin(facts, cache), origin(facts, found.operands[0])
            prefix = tokens.named("prefix") if tokens else None
            if tokens is None or tokens.name != "stage.tokenize" or before is None:
                continue
            made = before.operands[0] if before.name in _PREFILLS else None
            if prefix is None or (
                made is not None and origin(facts, prefix) is not origin(facts, made)
            ):
                yield found.error(f"{found.name} continues a cache of other tokens")


def continuations_fit(facts: Facts) -> Iterator[VerifyError]:
    """What goes on from a cache of this level begins in the message that the cache ends in."""
    for found in facts.of("agent.llm", "agent.cache"):
        cache = found.named("cache")
        if cache is None or facts.kind(cache) != "kv":
            continue
        before = facts.producer(cache)
        if before is None or before.name != "agent.cache":
            yield found.error(f"{found.name} takes its cache from an agent.cache")
        elif _role(found, 0) != _role(before, -1):
            yield found.error(f"{found.name} begins as another role than its cache ends")


def open_prompts_go_on(facts: Facts) -> Iterator[VerifyError]:
    """A prompt that is not complete is never answered."""
    for found in facts.of(*_READERS):
        maker = origin(facts, found.operands[0]) if found.operands else None
        if maker is None or maker.name not in _PREFILLS or not maker.operands:
            continue
        prompt = origin(facts, maker.operands[0])
        if prompt is not None and prompt.attrs.get("open"):
            yield found.error(f"{found.name} answers a prompt that is not complete")


def _role(found: OpFacts, at: int) -> Any:
    """Give the role of a message of a template; None where there is none."""
    rows = found.attrs.get("template")
    row = rows[at] if isinstance(rows, list) and rows else None
    return row.get("role") if isinstance(row, dict) else None


def tokens_are_of_their_kind(facts: Facts) -> Iterator[VerifyError]:
    """A prefill reads a prompt; what is read as an answer was written by a model."""
    for names, makers in ((_PREFILLS, _PROMPTS), (_ANSWER_READERS, _ANSWERS)):
        for found in facts.of(*names):
            tokens = found.operands[0] if found.operands else None
            if tokens is None or facts.kind(tokens) != "tokens":
                continue
            maker = origin(facts, tokens)
            if maker is not None and maker.name not in makers:
                yield found.error(f"{found.name} reads what a {maker.name} made")


def models_agree(facts: Facts) -> Iterator[VerifyError]:
    """Tokens and caches are of one model, from the prompt to the answer."""
    for found in facts.of(*_MODELLED):
        for value in found.operands:
            if facts.kind(value) not in ("kv", "tokens", "hidden"):
                continue
            maker = facts.producer(value)
            # A draft is verified by another model: that is what it is for.
            if maker is None or (found.name, maker.name) == ("stage.verify", "stage.draft"):
                continue
            models = found.attrs.get("model"), maker.attrs.get("model")
            if None not in models and models[0] != models[1]:
                yield found.error(f"{found.name} and its {maker.name} differ in model")


_PROMPTS = frozenset({"stage.tokenize"})
_ANSWERS = frozenset({"stage.decode", "stage.sample", "stage.verify"})
_ANSWER_READERS = ("stage.detokenize", "stage.expand")
_MODELLED = (
    *("agent.llm", "agent.cache", "stage.tokenize", "stage.prefill", "stage.decode"),
    *("stage.detokenize", "stage.kv_transfer", "stage.prefill_shard", "stage.decode_shard"),
    *("stage.join_kv", "stage.sample", "stage.gate", "stage.expert_prefill"),
    *("stage.expert_decode", "stage.draft", "stage.verify"),
)


def origin(facts: Facts, value: Any) -> OpFacts | None:
    """Give the operation that made a value, before it was moved."""
    found = facts.producer(value)
    # Invariant: `found` moved or made the value; each turn goes one definition back.
    while found is not None and found.name in _MOVED and found.operands:
        found = facts.producer(found.operands[0])
    return found


RULES: tuple[Rule, ...] = (
    caches_are_named,
    caches_come_from_prefills,
    prefills_continue_one_cache,
    continuations_fit,
    open_prompts_go_on,
    tokens_are_of_their_kind,
    models_agree,
)
