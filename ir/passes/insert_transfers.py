"""Say where each stage runs, and move what a stage on one device reads from another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from gangline.ir.decoding import skeleton
from gangline.ir.errors import LoweringError
from gangline.ir.module import Module, where

from .base import Pass
from .homes import Homes
from .moves import insert
from .rewrite import text


@dataclass(frozen=True, slots=True)
class InsertTransfers(Pass):
    """Put each stage on its device, and a transfer where the maker of a value is on another.

    Args:
        placement: device by stage name, as a plan has it; what is not listed is the
            dispatcher's.
        hosts: the host of a device, where several share one; JSON is not moved within a host.

    A value is moved once to each device: in front of its first reader, or of the branch its
    readers part in, and never inside a loop or a map that it comes from outside of.

    Raises:
        LoweringError: calls of one function are placed on different devices.
    """

    name: ClassVar[str] = "insert-transfers"
    placement: Mapping[str, str] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def example(cls) -> Self:
        """Prefill and decode on different cards, a tool on the host of the second."""
        first = ("draft.tokenize", "draft.prefill")
        second = ("draft.decode", "draft.detokenize")
        placement = {**dict.fromkeys(first, "h100/0"), **dict.fromkeys(second, "gaudi/0")}
        tools = {"shorten": "cpu/0", "score": "cpu/0", "rank": "node/0", "pick": "node/0"}
        return cls({**placement, **tools}, {"gaudi/0": "cpu/0"})

    def apply(self, module: Module) -> None:
        # Operations are hashed by what they hold, so nothing is written before all is found out.
        devices = dict(self._devices(module))
        moves = Homes(module, devices, self.hosts).moves()
        for op, device in list(devices.items()):
            op.attributes["agent.device"] = text(device)
        insert(moves)

    def _devices(self, module: Module) -> Iterator[tuple[Any, str]]:
        found = skeleton(module)
        seen: dict[int, str] = {}
        for stage in found.program.stages:
            device, first = self.placement.get(stage.name), found.first[stage.id]
            if device is None:
                continue
            if seen.setdefault(first, device) != device:
                raise LoweringError(
                    f"stage {stage.name!r} of a function that is called several times is placed "
                    f"on {seen[first]!r} and on {device!r}",
                    where=where(found.ops[first]),
                    next_step="Inline the calls first.",
                )
            if first == stage.id:
                yield found.ops[first], device
