"""What passes share that take a prefill or a decode apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gangline.ir.decoding import skeleton
from gangline.ir.module import Module, mlir

from .rewrite import annotations_of, make, name_of, set_floats, text

SUMMED = tuple(
    f"agent.{name}" for name in ("flops", "bytes", "kv_bytes", "network_bytes", "cpu_seconds")
)
"""Annotations of which each part has its share; of others it has the whole's."""

TIMED = ("agent.seconds", "agent.deadline_share")
"""Annotations that the rest of a stage has no part of."""


def composites(module: Module) -> Iterator[tuple[str, Any]]:
    """Yield the prefills and decodes of a module, with their stage names."""
    found = skeleton(module)
    for stage in found.program.stages:
        if stage.op in ("prefill", "decode") and found.first[stage.id] == stage.id:
            yield stage.name, found.ops[stage.id]


class Parts:
    """Makes the parts of one operation in front of it, with their share of its annotations."""

    def __init__(self, op: Any, count: int) -> None:
        self.op = op
        self.attrs = dict(op.attributes.items())
        self.beside = annotations_of(self.attrs)
        self.count = count
        self.base = name_of(op)

    def annotation(self, name: str) -> float:
        """Give a number that is written beside the whole; 0 where there is none."""
        found = self.beside.get(f"agent.{name}")
        return float(found.value) if found is not None else 0.0

    def part(
        self, mnemonic: str, suffix: str, operands: list[Any], *results: str, **own: int
    ) -> list[Any]:
        """Make one of `count` equal parts; `rank` among `own` says which device of a group."""
        return list(self._made(mnemonic, suffix, operands, results, own, 1.0 / self.count).results)

    def rest(
        self, mnemonic: str, suffix: str, operands: list[Any], *results: str, **own: int
    ) -> list[Any]:
        """Make a part that has no share of the work."""
        return list(self._made(mnemonic, suffix, operands, results, own, 0.0).results)

    def reduce(self, states: list[Any], bytes_per_token: Mapping[str, float]) -> Any:
        """Sum the states of `len(states)` devices by a ring: each sends 2 (n - 1) / n of them."""
        degree = len(states)
        made = self._made("all_reduce", "sum", states, ("hidden",), {"degree": degree}, 0.0)
        tokens = "output_tokens" if self.op.name == "stage.decode" else "input_tokens"
        size = self.annotation(tokens) * bytes_per_token.get(self.attrs["model"].value, 0.0)
        if size:
            set_floats(made, {"agent.network_bytes": 2.0 * (degree - 1) * size})
        return made.results[0]

    def _made(
        self,
        mnemonic: str,
        suffix: str,
        operands: list[Any],
        results: tuple[str, ...],
        own: Mapping[str, int],
        share: float,
    ) -> Any:
        numbers = {key: integer(value) for key, value in own.items()}
        attrs = {**self.attrs, **numbers, "name": text(f"{self.base}.{suffix}")}
        made = make(f"stage.{mnemonic}", operands, attrs, *results)
        for key, value in self.beside.items():
            # Side by side, each equal part takes the whole's time, and the rest takes none.
            if key not in SUMMED and (share or key not in TIMED):
                made.attributes[key] = value
        sums = {key: self.beside[key].value * share for key in SUMMED if key in self.beside}
        set_floats(made, {key: value for key, value in sums.items() if value})
        group = self.beside.get("agent.device")
        if group is not None and "rank" in own and "/" not in group.value:
            made.attributes["agent.device"] = text(f"{group.value}/{own['rank']}")
        return made


def integer(value: int) -> Any:
    """Give the attribute of a whole number."""
    return mlir.IntegerAttr.get(mlir.IntegerType.get_signless(64), value)
