"""Every broken module is refused, with the line of the operation that breaks it."""

from __future__ import annotations

import pytest

from gangline.ir.errors import VerifyError
from gangline.ir.module import Module
from gangline.ir.verifier import verify, violations

TOOL = (
    'effects = "read", idempotent = true, name = "t", names = ["q"], retries = 0 : i64, '
    'signature = "0", timeout_s = 1.0 : f64, tool = "t"'
)
LLM = (
    'format = "text", max_tokens = 8 : i64, model = "m", name = "d", names = ["q"], '
    'template = [{role = "user", text = "say {q}"}]'
)
MAP = """
    %c0 = arith.constant 0 : i64
    %c1 = arith.constant 1 : i64
    %n = "agent.length"(%l) : (!agent.list) -> i64
    %e = "agent.empty"() : () -> !agent.list
    %r = scf.for %i = %c0 to %n step %c1 iter_args(%acc = %e) -> (!agent.list) : i64 {
      %x = "agent.element"(%l, %i) : (!agent.list, i64) -> !agent.json
      %g = "agent.append"(%acc, %x) : (!agent.list, !agent.json) -> !agent.list
      scf.yield %g : !agent.list
    } {agent.name = "map", agent.parallel}
"""
LOOP = """
    %r = scf.while (%s = %q) : (!agent.text) -> !agent.text {
      %d = "agent.compute"(%s, %s) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %u = "agent.until"(%d) : (i1) -> i1
      scf.condition(%u) %s : !agent.text
    } do {
    ^bb0(%s: !agent.text):
      scf.yield %s : !agent.text
    } attributes {agent.max_trips = 2 : i64, agent.name = "loop"}
"""
STAGES = """
    %t = "stage.tokenize"(%q) {model = "m", name = "d", names = ["q"], template = [{role = "user", text = "{q}"}]} : (!agent.text) -> !stage.tokens
    %kv = "stage.prefill"(%t) {model = "m", name = "p"} : (!stage.tokens) -> !agent.kv
    %o = "stage.decode"(%kv) {max_tokens = 8 : i64, model = "m", name = "d", names = []} : (!agent.kv) -> !stage.tokens
    %r = "stage.detokenize"(%o) {format = "text", model = "m", name = "x"} : (!stage.tokens) -> !agent.text
"""


def function(body: str, result: str = "%q : !agent.text") -> str:
    """Put operations into a workflow of a text, a list and a bool."""
    kind = result.partition(" : ")[2]
    return (
        'func.func @main(%q: !agent.text {agent.name = "q"}, %l: !agent.list {agent.name = "l"}, '
        f'%b: i1 {{agent.name = "b"}}) -> {kind} {{\n{body}\nreturn {result}\n}}'
    )


def tool(attributes: str = TOOL, operands: str = "%q", types: str = "!agent.text") -> str:
    return f'%0 = "agent.tool"({operands}) {{{attributes}}} : ({types}) -> !agent.text'


def llm(attributes: str = LLM) -> str:
    return f'%0 = "agent.llm"(%q) {{{attributes}}} : (!agent.text) -> !agent.text'


def compute(attributes: str, operands: str = "%q", types: str = "!agent.text") -> str:
    return f'%0 = "agent.compute"({operands}) {{{attributes}}} : ({types}) -> !agent.json'


GOOD = {
    "tool": function(tool()),
    "tool that waits": function(
        f'%w = "agent.tool"(%q) {{{TOOL}}} : (!agent.text) -> !agent.list\n'
        + tool(operands="%q, %w", types="!agent.text, !agent.list")
    ),
    "llm": function(llm()),
    "map": function(MAP, "%r : !agent.list"),
    "loop": function(LOOP, "%r : !agent.text"),
    "stages": function(STAGES, "%r : !agent.text"),
}

