"""Transfers: every reader finds its values on its device, none moves twice, nothing else changes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gangline.ir.compiler import compile_module
from gangline.ir.decoding import decode_program, skeleton
from gangline.ir.errors import LoweringError
from gangline.ir.module import Module, context, mlir, walk
from gangline.ir.ops import OPS, TYPE_NAMES, VALUE
from gangline.ir.passes import InsertTransfers, run
from gangline.ir.verifier import verify
from tests.ir.passes.flows import Flow

seeds = st.integers(min_value=0, max_value=10**9)
unhurried = settings(deadline=None)
MOVES = ("stage.transfer", "stage.kv_transfer")
DEVICES = ("gpu/0", "gpu/1", "cpu/0", "")
LLM = ("tokenize", "prefill", "decode", "detokenize")


def drawn(seed: int) -> tuple[Module, dict[str, str]]:
    """Draw a module and a placement, which is one for all calls of a function."""
    module = Flow(seed).module()
    draw = random.Random(seed + 1)
    by_base: dict[str, str] = {}
    placement = {}
    for stage in decode_program(module).stages:
        if stage.op in (*LLM, "tool"):
            base = stage.name.partition("#")[0]
            placement[stage.name] = by_base.setdefault(base, draw.choice(DEVICES))
    return module, {name: device for name, device in placement.items() if device}


def transfers(module: Module) -> list[Any]:
    return [op for f in module.functions() for op in walk(f) if op.name in MOVES]


class Reach:
    """Where a value may be, found by following definitions back: no part of the pass."""

    def __init__(self, module: Module) -> None:
        self.functions = {f.attributes["sym_name"].value: f for f in module.functions()}
        self.calls: dict[str, list[Any]] = {}
        for function in module.functions():
            for op in walk(function):
                if op.name == "agent.call":
                    self.calls.setdefault(op.attributes["callee"].value, []).append(op)

    def of(self, value: Any, seen: frozenset[Any] = frozenset()) -> set[str]:
        if value in seen:
            return set()
        sources = list(self.sources(value))
        if len(sources) == 1 and isinstance(sources[0], str):
            return {sources[0]}
        found = [self.of(source, seen | {value}) for source in sources]
        union = set().union(*found)
        owner = value.owner
        computed = not isinstance(owner, mlir.Block) and owner.operation.name == "stage.compute"
        return set() if computed and len(union) > 1 else union

    def sources(self, value: Any) -> Iterator[Any]:
        owner = value.owner
        if isinstance(owner, mlir.Block):
            yield from self.of_argument(value, owner)
            return
        op = owner.operation
        if op.name in MOVES:
            yield op.attributes["target"].value
        elif "agent.device" in op.attributes:
            yield op.attributes["agent.device"].value
        elif op.name in ("scf.if", "scf.for"):
            for region in op.regions:
                yield list(region.blocks[0].operations)[-1].operation.operands[0]
        elif op.name == "scf.while":
            yield op.regions[0].blocks[0].arguments[0]
        elif op.name == "agent.call":
            body = self.functions[op.attributes["callee"].value].regions[0].blocks[0]
            yield list(body.operations)[-1].operation.operands[0]
        elif op.name in ("stage.compute", "agent.append"):
            yield from op.operands
        elif op.name in ("agent.element", "agent.cast"):
            yield op.operands[0]

    def of_argument(self, value: Any, block: Any) -> Iterator[Any]:
        op = block.owner.operation
        if op.name == "scf.while":
            yield op.operands[0]
            body = op.regions[1].blocks[0]
            yield list(body.operations)[-1].operation.operands[0]
        elif op.name == "func.func":
            for call in self.calls.get(op.attributes["sym_name"].value, ()):
                yield call.operands[value.arg_number]


def placed_reads(module: Module) -> Iterator[tuple[Any, Any]]:
    """Yield each operation that has a device, with every value that it reads data from."""
    for function in module.functions():
        for op in walk(function):
            if op.name not in MOVES and "agent.device" in op.attributes:
                named = len(op.attributes["names"]) if "names" in op.attributes else None
                count = len(op.operands) if named is None else len(OPS[op.name].operands) + named
                yield from ((op, value) for value in list(op.operands)[:count])


def wrong_readers(module: Module) -> list[str]:
    reach = Reach(module)
    return [
        f"{op.attributes['name']} reads {reach.of(value)} on {op.attributes['agent.device']}"
        for op, value in placed_reads(module)
        if not reach.of(value) <= {op.attributes["agent.device"].value}
    ]


@unhurried
@given(seeds)
def test_every_reader_finds_its_values_on_its_device(seed: int) -> None:
    module, placement = drawn(seed)
    run(module, [InsertTransfers(placement)])
    verify(module, level="stage")
    assert wrong_readers(module) == []


@unhurried
@given(seeds)
def test_without_its_transfers_the_module_is_what_it_was(seed: int) -> None:
    module, placement = drawn(seed)
    before = module.text
    run(module, [InsertTransfers(placement)])
    assert placement == {
        stage.name: op.attributes["agent.device"].value
        for stage, op in zip(skeleton(module).program.stages, skeleton(module).ops, strict=True)
        if "agent.device" in op.attributes and op.name not in MOVES
    }
    with context():
        for op in transfers(module):
            op.results[0].replace_all_uses_with(op.operands[0])
            op.erase()
        for function in module.functions():
            for op in walk(function):
                if "agent.device" in op.attributes:
                    del op.attributes["agent.device"]
    assert module.text == before


@unhurried
@given(seeds)
def test_a_value_moves_to_a_device_once_and_not_again_in_each_trip(seed: int) -> None:
    module, placement = drawn(seed)
    run(module, [InsertTransfers(placement)])
    seen = [(op.operands[0], op.attributes["target"].value) for op in transfers(module)]
    assert len(set(seen)) == len(seen)
    for op in transfers(module):
        owner = op.operands[0].owner
        home = owner if isinstance(owner, mlir.Block) else owner.operation.block
        around = op
        while around.block != home:
            around = around.parent.operation
            assert around.name == "scf.if", "a value from outside moves in front of a loop or map"


@unhurried
@given(seeds)
def test_a_second_time_changes_nothing(seed: int) -> None:
    module, placement = drawn(seed)
    once = run(module, [InsertTransfers(placement)]).text
    assert run(module, [InsertTransfers(placement)]).text == once


@unhurried
@given(seeds)
def test_json_stays_where_devices_share_a_host(seed: int) -> None:
    module, placement = drawn(seed)
    run(module, [InsertTransfers(placement, dict.fromkeys(DEVICES, "one"))])
    kinds = {TYPE_NAMES[str(op.operands[0].type)] for op in transfers(module)}
    assert kinds <= {"kv", "tokens"} and not kinds & VALUE
    halves: dict[str, dict[str, str]] = {}
    for name, device in placement.items():
        head, _, op = name.rpartition(".")
        halves.setdefault(head + op.partition("#")[2], {})[op.partition("#")[0]] = device
    apart = [h for h in halves.values() if "prefill" in h and h["prefill"] != h.get("decode")]
    if any("decode" in half for half in apart):
        assert "kv" in kinds


CALLED_TWICE = """
module attributes {agent.version = 2 : i64} {
  func.func @main(%a: !agent.text {agent.name = "a"}) -> !agent.text {
    %0 = "agent.call"(%a) {callee = @f, name = "one"} : (!agent.text) -> !agent.text
    %1 = "agent.call"(%0) {callee = @f, name = "two"} : (!agent.text) -> !agent.text
    return %1 : !agent.text
  }
  func.func private @f(%a: !agent.text {agent.name = "a"}) -> !agent.text {
    %0 = "agent.tool"(%a) {effects = "read", idempotent = true, name = "t", names = ["a"],
      retries = 0 : i64, signature = "s", timeout_s = 1.0 : f64, tool = "t"}
      : (!agent.text) -> !agent.text
    return %0 : !agent.text
  }
}
"""


def test_two_places_of_one_operation_are_refused_with_a_way_out() -> None:
    from gangline.ir.compiler import to_stages

    module = to_stages(Module.parse(CALLED_TWICE), passes=())
    assert [s.name for s in compile_module(Module.parse(CALLED_TWICE), passes=()).stages] == [
        *("one", "t", "two", "t#2")
    ]
    with pytest.raises(LoweringError, match=r"'t#2'.*'a' and on 'b'.*Inline"):
        run(module, [InsertTransfers({"t": "a", "t#2": "b"})])
    run(module, [InsertTransfers({"t": "a", "t#2": "a"})])
    assert transfers(module) == []


ORDERED = """
module attributes {agent.version = 2 : i64} {
  func.func @main(%a: !agent.text {agent.name = "a"}) -> !agent.text {
    %0 = "agent.tool"(%a) {effects = "write", idempotent = true, name = "first", names = ["a"],
      retries = 0 : i64, signature = "s", timeout_s = 1.0 : f64, tool = "t"}
      : (!agent.text) -> !agent.text
    %1 = "agent.tool"(%a, %0) {effects = "write", idempotent = true, name = "then", names = ["a"],
      retries = 0 : i64, signature = "s", timeout_s = 1.0 : f64, tool = "t"}
      : (!agent.text, !agent.text) -> !agent.text
    return %1 : !agent.text
  }
}
"""


def test_what_only_says_that_something_came_first_does_not_move() -> None:
    from gangline.ir.compiler import to_stages

    module = to_stages(Module.parse(ORDERED), passes=())
    run(module, [InsertTransfers({"first": "a", "then": "b"})])
    assert transfers(module) == []
