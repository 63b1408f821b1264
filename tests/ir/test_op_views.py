"""OpView classes give values, not attributes."""

from __future__ import annotations

from typing import Any

from gangline.ir.module import Module, walk
from tests.ir.modules import GOOD


def views(module: Module) -> dict[str, Any]:
    """Give a view of each kind of operation; they live no longer than the module."""
    return {op.name: op.opview for f in module.functions() for op in walk(f)}


def test_attributes_are_values_and_optional_ones_may_be_absent() -> None:
    module = Module.parse(GOOD["tool"])
    tool = views(module)["agent.tool"]
    assert (tool.tool, tool.retries, tool.timeout_s) == ("t", 0, 1.0)
    assert tool.names == ["q"] and tool.idempotent is True
    assert tool.labels is None and tool.step == "t"


def test_operands_have_names() -> None:
    module = Module.parse(GOOD["stages"])
    found = views(module)
    decode, tokenize = found["stage.decode"], found["stage.tokenize"]
    assert decode.kv.owner.name == "stage.prefill"
    assert list(tokenize.fields) == ["q"]
    assert str(tokenize.fields["q"].type) == "!agent.text"
