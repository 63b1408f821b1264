"""Wrong uses of the front end: each names the author's line and says what to write instead."""

# mypy: disable-error-code="empty-body,no-untyped-def,no-untyped-call,call-arg,arg-type,index"
# mypy: disable-error-code="return-value,func-returns-value,has-type,attr-defined,operator,call-overload,type-var,misc,str-format"
from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

import gangline as gl
from gangline.ir.errors import TraceError


class Answer(BaseModel):
    text: str
    ok: bool
    score: int = 0


@gl.tool(effects="read")
def look(topic: str, limit: int = 3) -> list[str]:
    return [topic] * limit


@gl.tool(effects="none")
def judge(text: str) -> Answer:
    return Answer(text=text, ok=True)


@gl.tool(effects="read")
def query(db: gl.Database, sql: str) -> gl.Rows:
    return gl.Rows(columns=[sql], rows=[[db]])


@gl.llm(model="m", max_tokens=8)
def write(topic: str, seed: int = 0) -> str:
    """Write about {topic}."""


Body = Callable[[str, Answer, str], Any]

USES: dict[str, tuple[Body, str, str]] = {
    "if": (lambda t, a, d: t if a.ok else a, "Python bool", "gl.branch"),
    "and": (lambda t, a, d: a.ok and a.ok, "Python bool", "gl.branch"),
    "not": (lambda t, a, d: not a.ok, "Python bool", "~"),
    "chained comparison": (lambda t, a, d: 0 < a.score < 5, "Python bool", "&"),
    "for": (lambda t, a, d: [x for x in look(t)], "iterating", "gl.map"),  # noqa: C416
    "unpacking": (lambda t, a, d: [*look(t)], "iterating", "gl.map"),
    "len": (lambda t, a, d: len(look(t)), "len()", "gl.length"),
    "in": (lambda t, a, d: "x" in look(t), "`in`", "@gl.tool"),
    "f-string": (lambda t, a, d: f"about {t}", "into a string", "{field}"),
    "str": (lambda t, a, d: str(t), "into a string", "{field}"),
    "join": (lambda t, a, d: ", ".join(["a", t]), "", "@gl.tool"),  # noqa: FLY002
    "int": (lambda t, a, d: int(a.score), "int()", "@gl.tool"),
    "range": (lambda t, a, d: range(a.score), "index or count", "gl.map"),
    "list index": (lambda t, a, d: [1, 2][a.score], "index or count", "gl.map"),
    "divide": (lambda t, a, d: a.score / 2, "dividing", "@gl.tool"),
    "method": (lambda t, a, d: t.upper(), "no field 'upper'", "tool that uses .upper"),
    "field": (lambda t, a, d: a.txt, "no field 'txt'", "Did you mean 'text'?"),
    "set field": (lambda t, a, d: setattr(a, "ok", True), "setting its field", "build a new one"),
    "compare kinds": (lambda t, a, d: t < a.score, "`<` does not work on str", "@gl.tool"),
    "add kinds": (lambda t, a, d: t + a.score, "`+` does not work on str", "@gl.tool"),
    "bool logic on text": (lambda t, a, d: a.ok & t, "`&` does not work on str", "@gl.tool"),
    "slice": (lambda t, a, d: look(t)[1:2], "cannot be indexed by slice", "Index by"),
    "missing argument": (lambda t, a, d: look(), "missing a required argument", "topic, limit"),
    "unknown argument": (lambda t, a, d: look(t, limmit=2), "no parameter 'limmit'", "'limit'?"),
    "too many arguments": (lambda t, a, d: look(t, 1, 2), "too many positional", "topic, limit"),
    "wrong type": (
        lambda t, a, d: look(a),
        f"'topic' of {look.name}() is Answer where str",
        "of type str",
    ),
    "wrong constant": (lambda t, a, d: look(t, "3"), "'3' is no int", "of type int"),
    "model text as database": (lambda t, a, d: query(write(t), t), "where Database", "Database"),
    "llm argument": (lambda t, a, d: write(a.score), "'topic' of write() is int", "of type str"),
    "map of text": (lambda t, a, d: gl.map(judge, t), "gl.map needs a list, not a str", "list"),
    "map of nothing": (lambda t, a, d: gl.map(judge, None), "gl.map needs a list", "list"),
    "map arity": (lambda t, a, d: gl.map(lambda: 1, [1]), "of 1 argument", "lambda"),
    "map element": (lambda t, a, d: gl.map(judge, [1, 2]), "where str is wanted", "of type str"),
    "branch value": (lambda t, a, d: gl.branch(a.ok, t, t), "needs a function for then", "lambda"),
    "branch condition": (
        lambda t, a, d: gl.branch(a.score, lambda: t, lambda: t),
        "condition of gl.branch is int",
        "of type bool",
    ),
    "branch types": (
        lambda t, a, d: gl.branch(a.ok, lambda: t, lambda: a),
        "give str and Answer",
        "same type",
    ),
    "loop without bound": (
        lambda t, a, d: gl.loop(lambda x: x, a, until=lambda x: x.ok),
        "no bound",
        "max_trips=3",
    ),
    "loop of zero": (
        lambda t, a, d: gl.loop(lambda x: x, a, until=lambda x: x.ok, max_trips=0),
        "no bound: max_trips is 0",
        "max_trips=3",
    ),
    "loop of True": (
        lambda t, a, d: gl.loop(lambda x: x, a, until=lambda x: x.ok, max_trips=True),
        "no bound",
        "max_trips=3",
    ),
    "loop of a symbol": (
        lambda t, a, d: gl.loop(lambda x: x, a, until=lambda x: x.ok, max_trips=a.score),
        "only known when the workflow runs",
        "max_trips=3",
    ),
    "until of text": (
        lambda t, a, d: gl.loop(lambda x: x, a, until=lambda x: x.text, max_trips=2),
        "until of gl.loop gives str",
        "bool",
    ),
    "loop body type": (
        lambda t, a, d: gl.loop(lambda x: x.text, a, until=lambda x: x.ok, max_trips=2),
        "body of gl.loop gives str",
        "Answer",
    ),
    "record field": (lambda t, a, d: gl.record(Answer, txt=t), "no field 'txt'", "'text'?"),
    "record missing": (lambda t, a, d: gl.record(Answer, text=t), "value for 'ok'", "ok="),
    "record type": (lambda t, a, d: gl.record(Answer, text=t, ok=t), "'ok' is str", "bool"),
    "record of int": (lambda t, a, d: gl.record(int), "pydantic model", "BaseModel"),
    "escape": (lambda t, a, d: escape(t), "inside the body of a gl.map", "Return it"),
    "unwritable": (lambda t, a, d: gl.map(lambda x: object(), [1]), "no object", "Give a value"),
    "self call": (lambda t, a, d: recursive(t), "calls itself", "gl.loop"),
}


