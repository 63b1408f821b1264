"""Operations that a stage on several devices or models is taken apart into.

A prefill or a decode of tensor-parallel degree n is n shards and an all-reduce of their hidden
states; one with experts is a gate, experts and a merge, and with both each shard of the experts
is merged and the merges are summed (arXiv 2507.19635, figure 7); a speculative decode is drafts of
a small model that the large one verifies.
"""

from __future__ import annotations

from dataclasses import replace

from .attribute_sets import MODEL, NAME, NAMES, SAMPLING, SHARD
from .spec import AttributeSpec, OpSpec, one
from .types import VALUE

_STAGE = frozenset({"stage"})
_EXPERTS = AttributeSpec("experts", "int", minimum=1, doc="How many expert groups there are.")
_EXPERT = (
    AttributeSpec("expert", "int", minimum=0, doc="Which expert group this is, from 0."),
    _EXPERTS,
)
_SHARD = tuple(replace(spec, required=False) for spec in SHARD)
"""Experts whose layers are split too say which shard of them this is."""

DECOMPOSED_OPS = (
    OpSpec(
        "stage.prefill_shard",
        (one("tokens"),),
        one("kv"),
        (one("kv"), one("hidden")),
        (NAME, MODEL, *SHARD),
        levels=_STAGE,
        doc="One device's part of a tensor-parallel prefill: its heads' cache, partial states.",
        operand_names=("tokens",),
        result_names=("kv", "hidden"),
    ),
    OpSpec(
        "stage.all_reduce",
        (),
        one("hidden"),
        (one("hidden"),),
        (NAME, SHARD[1]),
        pure=True,
        levels=_STAGE,
        doc="The sum of the shards' partial hidden states, on every device.",
        result_names=("hidden",),
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
        operand_names=("hidden",),
        result_names=("kv",),
    ),
    OpSpec(
        "stage.decode_shard",
        (one("kv"),),
        None,
        (one("hidden"),),
        (NAME, MODEL, *SHARD),
        levels=_STAGE,
        doc="One device's part of tensor-parallel decode steps.",
        operand_names=("kv",),
        result_names=("hidden",),
    ),
    OpSpec(
        "stage.sample",
        (one("hidden"),),
        VALUE,
        (one("tokens"),),
        (NAME, NAMES, MODEL, *SAMPLING),
        levels=_STAGE,
        doc="Tokens drawn from final hidden states.",
        operand_names=("hidden",),
        result_names=("tokens",),
    ),
    OpSpec(
        "stage.gate",
        (one("tokens", "kv"),),
        None,
        (one("routing"),),
        (
            NAME,
            MODEL,
            _EXPERTS,
            AttributeSpec("top_k", "int", minimum=1, doc="How many experts a token goes to."),
        ),
        pure=True,
        levels=_STAGE,
        doc="Which experts compute which token.",
        operand_names=("input",),
        result_names=("routing",),
    ),
    OpSpec(
        "stage.expert_prefill",
        (one("tokens"), one("routing")),
        one("kv"),
        (one("kv"), one("hidden")),
        (NAME, MODEL, *_EXPERT, *_SHARD),
        levels=_STAGE,
        doc="One expert group's part of a prefill.",
        operand_names=("tokens", "routing"),
        result_names=("kv", "hidden"),
    ),
    OpSpec(
        "stage.expert_decode",
        (one("kv"), one("routing")),
        None,
        (one("hidden"),),
        (NAME, MODEL, *_EXPERT, *_SHARD),
        levels=_STAGE,
        doc="One expert group's part of decode steps.",
        operand_names=("kv", "routing"),
        result_names=("hidden",),
    ),
    OpSpec(
        "stage.merge",
        (one("routing"),),
        one("hidden"),
        (one("hidden"),),
        (NAME, _EXPERTS, *_SHARD),
        pure=True,
        levels=_STAGE,
        doc="The experts' outputs weighted by the gate.",
        operand_names=("routing",),
        result_names=("hidden",),
    ),
    OpSpec(
        "stage.draft",
        (one("kv"),),
        None,
        (one("tokens"),),
        (NAME, MODEL, AttributeSpec("width", "int", minimum=1, doc="How many.")),
        levels=_STAGE,
        doc="Tokens that a small model proposes.",
        operand_names=("kv",),
        result_names=("tokens",),
    ),
    OpSpec(
        "stage.verify",
        (one("kv"), one("tokens")),
        VALUE,
        (one("tokens"),),
        (NAME, NAMES, MODEL, *SAMPLING),
        levels=_STAGE,
        doc="The proposed tokens that the large model would have written, and one more.",
        operand_names=("kv", "drafted"),
        result_names=("tokens",),
    ),
)
