"""Hand-written programs, and tools that need no registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from gangline.backends.fake import FakeBackend
from gangline.ir.program import Parameter, Program, Region, Stage
from gangline.runtime.execution.executor import Executor
from gangline.runtime.store import Store


class ProgramBuilder:
    """Write a program down region by region; values are numbers."""

    def __init__(self, *inputs: str) -> None:
        self._values = len(inputs)
        self._names: dict[str, int] = {}
        self._parameters = tuple(Parameter(name, "json") for name in inputs)
        self._stages: list[Stage | None] = []
        self._regions: list[Region | None] = [None]
        self._open: list[list[int]] = [[]]
        self.inputs = tuple(range(len(inputs)))

    def value(self) -> int:
        self._values += 1
        return self._values - 1

    def op(
        self, op: str, name: str, *operands: int, regions: tuple[int, ...] = (), **attributes: Any
    ) -> int:
        """Add a stage to the open region; gives its result."""
        self._names[name] = self._names.get(name, 0) + 1
        unique = name if self._names[name] == 1 else f"{name}#{self._names[name]}"
        index, result = len(self._stages), self.value()
        self._stages.append(Stage(index, op, unique, operands, (result,), attributes, regions))
        self._open[-1].append(index)
        return result

    def region(self, num_arguments: int, body: Callable[..., int]) -> int:
        """Add a region; `body` gets its arguments and gives the value it yields."""
        index = len(self._regions)
        self._regions.append(None)
        self._open.append([])
        arguments = tuple(self.value() for _ in range(num_arguments))
        result = body(*arguments)
        self._regions[index] = Region(arguments, tuple(self._open.pop()), (result,))
        return index

    def constant(self, value: Any) -> int:
        return self.op("constant", "constant", value=value)

    def compute(self, fn: str, *operands: int, **attributes: Any) -> int:
        return self.op("compute", fn, *operands, fn=fn, **attributes)

    def tool(self, tool: str, *operands: int, **attributes: Any) -> int:
        names = [f"a{index}" for index in range(len(operands))]
        merged = {"tool": tool, "names": names, "effects": "read", "retries": 0, **attributes}
        return self.op("tool", tool, *operands, **merged)

    def ask(self, question: int, *choices: int, **schema: Any) -> int:
        """Add a question to a person; at most one operand of choices."""
        names = ["question", "choices"][: 1 + len(choices)]
        return self.op("ask", "ask", question, *choices, names=names, schema=schema)

    def expand(
        self, plan: int, *given: int, tools: Any, max_steps: int = 16, granted: Any = None
    ) -> int:
        """Add the steps of a plan; `given` fill the names g0, g1, ...

        All tools that write are granted, unless `granted` names some.
        """
        names = ["plan", *(f"g{index}" for index in range(len(given)))]
        options = {"names": names, "tools": tools, "max_steps": max_steps}
        writes = [row["name"] for row in tools if row["effects"] == "write"]
        options["granted"] = writes if granted is None else granted
        return self.op("expand", "expand", plan, *given, **options)

    def llm(self, name: str, *operands: int, format: str = "text", **attributes: Any) -> int:
        """Add tokenize, prefill, decode and detokenize; operands are prompt fields a0, a1, ..."""
        names = [f"a{index}" for index in range(len(operands))]
        text = " ".join([f"{name}:", *(f"{{{field}}}" for field in names)])
        template = [{"role": "user", "text": text}]
        base = f"{name}.tokenize"
        tokens = self.op("tokenize", base, *operands, model="m", template=template, names=names)
        kv = self.op("prefill", f"{name}.prefill", tokens, model="m")
        out = self.op("decode", f"{name}.decode", kv, model="m", max_tokens=64, **attributes)
        return self.op("detokenize", f"{name}.detokenize", out, model="m", format=format)

    def map(self, items: int, body: Callable[[int], int]) -> int:
        return self.op("map", "map", items, regions=(self.region(1, body),))

    def branch(self, condition: int, then: Callable[[], int], other: Callable[[], int]) -> int:
        regions = (self.region(0, then), self.region(0, other))
        return self.op("branch", "branch", condition, regions=regions)

    def loop(
        self, first: int, until: Callable[[int], int], body: Callable[[int], int], max_trips: int
    ) -> int:
        regions = (self.region(1, until), self.region(1, body))
        return self.op("loop", "loop", first, regions=regions, max_trips=max_trips)

    def call(self, body: Callable[..., int], *arguments: int) -> int:
        region = self.region(len(arguments), body)
        return self.op("call", "call", *arguments, regions=(region,))

    def done(self, result: int, **limits: Any) -> Program:
        """Give the program, whose output is `result`."""
        self._regions[0] = Region(self.inputs, tuple(self._open[0]), (result,))
        regions = tuple(region for region in self._regions if region is not None)
        stages = tuple(stage for stage in self._stages if stage is not None)
        return Program("hand_made", self._parameters, regions, stages, text="hand made", **limits)


def planned_tool(tool: str, **changes: Any) -> dict[str, Any]:
    """What an expand says of a tool of two numbers a0 and a1, of which a1 may be left out."""
    row = {
        "tool": tool,
        "name": tool,
        "effects": "read",
        "timeout_s": 30.0,
        "retries": 2,
        "idempotent": True,
        "signature": "",
        "parameters": {"a0": {"type": "integer"}, "a1": {"type": "integer"}},
        "required": ["a0"],
        "given": [],
    }
    return {**row, **changes}


@dataclass(frozen=True)
class PlainTool:
    """A tool made of a function of positional arguments a0, a1, ..."""

    fn: Callable[..., Any]
    signature: str = ""
    is_async: bool = False
    is_inline: bool = False
    accepts_idempotency_key: bool = False

    def call(self, arguments: Mapping[str, Any]) -> Any:
        return self.fn(**arguments)


@pytest.fixture
def builder() -> type[ProgramBuilder]:
    return ProgramBuilder


@pytest.fixture
def plain_tool() -> type[PlainTool]:
    return PlainTool


@pytest.fixture
def tools() -> dict[str, Any]:
    """The tools an executor of these tests finds; a test adds its own."""
    return {}


@pytest.fixture
def store(tmp_path: Any) -> Iterator[Store]:
    with Store(tmp_path / "home" / "jobs.sqlite") as opened:
        yield opened


@pytest.fixture
def executor(tools: dict[str, Any], store: Store) -> Iterator[Executor]:
    backends = {"cpu/0": FakeBackend({"greet:": "hello", "number:": "41"})}
    with Executor(backends, tools.get, store=store) as made:
        yield made