def escape(topic: str) -> str:
    kept: list[str] = []
    gl.map(lambda x: kept.append(write(topic)) or 1, [1])
    return write(kept[0])


@gl.workflow
def recursive(topic: str) -> str:
    return recursive(topic)


def workflow_of(body: Body) -> Any:
    def wrong(topic: str, answer: Answer, db: gl.Database) -> Any:
        return body(topic, answer, db)

    return gl.workflow(wrong)


@pytest.mark.parametrize("name", USES)
def test_a_wrong_use_names_the_line_and_the_way_out(name: str) -> None:
    body, detail, hint = USES[name]
    if name == "join":
        # str.join looks at types only: nothing of ours runs, Python's own error stands.
        with pytest.raises(TypeError):
            workflow_of(body).trace()
        return
    with pytest.raises(TraceError) as caught:
        workflow_of(body).trace()
    error = caught.value
    assert detail in error.detail and hint in error.next_step, str(error)
    file, _, line = error.where.rpartition(":")
    assert file.endswith("test_wrong_use.py")
    lines, start = inspect.getsourcelines(body)
    inside = start <= int(line) < start + len(lines)
    assert inside or name in ("escape", "self call"), f"{error.where}, body at {start}"


def defined(name: str) -> None:
    """Make a wrong definition; the comments are what the error must say."""
    if name == "no type":

        @gl.tool
        def untyped(topic) -> str:
            return str(topic)

    elif name == "no return type":

        @gl.tool
        def nothing_typed(topic: str):
            return topic

    elif name == "star":

        @gl.tool
        def many(*topics: str) -> str:
            return topics[0]

    elif name == "unknown type":

        @gl.tool
        def lost(topic: Nowhere) -> str:  # type: ignore[name-defined]  # noqa: F821
            return str(topic)

    elif name == "effects":

        @gl.tool(effects="some")
        def some(topic: str) -> str:
            return topic

    elif name == "timeout":

        @gl.tool(timeout=0)
        def quick(topic: str) -> str:
            return topic

    elif name == "retries":

        @gl.tool(retries=-1)
        def again(topic: str) -> str:
            return topic

    elif name == "no prompt":

        @gl.llm(model="m", max_tokens=8)
        def silent(topic: str) -> str: ...

    elif name == "unknown field":

        @gl.llm(model="m", max_tokens=8)
        def typo(topic: str) -> str:
            """Say {topik}."""

    elif name == "stray brace":

        @gl.llm(model="m", max_tokens=8)
        def brace(topic: str) -> str:
            """Say {topic} as {"a": 1}."""

    elif name == "unused parameter":

        @gl.llm(model="m", max_tokens=8)
        def unused(topic: str, other: str) -> str:
            """Say {topic}."""

    elif name == "max_tokens":

        @gl.llm(model="m", max_tokens=0)
        def short(topic: str) -> str:
            """Say {topic}."""

    elif name == "output":

        @gl.llm(model="m", max_tokens=8, output=Answer)
        def torn(topic: str) -> int:
            """Say {topic}."""

    elif name == "grammar arguments":

        @gl.llm(model="m", max_tokens=8, grammar=query)
        def bound(sql: str) -> str:
            """Say {sql}."""

    elif name == "grammar that writes":

        @gl.tool(effects="write")
        def save_text(topic: str) -> str:
            return topic

        @gl.llm(model="m", max_tokens=8, grammar=save_text)
        def careless(topic: str) -> str:
            """Say {topic}."""

    elif name == "grammar kind":

        @gl.llm(model="m", max_tokens=8, grammar=7)
        def odd(topic: str) -> str:
            """Say {topic}."""

    elif name == "deadline":

        @gl.workflow(deadline=-1.0)
        def late(topic: str) -> str:
            return topic

    elif name == "no schema":

        @gl.tool
        def opaque(topic: Callable[[], int]) -> str:
            return str(topic)


