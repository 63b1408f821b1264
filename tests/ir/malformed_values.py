"""Malformed modules whose attributes hold values that look right and are not."""

from __future__ import annotations

from tests.ir.modules import BRANCH, LLM, ROW, TOOL, compute, expand, function, llm, tool

NO = False
_ROWS = "the tools of agent.expand are no list of tools"


def constant(value: str) -> str:
    return f'%0 = "agent.constant"() {{value = {value}}} : () -> !agent.json'


def nested(depth: int) -> str:
    """Give a workflow of branches inside each other."""
    text = BRANCH
    for _ in range(depth - 1):
        text = BRANCH.replace("{\n      scf.yield %q", "{\n" + text + "      scf.yield %r", 1)
    return function(text, "%r : !agent.text")


BAD_VALUES: dict[str, tuple[str, str, int, bool]] = {
    "infinite constant": (
        function(constant("0x7FF0000000000000 : f64")),
        "not of kind json",
        2,
        NO,
    ),
    "NaN inside a constant": (
        function(constant("[{a = 0x7FF8000000000000 : f64}]")),
        "not of kind json",
        2,
        NO,
    ),
    "huge int": (function(constant(f"{2**64} : i64")), "out of range", 2, NO),
    "step without a name": (
        function(tool(TOOL.replace('name = "t"', 'name = ""'))),
        "attribute 'name' of agent.tool is empty",
        2,
        NO,
    ),
    "tool without a name": (
        function(tool(TOOL.replace(', tool = "t"', ', tool = ""'))),
        "attribute 'tool' of agent.tool is empty",
        2,
        NO,
    ),
    "no model": (
        function(llm(LLM.replace('model = "m"', 'model = ""'))),
        "attribute 'model' of agent.llm is empty",
        2,
        NO,
    ),
    "branch of an empty name": (
        function(BRANCH.replace('"b"', '""'), "%r : !agent.text"),
        "'agent.name' of scf.if is empty",
        3,
        NO,
    ),
    "key twice": (
        function(
            compute('fn = "dict", keys = ["a", "a"]', "%q, %q", "!agent.text, !agent.text"),
        ),
        "compute dict has a key twice",
        2,
        NO,
    ),
    "row that needs a list": (
        function(expand(tools=ROW.replace("required = []", "required = [[]]"))),
        _ROWS,
        2,
        NO,
    ),
    "row that is given an object": (
        function(expand(tools=ROW.replace("given = []", "given = [{}]"))),
        _ROWS,
        2,
        NO,
    ),
    "row of a schema that is none": (
        function(expand(tools=ROW.replace("parameters = {}", "parameters = {a = 1 : i64}"))),
        _ROWS,
        2,
        NO,
    ),
    "row of some seconds": (
        function(expand(tools=ROW.replace("1.0 : f64", '"soon"'))),
        _ROWS,
        2,
        NO,
    ),
    "row of less than no tries": (
        function(expand(tools=ROW.replace("retries = 0", "retries = -1"))),
        _ROWS,
        2,
        NO,
    ),
    "row of a nameless tool": (
        function(expand(tools=ROW.replace('name = "look"', 'name = ""'))),
        _ROWS,
        2,
        NO,
    ),
    "branches inside branches": (nested(101), "is inside of 100 others", 203, NO),
    "grant of a power": (
        function(expand(granted='["look:\u00b2"]')),
        "grants 'look:\u00b2'",
        2,
        NO,
    ),
}
"""By name, as in `malformed.BAD`."""
