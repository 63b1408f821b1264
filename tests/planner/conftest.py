"""Hand-written programs, models and fleets for the planner's tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from gangline.ir.program import Program, Region, Stage
from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.fleet import Fleet, FleetDevice, Link
from gangline.ir.specs.model import ModelSpec


@dataclass
class ProgramBuilder:
    """Builds a frozen program region by region; values are plain numbers."""

    stages: list[Stage] = field(default_factory=list)
    regions: list[Region] = field(default_factory=lambda: [Region((), (), ())])
    values: int = 0

    def value(self) -> int:
        self.values += 1
        return self.values

    def add(
        self,
        op: str,
        name: str,
        operands: tuple[int, ...] = (),
        regions: tuple[int, ...] = (),
        **attributes: Any,
    ) -> int:
        """Add a stage to the body and give its result; `region` collects stages first."""
        result = self.value()
        stage = Stage(len(self.stages), op, name, operands, (result,), attributes, regions)
        self.stages.append(stage)
        self._open.append(stage.id)
        return result

    _open: list[int] = field(default_factory=list)

    def region(self, body: Callable[[int], int]) -> int:
        """Collect what `body(argument)` adds into a region of its own and give its index."""
        outer, self._open = self._open, []
        argument = self.value()
        result = body(argument)
        self.regions.append(Region((argument,), tuple(self._open), (result,)))
        self._open = outer
        return len(self.regions) - 1

    def llm(self, name: str, operands: tuple[int, ...], model: str, max_tokens: int = 100) -> int:
        template = [{"role": "user", "text": "x" * 700 + "{a}"}]
        prompt = self.add("tokenize", f"{name}.tokenize", operands, model=model, template=template)
        kv = self.add("prefill", f"{name}.prefill", (prompt,), model=model)
        out = self.add("decode", f"{name}.decode", (kv,), model=model, max_tokens=max_tokens)
        return self.add("detokenize", f"{name}.detokenize", (out,), model=model, format="text")

    def tool(self, name: str, operands: tuple[int, ...] = (), timeout_s: float = 5.0) -> int:
        return self.add("tool", name, operands, tool=name, timeout_s=timeout_s, effects="read")

    def program(self, **options: Any) -> Program:
        self.regions[0] = Region((), tuple(self._open), ())
        return Program("flow", (), tuple(self.regions), tuple(self.stages), **options)


@pytest.fixture
def build() -> ProgramBuilder:
    return ProgramBuilder()


@pytest.fixture
def models() -> Mapping[str, ModelSpec]:
    """Two Llama shapes: 8 billion weights, and a thousandth of that."""
    shape: dict[str, Any] = {"sources": (), "sha256": "", "file_bytes": 0, "licence": ""}
    shape |= {"family": "llama", "context": 8192, "tied_embedding": False}
    large = ModelSpec(
        name="large",
        num_layers=32,
        hidden_size=4096,
        num_heads=32,
        num_kv_heads=8,
        head_dim=128,
        ffn_size=14336,
        vocab_size=128256,
        params=8_030_000_000,
        **shape,
    )
    small = ModelSpec(
        name="small",
        num_layers=4,
        hidden_size=256,
        num_heads=4,
        num_kv_heads=4,
        head_dim=64,
        ffn_size=1024,
        vocab_size=4096,
        params=8_030_000,
        **shape,
    )
    return {"large": large, "small": small}


@pytest.fixture
def cpu() -> DeviceSpec:
    return DeviceSpec(
        type="cpu",
        kind="cpu",
        flops={"fp32": 1e11, "int8": 1e12},
        memory_bytes=64_000_000_000,
        memory_bytes_per_s=5e10,
        cores=8,
        efficiency={"mfu": 0.5, "mbu": 0.8, "step_s": 1e-3},
        source="probed here",
    )


@pytest.fixture
def gpu() -> DeviceSpec:
    return DeviceSpec(
        type="gpu-a",
        kind="gpu",
        flops={"bf16": 3e14},
        memory_bytes=80_000_000_000,
        memory_bytes_per_s=2e12,
        efficiency={"mfu": 0.5, "mbu": 0.6, "step_s": 1e-3},
        source="datasheet",
    )


@pytest.fixture
def fleet(cpu: DeviceSpec, gpu: DeviceSpec) -> Fleet:
    devices = (
        FleetDevice("host", cpu, usd_per_hour=0.2),
        FleetDevice("card", gpu, usd_per_hour=2.0),
    )
    links = (Link("host", "card", 1e10, 1e-5), Link("card", "host", 1e10, 1e-5))
    return Fleet("two", devices, links)


@pytest.fixture
def question(build: ProgramBuilder) -> Program:
    """Schema -> three drafts side by side -> execution, repaired at most three times."""
    schema = build.tool("read_schema")
    items = build.add("constant", "seeds", value=[0, 1, 2])
    each = build.region(lambda seed: build.llm("draft", (schema,), "large"))
    drafts = build.add("map", "drafts", (items,), (each,))
    first = build.tool("execute", (drafts,))
    until = build.region(lambda value: build.add("compute", "ok", (value,), fn="get", key="ok"))
    body = build.region(lambda value: build.llm("repair", (schema, value), "large"))
    build.add("loop", "repairs", (first,), (until, body), max_trips=3)
    return build.program()
