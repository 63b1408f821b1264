"""`gl.recall`, `gl.remember`, `gl.observe` and `@gl.retriever`: what is recorded, and refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import gangline as gl
from gangline.ir.compiler import to_stages
from gangline.ir.errors import TraceError, VerifyError
from gangline.ir.module import Module
from gangline.ir.verifier import verify

CALLS: list[str] = []


@gl.tool(effects="read")
def look_outside(text: str) -> str:
    CALLS.append("look_outside")
    return text


@gl.tool(effects="write")
def tell_outside(text: str) -> str:
    return text


@gl.workflow
def noting(text: str) -> list[gl.Entry]:
    told = tell_outside(text)
    found = gl.recall(text, by="vector", model="m", limit=3, name="similar")
    gl.remember({"text": text}, key=told, model="m")
    gl.observe(text, found)
    look_outside(text)
    return gl.recall(text, "observations")


@gl.workflow
def reading_fields(text: str) -> float:
    return gl.recall(text)[0].score


def ops(module: Module, name: str) -> list[str]:
    return [line.strip() for line in module.text.splitlines() if f'"{name}"' in line]


def test_effects_are_ordered_as_those_of_tools() -> None:
    module = noting.trace()
    verify(module, level="agent")
    results = {
        name: ops(module, f"agent.{name}")[0].split(" = ")[0]
        for name in ("tool", "recall", "remember", "observe")
    }
    (recall, last) = ops(module, "agent.recall")
    assert f'"agent.recall"(%arg0, {results["tool"]})' in recall
    assert (
        f"{results['tool']}, {results['tool']}, {results['recall']})"
        in ops(module, "agent.remember")[0]
    )
    assert f", {results['recall']}, {results['remember']})" in ops(module, "agent.observe")[0]
    assert f", {results['observe']})" in ops(module, "agent.tool")[1]
    assert f"(%arg0, {results['observe']})" in last


def test_lowering_embeds_what_is_compared_or_kept() -> None:
    lowered = to_stages(noting.trace())
    embeds = ops(lowered, "stage.embed")
    assert [line.partition('name = "')[2].split('"')[0] for line in embeds] == [
        "similar.embed",
        "remember.embed",
    ]
    assert 'names = ["query", "vector"]' in ops(lowered, "stage.lookup")[0]
    assert 'names = ["query"]' in ops(lowered, "stage.lookup")[1]
    assert 'names = ["value", "key", "vector"]' in ops(lowered, "stage.store")[0]
    assert "model" not in ops(lowered, "stage.store")[0]


def test_entries_have_typed_fields() -> None:
    verify(reading_fields.trace(), level="agent")


WRONG: list[tuple[Callable[[Any], Any], str]] = [
    (lambda text: gl.recall(7), "7 is no str"),  # type: ignore[arg-type]
    (lambda text: gl.recall(text, by="magic"), "magic"),  # type: ignore[arg-type]
    (lambda text: gl.recall(text, limit=0), "limit"),
    (lambda text: gl.recall(text, limit=True), "limit"),
    (lambda text: gl.recall(text, limit=1001), "limit"),
    (lambda text: gl.recall(text, by="vector"), "model"),
    (lambda text: gl.recall(text, model="m"), "model"),
    (lambda text: gl.recall(text, space="No Space"), "No Space"),
    (lambda text: gl.recall(text, space=text), "space"),
    (lambda text: gl.recall(text, name="not a name"), "not a name"),
    (lambda text: gl.remember(text, key=7), "7 is no str"),  # type: ignore[arg-type]
    (lambda text: gl.remember(text, model=""), "model"),
    (lambda text: gl.remember(text, space="a" * 64), "space"),
    (lambda text: gl.remember(object()), "object"),
    (lambda text: gl.observe(text, space=""), "space"),
    (lambda text: gl.recall(text).first, "first"),  # type: ignore[attr-defined]
]


@pytest.mark.parametrize(("use", "named"), WRONG)
def test_wrong_use_names_the_line(use: Callable[[Any], Any], named: str) -> None:
    with pytest.raises(TraceError) as caught:

        @gl.workflow
        def wrong(text: str) -> str:
            use(text)
            return text

        wrong.trace()
    assert named in str(caught.value)
    assert "test_memory.py:" in caught.value.where and caught.value.next_step


def test_memory_is_used_in_workflows_only() -> None:
    for use in (lambda: gl.recall("x"), lambda: gl.remember("x"), lambda: gl.observe("x")):
        with pytest.raises(TraceError, match="workflow"):
            use()


def test_a_retriever_is_a_tool_that_reads_and_returns_a_list() -> None:
    @gl.retriever
    def find_pages(question: str) -> list[str]:
        return [question]

    assert (find_pages.effects, find_pages("x")) == ("read", ["x"])

    @gl.retriever(timeout=2.0, retries=1)
    def find_more(question: str) -> list[dict[str, str]]:
        return []

    assert (find_more.timeout_s, find_more.retries) == (2.0, 1)
    with pytest.raises(TraceError, match="retriever") as caught:

        @gl.retriever
        def find_one(question: str) -> str:
            return question

    assert "test_memory.py:" in caught.value.where


LOOKUP = 'by = "key", limit = 1 : i64, name = "r", names = ["query"], space = "s"'
BROKEN = {
    "a space that cannot be": LOOKUP.replace('"s"', '"A B"'),
    "a limit beyond the most": LOOKUP.replace("1 : i64", "5000 : i64"),
    "an operand by another name": LOOKUP.replace('["query"]', '["key"]'),
    "a vector that is not there": LOOKUP.replace('"key", limit', '"vector", limit'),
    "a model without a vector": f'model = "m", {LOOKUP}',
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_recall_is_refused_with_its_place(case: str) -> None:
    text = f"""
    module attributes {{agent.version = 2 : i64}} {{
      func.func @f(%a: !agent.text {{agent.name = "a"}}) -> !agent.list {{
        %0 = "agent.recall"(%a) {{{BROKEN[case]}}} : (!agent.text) -> !agent.list
        return %0 : !agent.list
      }}
    }}"""
    with pytest.raises(VerifyError, match=r"agent\.recall") as caught:
        verify(Module.parse(text))
    assert caught.value.where