DEFINITIONS = {
    "no type": ("parameter 'topic' of untyped() has no type", "topic: str"),
    "no return type": ("nothing_typed() has no return type", "-> str"),
    "star": ("many() takes *topics", "Name every parameter"),
    "unknown type": ("annotation of lost() cannot be read", "above the function"),
    "effects": ("effects='some'", "'none', 'read', 'write'"),
    "timeout": ("timeout=0", "timeout=5.0"),
    "retries": ("retries=-1", "retries=1"),
    "no prompt": ("silent() has no prompt", "docstring"),
    "unknown field": ("uses {topik}", "Did you mean 'topic'?"),
    "stray brace": ("which is no field", "{{ or }}"),
    "unused parameter": ("'other' of unused() is not in its prompt", "{other}"),
    "max_tokens": ("max_tokens=0", "max_tokens=1"),
    "output": ("says output=", "agree"),
    "grammar arguments": ("needs 'db'", "Add the parameter 'db'"),
    "grammar that writes": ("which writes", 'effects="none"'),
    "grammar kind": ("is a int", "gl.lark"),
    "deadline": ("deadline=-1.0", "deadline=5.0"),
    "no schema": ("has no JSON Schema", "pydantic model"),
}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_wrong_definition_names_its_line(name: str) -> None:
    detail, hint = DEFINITIONS[name]
    with pytest.raises(TraceError) as caught:
        defined(name)
    error = caught.value
    assert detail in error.detail and hint in error.next_step, str(error)
    lines, start = inspect.getsourcelines(defined)
    file, _, line = error.where.rpartition(":")
    assert file.endswith("test_wrong_use.py") and start < int(line) < start + len(lines)


def test_a_model_call_outside_a_workflow_says_where_it_belongs() -> None:
    with pytest.raises(TraceError, match="runs only as a step") as caught:
        write("x")
    assert "test_wrong_use.py:" in caught.value.where
    assert "@gl.workflow" in caught.value.next_step


def test_a_workflow_is_run_not_called() -> None:
    with pytest.raises(TraceError) as caught:
        recursive("x")
    assert "recursive.run(" in caught.value.next_step


def test_a_combinator_outside_a_workflow_is_refused() -> None:
    with pytest.raises(TraceError, match="only possible inside a workflow"):
        gl.map(judge, ["a"])


def test_a_wrong_return_type_names_the_workflow() -> None:
    @gl.workflow
    def wrong_return(topic: str) -> int:
        return write(topic)

    with pytest.raises(TraceError, match=r"wrong_return\(\) returns str where int") as caught:
        wrong_return.trace()
    assert "test_wrong_use.py:" in caught.value.where


def test_an_endless_python_loop_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gangline.workflows.tracing.MAX_NODES", 50)

    @gl.workflow
    def endless(topic: str) -> str:
        while True:
            topic = write(topic)

    with pytest.raises(TraceError, match="more than 50 operations"):
        endless.trace()


def test_tracing_is_over_after_an_error() -> None:
    with pytest.raises(TraceError):
        workflow_of(USES["if"][0]).trace()
    assert look("x", 1) == ["x"]