BAD = {
    "unknown op": (function('"agent.dance"() : () -> ()'), "no operation of the op table"),
    "foreign op": (function("%z = arith.addi %b, %b : i1"), "arith.addi is no operation"),
    "no operand": (function('%0 = "agent.cast"() : () -> i1'), "takes 1 operands, not 0"),
    "two operands": (
        function('%0 = "agent.length"(%l, %l) : (!agent.list, !agent.list) -> i64'),
        "takes 1 operands, not 2",
    ),
    "operand type": (
        function('%0 = "agent.length"(%q) : (!agent.text) -> i64'),
        "operand 0 of agent.length is !agent.text, not !agent.list",
    ),
    "foreign operand type": (
        function(tool(operands="%z", types="f32").join(["%z = arith.constant 1.0 : f32\n", ""])),
        "operand 0 of agent.tool is f32",
    ),
    "result type": (
        function('%0 = "agent.length"(%l) : (!agent.list) -> i32'),
        "result 0 of agent.length is i32, not i64",
    ),
    "no result": (function('"agent.empty"() : () -> ()'), "gives 1 results, not 0"),
    "missing attribute": (
        function(tool(TOOL.replace("retries = 0 : i64, ", ""))),
        "needs the attribute 'retries'",
    ),
    "unknown attribute": (function(tool(TOOL + ", color = 1")), "no attribute 'color'"),
    "attribute kind": (
        function(tool(TOOL.replace("0 : i64", '"many"'))),
        "'retries' of agent.tool is \"many\", not of kind int",
    ),
    "bool for int": (function(tool(TOOL.replace("0 : i64", "true"))), "not of kind int"),
    "not json": (
        function('%0 = "agent.constant"() {value = dense<1> : tensor<1xi8>} : () -> i64'),
        "no JSON value",
    ),
    "unknown effect": (
        function(tool(TOOL.replace('"read"', '"some"'))),
        "'some', not one of none, read, write",
    ),
    "negative retries": (function(tool(TOOL.replace("0 : i64", "-1 : i64"))), "below 0"),
    "zero tokens": (function(llm(LLM.replace("8 : i64", "0 : i64"))), "below 1"),
    "region": (function('"agent.empty"() ({}) : () -> !agent.list'), "takes no region"),
    "more names than operands": (
        function(tool(TOOL.replace('["q"]', '["q", "r"]'))),
        "names 2 of 1 operands",
    ),
    "name twice": (
        function(tool(TOOL.replace('["q"]', '["q", "q"]'), "%q, %q", "!agent.text, !agent.text")),
        "names an operand twice",
    ),
    "template field": (function(llm(LLM.replace("{q}", "{q} {z}"))), "uses {z}"),
    "unused field": (function(llm(LLM.replace("{q}", "{{q}}"))), "lacks {q}"),
    "template role": (function(llm(LLM.replace('"user"', '"boss"'))), "no list of {role, text}"),
    "empty template": (
        function(llm(LLM.replace('[{role = "user", text = "say {q}"}]', "[]"))),
        "no list of {role, text}",
    ),
    "grammar kind": (
        function(llm(LLM + ', grammar = {kind = "yacc", text = ""}')),
        "no {kind, text}",
    ),
    "compute function": (function(compute('fn = "launch"')), "'launch', not one of get"),
    "compute arity": (function(compute('fn = "eq"')), "eq does not take 1 operands"),
    "get without key": (function(compute('fn = "get"')), "`key` goes with `get` alone"),
    "dict without keys": (function(compute('fn = "dict"')), "`keys` goes with `dict`"),
    "call of nothing": (
        function('%0 = "agent.call"(%q) {callee = @gone, name = "g"} : (!agent.text) -> i64'),
        "agent.call of @gone, which is not there",
    ),
    "call of other types": (
        function('%0 = "agent.call"(%q) {callee = @main, name = "g"} : (!agent.text) -> i64'),
        "does not fit",
    ),
    "recursion": (
        function(
            '%0 = "agent.call"(%q, %l, %b) {callee = @main, name = "g"} '
            ": (!agent.text, !agent.list, i1) -> !agent.text"
        ),
        "@main calls itself",
    ),
    "unbounded loop": (
        function(LOOP.replace("agent.max_trips = 2 : i64, ", ""), "%r : !agent.text"),
        "agent.max_trips of at least 1",
    ),
    "loop of no trips": (
        function(LOOP.replace("2 : i64", "0 : i64"), "%r : !agent.text"),
        "'agent.max_trips' of scf.while is 0, below 1",
    ),
    "loop without until": (
        function(LOOP.replace("scf.condition(%u)", "scf.condition(%d)"), "%r : !agent.text"),
        "comes from agent.until",
    ),
    "sequential for": (
        function(MAP.replace(", agent.parallel", ""), "%r : !agent.list"),
        "needs agent.parallel",
    ),
    "map from one": (
        function(MAP.replace("= %c0 to", "= %c1 to"), "%r : !agent.list"),
        "runs from 0 by 1",
    ),
    "map of another list": (
        function(
            '%m = "agent.empty"() : () -> !agent.list\n'
            + MAP.replace("element(%l".replace("(", '"('), 'element"(%m'),
            "%r : !agent.list",
        ),
        "agent.length of its list",
    ),
    "append alone": (
        function('%0 = "agent.append"(%l, %q) : (!agent.list, !agent.text) -> !agent.list'),
        "stands outside of an scf.for",
    ),
    "until alone": (
        function('%0 = "agent.until"(%b) : (i1) -> i1'),
        "stands outside of an scf.while",
    ),
    "branch without name": (
        function(
            "%r = scf.if %b -> (!agent.text) { scf.yield %q : !agent.text } "
            "else { scf.yield %q : !agent.text }"
        ),
        "needs the attribute 'agent.name'",
    ),
    "models differ": (
        function(
            STAGES.replace('model = "m", name = "p"', 'model = "n", name = "p"'),
            "%r : !agent.text",
        ),
        "differ in model",
    ),
    "unknown option": (
        function(
            STAGES.replace('"(%kv)', '"(%kv, %q)')
            .replace("names = []", 'names = ["mood"]')
            .replace("(!agent.kv) -> !stage.tokens", "(!agent.kv, !agent.text) -> !stage.tokens"),
            "%r : !agent.text",
        ),
        "no option 'mood'",
    ),
    "handle as input": (
        (
            'func.func @main(%q: !agent.kv {agent.name = "q"}) -> i64 {\n'
            '%0 = "agent.constant"() {value = 1 : i64} : () -> i64\nreturn %0 : i64\n}'
        ),
        "takes or gives a !agent.kv",
    ),
    "nameless input": ("func.func @main(%q: i64) -> i64 { return %q : i64 }", "no agent.name"),
    "names of inputs": (
        (
            'func.func @main(%q: i64 {agent.name = "a"}, %p: i64 {agent.name = "a"}) -> i64 '
            "{ return %q : i64 }"
        ),
        "two inputs are named 'a'",
    ),
    "no result of function": ("func.func @main() { return }", "gives 0 values, not one"),
    "declaration": ("func.func private @main() -> i64", "has no body"),
    "two workflows": (
        (
            'func.func @a(%q: i64 {agent.name = "q"}) -> i64 { return %q : i64 }\n'
            'func.func @b(%q: i64 {agent.name = "q"}) -> i64 { return %q : i64 }'
        ),
        "this one has 2",
    ),
    "dominance": (
        function('%1 = "agent.cast"(%0) : (!agent.text) -> !agent.json\n' + tool()),
        "does not dominate",
    ),
    "yield type": (
        function(LOOP.replace("scf.yield %s : !agent.text", "scf.yield %b : i1")),
        "",
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_module_passes(name: str) -> None:
    verify(Module.parse(GOOD[name]))


@pytest.mark.parametrize("name", BAD)
def test_a_bad_module_is_refused_with_its_line(name: str) -> None:
    text, message = BAD[name]
    with pytest.raises(VerifyError) as caught:
        found = list(violations(Module.parse(text, filename="flow.mlir")))
        assert found, "nothing was refused"
        raise next((error for error in found if message in error.detail), found[0])
    assert message in caught.value.detail
    assert caught.value.where.startswith(("<text>:", "flow.mlir"))


def test_the_line_is_the_operations() -> None:
    with pytest.raises(VerifyError) as caught:
        verify(Module.parse(function("\n\n" + tool(TOOL + ", color = 1"))))
    assert caught.value.where == "<text>:4"


def test_levels_do_not_mix() -> None:
    verify(Module.parse(GOOD["tool"]), level="agent")
    with pytest.raises(VerifyError, match="stage level"):
        verify(Module.parse(GOOD["tool"]), level="stage")
    with pytest.raises(VerifyError, match="agent level"):
        verify(Module.parse(GOOD["stages"]), level="agent")


@pytest.mark.parametrize("data", [b"", b"ML\xefR", b"not bytecode", b"ML\xefR" + bytes(64)])
def test_damaged_bytecode_is_refused(data: bytes) -> None:
    with pytest.raises(VerifyError):
        verify(Module.from_bytecode(data))
