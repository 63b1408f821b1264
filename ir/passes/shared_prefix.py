"""Put first in prompts what several of them share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from gangline.ir.module import Module, walk

from .base import Pass
from .prompt_call import PromptCall
from .prompt_order import best_orders
from .prompt_reuse import PromptTree
from .value_scope import Scopes


@dataclass(frozen=True, slots=True)
class SharedPrefix(Pass):
    """Reorder free parts of prompts so that calls share the longest beginning.

    Only parts whose fields are all free move: to the front, or to each other's places. What is
    chosen computes the fewest prompt tokens, counted by `prompt_reuse`. Every call is told where
    its shared beginnings end (`prefix_ids`).

    Attributes:
        tokens: tokens of a call's field, by `call.field`, where they are known.
    """

    tokens: Mapping[str, float] = field(default_factory=dict)
    name: ClassVar[str] = "shared-prefix"

    def apply(self, module: Module) -> None:
        found = [
            op
            for function in module.functions()
            for op in walk(function)
            if op.name in ("agent.llm", "agent.cache")
        ]
        if not found:
            return
        scopes = Scopes(module)
        calls = {op.results[0]: PromptCall(op, scopes, self.tokens) for op in found}
        for call in calls.values():
            call.follow(calls)
        rows = [call.row() for call in calls.values()]
        chosen = best_orders(rows)
        for call, row, order in zip(calls.values(), rows, chosen, strict=True):
            if order != row.own:
                call.arrange(row.parts, order)
        self._tell(list(calls.values()))

    @staticmethod
    def _tell(calls: list[PromptCall]) -> None:
        """Write the prefix ids of all calls, with their parts where they are now."""
        rows = [call.row() for call in calls]
        tree = PromptTree([row.prompt for row in rows])
        paths = [tree.add(row.prompt, row.own) for row in rows]
        for call, path in zip(calls, paths, strict=True):
            call.say(path)
