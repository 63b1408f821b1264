"""Whatever a front end can record survives building, printing, bytecode, lowering and JSON."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gangline.ir.attributes import decode, encode
from gangline.ir.builder import build
from gangline.ir.compiler import compile_module, to_stages
from gangline.ir.errors import LoweringError
from gangline.ir.graph import Block, Function, Input, Node, Value
from gangline.ir.module import Module, context, mlir
from gangline.ir.passes import CommonStages, DeadStages, run
from gangline.ir.program import Program
from gangline.ir.verifier import verify

TOOL = {
    "effects": "read",
    "timeout_s": 30.0,
    "retries": 0,
    "idempotent": True,
    "signature": "0123",
}

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


class Recorder:
    """Writes one function node by node."""

    def __init__(self, *inputs: str, name: str = "main") -> None:
        self.name = name
        self.inputs = tuple(Input(f"in{i}", kind) for i, kind in enumerate(inputs))
        self.block = Block(arguments=tuple(Value(kind) for kind in inputs))
        self.line = 0

    def add(
        self,
        op: str,
        operands: tuple[Value, ...],
        result: str,
        blocks: tuple[Block, ...] = (),
        **attributes: Any,
    ) -> Value:
        self.line += 1
        value = Value(result)
        where = f"flow.py:{self.line}"
        self.block.nodes.append(Node(op, operands, attributes, value, blocks, where))
        return value

    def constant(self, value: Any, kind: str = "json") -> Value:
        return self.add("agent.constant", (), kind, value=value)

    def compute(self, fn: str, *operands: Value, kind: str = "json", **more: Any) -> Value:
        return self.add("agent.compute", operands, kind, fn=fn, **more)

    def tool(self, name: str, *operands: Value, kind: str = "text", **more: Any) -> Value:
        names = [f"p{i}" for i in range(len(operands))]
        return self.add(
            "agent.tool",
            operands,
            kind,
            **{**TOOL, "name": name, "tool": name, "names": names, **more},
        )

    def llm(self, name: str, *operands: Value, names: tuple[str, ...] = (), **more: Any) -> Value:
        fields = [n for n in names if n not in ("seed", "temperature", "grammar")]
        text = " ".join(f"{{{field}}}" for field in fields) or "say"
        attributes: dict[str, Any] = {
            "name": name,
            "names": list(names),
            "model": "m",
            "template": [{"role": "user", "text": text}],
            "max_tokens": 8,
            "format": "text",
        }
        return self.add("agent.llm", operands, "text", **{**attributes, **more})

    def function(self, *yields: Value) -> Function:
        self.block.yields = yields
        return Function(self.name, self.inputs, self.block, where="flow.py:1")


@st.composite
def straight_lines(draw: st.DrawFn) -> Function:
    """Draw a valid function without control flow."""
    made = Recorder("text", "json")
    values = list(made.block.arguments)
    for index in range(draw(st.integers(0, 8))):
        one = draw(st.sampled_from(values))
        other = draw(st.sampled_from(values))
        match draw(st.sampled_from(["constant", "list", "get", "tool", "llm"])):
            case "constant":
                values.append(made.constant(draw(JSON)))
            case "list":
                values.append(made.compute("list", one, other, kind="list"))
            case "get":
                values.append(made.compute("get", one, key=draw(st.text(max_size=5))))
            case "tool":
                effects = draw(st.sampled_from(["none", "read", "write"]))
                values.append(made.tool(f"t{index % 3}", one, other, effects=effects))
            case _:
                values.append(made.llm(f"m{index % 3}", one, other, names=("a", "seed")))
    return made.function(draw(st.sampled_from(values)))


def round_trip(value: Any) -> Any:
    with context(), mlir.Location.unknown():
        attribute = encode(value)
        again = mlir.Attribute.parse(str(attribute))
        assert again == attribute
        return decode(again)


def same(left: Any, right: Any) -> bool:
    """Equal, of equal types, and dicts in equal order."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


@given(JSON)
def test_every_json_value_survives_as_an_attribute(value: Any) -> None:
    assert same(round_trip(value), value)


@pytest.mark.parametrize(
    "value",
    [
        1,
        True,
        1.0,
        -0.0,
        1 / 3,
        "",
        "\x00",
        'a"b\\c\n{d}',
        "é",
        None,
        [],
        {},
        {"": 1},
        {"b": 1, "a": [None, {"z": 1, "y": 2}]},
        2**63 - 1,
        -(2**63),
        5e-324,
    ],
)
def test_awkward_values_survive(value: Any) -> None:
    assert same(round_trip(value), value)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**63, {1: 2}, object(), "\ud800", {"\ud800": 1}]
)
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    with context(), mlir.Location.unknown(), pytest.raises(LoweringError):
        encode(value)


