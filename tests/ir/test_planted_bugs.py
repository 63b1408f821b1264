"""The comparison of random workflows finds bugs: each of these is put into a pass, and found.

Bugs that break a module's form (a value used where it is not known) are not among them: on some
the bindings crash before the verifier is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gangline.ir.errors import GanglineError
from gangline.ir.passes import (
    DEFAULT_PASSES,
    CommonStages,
    DeadStages,
    HoistFromMaps,
    InlineAgents,
    Pass,
    batch_forks,
    common_stages,
    dead_stages,
    effect_order,
    effects,
    hoist_from_maps,
    inline_agents,
)
from gangline.runtime.dispatch import planned_steps
from tests.ir.flow_runs import compare
from tests.ir.random_flows import Block, flows

Patch = pytest.MonkeyPatch

EXAMPLES = 1_500
"""Flows to look at at most; most bugs show within a hundred."""


def merges_reads(patch: Patch) -> None:
    """Two reads of one thing are one, whatever was written between them."""
    right, key = effects.Effects.is_deterministic, common_stages._key

    def wrong(self: Any, op: Any) -> bool:
        return right(self, op) or (op.name == "agent.tool" and self.of(op) == "read")

    def data(op: Any) -> Any:
        found = key(op)
        return found[0], found[1][: len(effects.names_of(op)) or None], *found[2:]

    patch.setattr(effects.Effects, "is_deterministic", wrong)
    patch.setattr(common_stages, "_key", data)


def merges_unequal_operands(patch: Patch) -> None:
    """Operations that differ in their last operand are one."""
    right = common_stages._key
    patch.setattr(common_stages, "_key", lambda op: (right(op)[0], right(op)[1][:1], right(op)[2]))


def drops_writes(patch: Patch) -> None:
    """A write whose result nobody uses is gone."""
    patch.setattr(dead_stages, "_is_dead", lambda op, _: _is_unused(op))


def _is_unused(op: Any) -> bool:
    return op.name == "agent.tool" and not effects.is_used(op)


def hoists_from_empty_maps(patch: Patch) -> None:
    """Work leaves a map that has no item."""
    patch.setattr(hoist_from_maps, "_runs", lambda op: True)


def inlines_without_order(patch: Patch) -> None:
    """No step waits for the effects before it."""
    patch.setattr(inline_agents, "order_effects", lambda *given: None)


def reads_do_not_wait(patch: Patch) -> None:
    """A read does not wait for the last write."""
    right = effect_order.Scope.before
    patch.setattr(
        effect_order.Scope, "before", lambda self, e: right(self, e) if e == "write" else []
    )


def writes_overtake_reads(patch: Patch) -> None:
    """A write waits for the last write alone."""
    patch.setattr(effect_order.Scope, "before", lambda self, effect: self.writes)


def forgets_what_is_inside(patch: Patch) -> None:
    """Nobody waits for what a branch or a loop writes."""
    patch.setattr(effect_order.Scope, "happened_inside", lambda self, inner, value: None)


def trusts_what_is_inside(patch: Patch) -> None:
    """Whoever waits for a branch is taken to wait for all before it, though a side is empty."""

    def wrong(self: Any, inner: Any, value: Any) -> None:
        if any(end.writes != self.writes for end in inner):
            self.happened("write", value)

    patch.setattr(effect_order.Scope, "happened_inside", wrong)


def loses_names(patch: Patch) -> None:
    """Inlined steps lose the name of their agent: what was recorded of them is not found."""
    patch.setattr(inline_agents, "_rename", lambda op, agent: None)


def mixes_up_inputs(patch: Patch) -> None:
    """An agent gets its inputs in the wrong order."""
    right = inline_agents._Inliner.inline

    def wrong(self: Any, call: Any, suffix: str) -> Any:
        if len(call.operands) > 1:
            call.operands[0], call.operands[1] = call.operands[1], call.operands[0]
        return right(self, call, suffix)

    patch.setattr(inline_agents._Inliner, "inline", wrong)


def forks_another_prompt(patch: Patch) -> None:
    """All prefills of a block are taken for one."""
    patch.setattr(batch_forks, "_key", lambda op: op.name)


def plans_in_rounds(patch: Patch) -> None:
    """A plan's steps are ordered by what they need, not as they stand: a write overtakes a read."""

    def wrong(self: Any, needs: dict[str, Sequence[str]]) -> list[str]:
        order: list[str] = []
        while len(order) < len(needs):
            order += [n for n in needs if n not in order and set(needs[n]) <= set(order)]
        return order

    patch.setattr(planned_steps.PlanCheck, "_ordered", wrong)


BUGS: list[tuple[Callable[[Patch], None], tuple[Pass, ...]]] = [
    (merges_reads, (CommonStages(),)),
    (merges_unequal_operands, (CommonStages(),)),
    (drops_writes, (DeadStages(),)),
    (hoists_from_empty_maps, (HoistFromMaps(),)),
    (inlines_without_order, (InlineAgents(),)),
    (reads_do_not_wait, (InlineAgents(),)),
    (writes_overtake_reads, (InlineAgents(),)),
    (forgets_what_is_inside, (InlineAgents(),)),
    (trusts_what_is_inside, (InlineAgents(),)),
    (loses_names, (InlineAgents(),)),
    (mixes_up_inputs, (InlineAgents(),)),
    (forks_another_prompt, DEFAULT_PASSES),
    (plans_in_rounds, ()),
]


class Found(Exception):
    """A flow shows the bug."""


@pytest.mark.parametrize(("bug", "passes"), BUGS, ids=[bug.__name__ for bug, _ in BUGS])
def test_a_planted_bug_is_found(
    bug: Callable[[Patch], None], passes: tuple[Pass, ...], monkeypatch: Patch
) -> None:
    label = "inline" if passes == (InlineAgents(),) else "passes"
    pipelines = {"none": (), label: passes}

    @settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(flow=flows(), seed=st.integers(4, 99))
    def search(flow: Block, seed: int) -> None:
        with monkeypatch.context() as patch:
            bug(patch)
            try:
                compare(flow, pipelines, seed)
            except (AssertionError, GanglineError) as error:
                found.append((flow, seed))
                raise Found from error

    found: list[tuple[Block, int]] = []
    with pytest.raises(Found):
        search()
    for flow, seed in found:
        compare(flow, pipelines, seed)  # it is the bug that was found
