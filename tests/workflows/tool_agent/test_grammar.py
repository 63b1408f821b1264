"""The grammar of plans: all that can be written under it is a plan that passes every check."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gangline.ir.errors import TraceError
from gangline.runtime.dispatch.plan_reader import PlanReader
from gangline.workflows.tool_agent.grammar import CallShape, plan_grammar
from tests.runtime.conftest import planned_tool

llguidance = pytest.importorskip("llguidance")

HOSTILE = [
    '"',
    '\\"',
    "\\",
    '" | /.*/',
    "a\nstart: x",
    "$9",
    "${9}",
    "é\u2028",
    "*/",
    "%json {}",
    "\x7f",
]
names = st.sampled_from(["value", "unit", "größe", "_x", "city2"])
texts = st.sampled_from(HOSTILE) | st.text(max_size=6)


def bounds(draw: Any, low: str, high: str, values: Any) -> dict[str, Any]:
    first, second = sorted((draw(values), draw(values)))
    kept = draw(st.sampled_from([(), (low,), (high,), (low, high)]))
    return {key: value for key, value in ((low, first), (high, second)) if key in kept}


@st.composite
def schemas(draw: Any, depth: int = 0) -> Any:
    kinds = ["string", "integer", "number", "boolean", "null", "enum", "const", "any"]
    kind = draw(st.sampled_from(kinds + ["array", "object", "map", "anyOf"] * (depth < 2)))
    match kind:
        case "string":
            return {"type": kind, **bounds(draw, "minLength", "maxLength", st.integers(0, 9))}
        case "integer" | "number":
            return {"type": kind, **bounds(draw, "minimum", "maximum", st.integers(-50, 50))}
        case "boolean" | "null":
            return {"type": kind}
        case "enum":
            inner = texts | st.integers(-5, 5) | st.booleans()
            return {"enum": draw(st.lists(inner, min_size=1, max_size=4))}
        case "const":
            return {"const": draw(texts)}
        case "any":
            return {}
        case "array":
            limits = bounds(draw, "minItems", "maxItems", st.integers(0, 4))
            return {"type": kind, "items": draw(schemas(depth + 1)), **limits}
        case "object":
            inside = draw(st.dictionaries(texts, schemas(depth + 1), min_size=1, max_size=3))
            known = {name: found for name, found in inside.items() if not name.startswith("$")}
            needed = [name for name in known if draw(st.booleans())]
            return {"type": kind, "properties": known, "required": needed}
        case "map":
            return {"type": "object", "additionalProperties": draw(schemas(depth + 1))}
    return {"anyOf": draw(st.lists(schemas(depth + 1), min_size=1, max_size=3))}


@st.composite
def tools(draw: Any) -> list[dict[str, Any]]:
    rows = []
    for name in draw(st.lists(st.sampled_from(["find", "prüfe", "f_2"]), min_size=1, unique=True)):
        parameters = draw(st.dictionaries(names, schemas(), max_size=3))
        required = [key for key in parameters if draw(st.booleans())]
        effects = draw(st.sampled_from(["none", "read", "write"]))
        rows.append(planned_tool(name, parameters=parameters, required=required, effects=effects))
    return rows


def shapes(rows: list[dict[str, Any]]) -> list[CallShape]:
    return [
        CallShape(row["name"], row["parameters"], row["required"], ("price", "size"))
        for row in rows
    ]


class Matcher:
    """llguidance itself, told bytes."""

    tokenizer = llguidance.LLTokenizer("byte")

    def __init__(self, grammar: str) -> None:
        text = llguidance.LLMatcher.grammar_from_lark(grammar)
        self.matcher = llguidance.LLMatcher(self.tokenizer, text, log_level=0)
        assert not self.matcher.is_error(), self.matcher.get_error()

    def walk(self, draws: random.Random, limit: int = 2_000) -> str | None:
        """Write something under the grammar, byte by byte; None where it takes too long."""
        written = bytearray()
        while not self.matcher.is_stopped() and len(written) < limit:
            if self.matcher.is_accepting():
                return written.decode()
            mask = self.matcher.compute_bitmask()
            allowed = [at for at in range(256) if mask[at // 8] >> (at % 8) & 1]
            # Ends of texts, and digits of references, are rare among all bytes: prefer them.
            likely = [at for at in allowed if chr(at) in '"$}{)],1234'] or allowed
            byte = draws.choice(likely if draws.random() < 0.7 else allowed)
            assert self.matcher.consume_token(byte), self.matcher.get_error()
            written.append(byte)
        return written.decode() if self.matcher.is_accepting() else None

    def takes(self, text: str) -> bool:
        tokens = list(text.encode())
        return bool(self.matcher.consume_tokens(tokens)) and self.matcher.is_accepting()


def read(text: str, rows: list[dict[str, Any]], max_steps: int = 3) -> list[dict[str, Any]]:
    reader = PlanReader(rows, max_steps, "here")
    return [*reader.feed(text), *([] if reader.ended else reader.finish())]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=tools(), seed=st.integers(0, 2**32))
def test_what_can_be_written_is_a_plan(rows: list[dict[str, Any]], seed: int) -> None:
    try:
        grammar = plan_grammar(shapes(rows), 3)
    except TraceError:
        return
    draws = random.Random(seed)
    for _ in range(3):
        text = Matcher(grammar).walk(draws)
        if text is not None:
            assert text.endswith("join()") and len(read(text, rows)) == text.count("\n")


ROWS = [
    planned_tool(
        "convert",
        parameters={
            "value": {"type": "number"},
            "unit": {"enum": ["km", "mi", *HOSTILE]},
            "note": {"type": "string"},
        },
        required=["value"],
    ),
    planned_tool("now", parameters={}, required=[]),
]


@pytest.mark.parametrize(
    ("text", "is_plan"),
    [
        ("1. join()", True),
        ("1. now()\n2. convert(value=$1)\n3. join()", True),
        ('1. convert(value=3.5, unit="km", note="a $$ b \\" c")\n2. join()', True),
        ('1. now()\n2. convert(value=$1.price, note="${1} dogs, ${1.price}")\n3. join()', True),
        ("1. now()\n2. now()\n3. now()\n4. join()", True),
        ("1. now()\n2. now()\n3. now()\n4. now()\n5. join()", False),
        ("1. convert(value=$1)\n2. join()", False),
        ("1. now()\n2. convert(value=$2)\n3. join()", False),
        ("1. now()\n2. convert(value=$1.secret)\n3. join()", False),
        ('1. convert(value="3")\n2. join()', False),
        ('1. convert(value=3, unit="mile")\n2. join()', False),
        ("1. convert()\n2. join()", False),
        ("1. convert(value=1, value=2)\n2. join()", False),
        ("1. rm()\n2. join()", False),
        ("2. now()\n3. join()", False),
        ("1. now()", False),
        ('1. convert(value=3, note="$1")\n2. join()', False),
        ('1. now()\n2. convert(value=3, note="\\u0024{7}")\n3. join()', False),
        ('1. convert(value=3, note="a\nb")\n2. join()', False),
    ],
)
def test_only_plans_can_be_written(text: str, is_plan: bool) -> None:
    assert Matcher(plan_grammar(shapes(ROWS), 3)).takes(text) == is_plan
    if is_plan:
        read(text, ROWS)


@pytest.mark.parametrize("name", ['x"', "a b", "", "f(", "x\ny", "1x", "x: /.*/"])
def test_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(TraceError, match="named"):
        plan_grammar([CallShape(name, {}, ())])
    with pytest.raises(TraceError, match="named"):
        plan_grammar([CallShape("f", {name: {}}, ())])


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {"type": "file"},
        {"enum": [float("nan")]},
        {"allOf": [{"type": "string"}, {"minLength": 1}]},
        {"type": "object", "minProperties": 2},
    ],
)
def test_schemas_that_no_grammar_can_say_are_refused(schema: Any) -> None:
    with pytest.raises(TraceError, match="No grammar of plans"):
        plan_grammar([CallShape("f", {"x": schema}, ())])