@given(straight_lines())
@settings(deadline=None, max_examples=60)
def test_text_and_bytecode_round_trip_exactly(function: Function) -> None:
    module = build([function])
    verify(module, level="agent")
    assert Module.parse(module.text).text == module.text
    assert Module.from_bytecode(module.bytecode).text == module.text
    with_locations = Module.parse(module.text_with_locations)
    assert with_locations.text_with_locations == module.text_with_locations


@given(straight_lines())
@settings(deadline=None, max_examples=60)
def test_a_program_has_every_operand_before_its_use(function: Function) -> None:
    module = build([function])
    before = module.text
    program = compile_module(module)
    assert module.text == before, "compiling must not change the module"
    known = set(program.body.arguments)
    for stage in program.walk():
        assert set(stage.operands) <= known
        known |= set(stage.results)
    assert set(program.body.yields) <= known
    assert len({stage.name for stage in program.stages}) == len(program.stages)
    assert Program.from_json(program.to_json()).hash == program.hash
    assert compile_module(Module.parse(module.text)).hash == program.hash


@given(straight_lines())
@settings(deadline=None, max_examples=60)
def test_passes_keep_a_module_valid_and_reach_a_fixed_point(function: Function) -> None:
    module = build([function])
    impure = [n for n in function.body.nodes if _effect(n) != "none"]
    asked = [n for n in function.body.nodes if n.op == "agent.llm"]
    once = run(module, (CommonStages(), DeadStages()))
    verify(once, level="agent")
    text = once.text
    assert run(once, (CommonStages(), DeadStages())).text == text
    kept = [op for f in once.functions() for op in f.regions[0].blocks[0].operations]
    names = [op.operation.name for op in kept]
    tools = [
        op
        for op in kept
        if op.operation.name == "agent.tool" and op.operation.attributes["effects"].value != "none"
    ]
    assert len(tools) == len(impure)
    assert names.count("agent.llm") <= len(asked)


def _effect(node: Node) -> str:
    return str(node.attributes.get("effects", "none"))


def test_equal_pure_work_is_done_once_and_unused_work_not_at_all() -> None:
    made = Recorder("text")
    (text,) = made.block.arguments
    one = made.tool("clean", text, effects="none")
    two = made.tool("clean", text, effects="none")
    made.tool("unused", text, effects="none")
    made.tool("look", text, effects="read")
    made.constant(1)
    program = compile_module(build([made.function(made.compute("list", one, two, kind="list"))]))
    assert [stage.name for stage in program.stages] == ["clean", "look", "list"]
    listed = program.stages[-1]
    assert listed.operands == (program.stages[0].results[0],) * 2


def test_pure_work_in_two_branches_is_not_merged_across_them() -> None:
    made = Recorder("text", "bool")
    text, test = made.block.arguments
    sides = []
    for _ in range(2):
        inner = Recorder("text")
        inner.block.arguments = ()
        inner.block.yields = (inner.tool("clean", text, effects="none"),)
        sides.append(inner.block)
    result = made.add("branch", (test,), "text", tuple(sides), name="branch")
    program = compile_module(build([made.function(result)]))
    branch = program.stages[0]
    bodies = [program.regions[index] for index in branch.regions]
    assert [len(body.stages) for body in bodies] == [1, 1]


def test_an_llm_becomes_four_stages_and_an_operand_wins_over_an_option() -> None:
    made = Recorder("text", "int")
    text, seed = made.block.arguments
    grammar = made.tool("grammar_of", text)
    options = {"seed": 7, "temperature": 0.5, "stop": [";"], "top_p": 0.9}
    names = ("question", "seed", "grammar")
    answer = made.llm("draft", text, seed, grammar, names=names, **options)
    program = compile_module(build([made.function(answer)]))
    ops = [stage.op for stage in program.stages]
    assert ops == ["tool", "tokenize", "prefill", "decode", "detokenize"]
    _, tokenize, prefill, decoded, back = program.stages
    assert tokenize.name == "draft.tokenize" and tokenize.attributes["names"] == ["question"]
    assert prefill.operands == tokenize.results
    assert decoded.operands == (*prefill.results, 1, *program.stages[0].results)
    assert decoded.attributes["names"] == ["seed", "grammar"]
    assert "seed" not in decoded.attributes and decoded.attributes["temperature"] == 0.5
    assert decoded.attributes["stop"] == [";"] and decoded.attributes["top_p"] == 0.9
    assert back.attributes["format"] == "text"
    assert program.body.yields == back.results
    assert tokenize.where == "flow.py:2"


def test_an_agent_level_module_is_no_program() -> None:
    from gangline.ir.decoding import decode_program

    made = Recorder("text")
    module = build([made.function(made.tool("look", made.block.arguments[0]))])
    with pytest.raises(LoweringError, match=r"agent\.tool is no stage"):
        decode_program(module)
    assert [s.op for s in decode_program(to_stages(module)).stages] == ["tool"]
