"""Compiling ten times as many operations is about ten times the work, counted in calls."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from gangline.ir.builder import build
from gangline.ir.compiler import compile_module
from gangline.ir.module import Module
from gangline.ir.verifier import verify
from tests.ir.test_round_trip import Recorder


def module_of(turns: int) -> Module:
    made = Recorder("text")
    value = made.block.arguments[0]
    for turn in range(turns):
        found = made.tool(f"look{turn}", value)
        answer = made.llm(f"say{turn}", found, value, names=("found", "asked"))
        inner = Recorder("text")
        inner.block.arguments = ()
        inner.block.yields = (inner.tool(f"clean{turn}", answer, effects="none"),)
        test = made.compute("eq", found, answer, kind="bool")
        sides = (inner.block, inner.block)
        value = made.add("branch", (test,), "text", sides, name=f"branch{turn}")
    return build([made.function(value)])


def calls_of(work: Callable[[], Any]) -> int:
    count = 0

    def seen(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def test_ten_times_the_operations_are_ten_times_the_work() -> None:
    small, large = module_of(20), module_of(200)
    for work in (verify, compile_module):
        work(module_of(2))  # what is made once is no growth
        few = calls_of(lambda module=small, work=work: work(module))  # type: ignore[misc]
        many = calls_of(lambda module=large, work=work: work(module))  # type: ignore[misc]
        assert many < 12 * few, work
