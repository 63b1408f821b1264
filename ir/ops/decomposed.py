"""Operations that a stage on several devices or models is taken apart into.

A prefill or a decode of tensor-parallel degree n is n shards and an all-reduce of their hidden
states; one with experts is a gate, experts and a merge (arXiv 2507.19635, figure 7); a
speculative decode is drafts of a small model that the large one verifies.
"""

from __future__ import annotations

from .attribute_sets import MODEL, NAME, NAMES, SAMPLING, SHARD
from .spec import AttributeSpec, OpSpec, one
from .types import VALUE

_STAGE = frozenset({"stage"})
_EXPERT = (AttributeSpec("expert", "int", minimum=0), AttributeSpec("experts", "int", minimum=1))

DECOMPOSED_OPS = (
    OpSpec(
        "stage.prefill_shard",
        (one("tokens"),),
        one("kv"),
        (one("kv"), one("hidden")),
        (NAME, MODEL, *SHARD),
        levels=_STAGE,
        doc="One device's part of a tensor-parallel prefill: its heads' cache, partial states.",
    ),
    OpSpec(
        "stage.all_reduce",
        (),
        one("hidden"),
        (one("hidden"),),
        (NAME, AttributeSpec("degree", "int", minimum=1)),
        pure=True,
        levels=_STAGE,
        doc="The sum of the shards' partial hidden states, on every device.",
    ),
    OpSpec(
        "stage.join_kv",
        (one("hidden"),),
        one("kv"),
        (one("kv"),),
        (NAME, MODEL),
        pure=True,
        levels=_STAGE,
        doc="One cache whose parts stay on their devices.",
    ),
    OpSpec(
        "stage.decode_shard",
        (one("kv"),),
        None,
        (one("hidden"),),
        (NAME, MODEL, *SHARD),
        levels=_STAGE,
        doc="One device's part of tensor-parallel decode steps.",
    ),
    OpSpec(
        "stage.sample",
        (one("hidden"),),
        VALUE,
        (one("tokens"),),
        (NAME, NAMES, MODEL, *SAMPLING),
        levels=_STAGE,
        doc="Tokens drawn from final hidden states.",
    ),
    OpSpec(
        "stage.gate",
        (one("tokens", "kv"),),
        None,
        (one("routing"),),
        (
            NAME,
            MODEL,
            AttributeSpec("experts", "int", minimum=1),
            AttributeSpec("top_k", "int", minimum=1),
        ),
        pure=True,
        levels=_STAGE,
        doc="Which experts compute which token.",
    ),
    OpSpec(
        "stage.expert_prefill",
        (one("tokens"), one("routing")),
        one("kv"),
        (one("kv"), one("hidden")),
        (NAME, MODEL, *_EXPERT),
        levels=_STAGE,
        doc="One expert group's part of a prefill.",
    ),
    OpSpec(
        "stage.expert_decode",
        (one("kv"), one("routing")),
        None,
        (one("hidden"),),
        (NAME, MODEL, *_EXPERT),
        levels=_STAGE,
        doc="One expert group's part of decode steps.",
    ),
    OpSpec(
        "stage.merge",
        (one("routing"),),
        one("hidden"),
        (one("hidden"),),
        (NAME, AttributeSpec("experts", "int", minimum=1)),
        pure=True,
        levels=_STAGE,
        doc="The experts' outputs weighted by the gate.",
    ),
    OpSpec(
        "stage.draft",
        (one("kv"),),
        None,
        (one("tokens"),),
        (NAME, MODEL, AttributeSpec("width", "int", minimum=1)),
        levels=_STAGE,
        doc="Tokens that a small model proposes.",
    ),
    OpSpec(
        "stage.verify",
        (one("kv"), one("tokens")),
        VALUE,
        (one("tokens"),),
        (NAME, NAMES, MODEL, *SAMPLING),
        levels=_STAGE,
        doc="The proposed tokens that the large model would have written, and one more.",
    ),
)
