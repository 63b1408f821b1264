"""`llm.cache(...)`: what a cache holds, what continues it, and what is refused."""

# mypy: disable-error-code="empty-body,arg-type,call-overload"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import gangline as gl
from gangline.ir.attributes import decode
from gangline.ir.compiler import to_stages
from gangline.ir.errors import TraceError
from gangline.ir.module import Module, walk
from gangline.ir.verifier import verify
from gangline.workflows.prompt_cache import fields_of


@gl.llm(model="m", max_tokens=8, system="You write {dialect}.")
def pc_draft(dialect: str, schema: str, question: str, seed: int = 0) -> str:
    """Schema {{all}}: {schema}

    Question: {question}
    Query for {schema}:"""


@gl.llm(model="m", max_tokens=8, system="You write {dialect}.")
def pc_judge(dialect: str, schema: str, query: str) -> str:
    """Schema {{all}}: {schema}

    Question: was this a good query? {query}"""


@gl.llm(model="m", max_tokens=8, system="You write {dialect}.")
def pc_worded(dialect: str, schema: str, question: str) -> str:
    """Tables {{all}}: {schema}

    Question: {question}"""


@gl.llm(model="m", max_tokens=8)
def pc_other(schema: str, question: str) -> str:
    """{schema} {question}"""


@gl.llm(model="n", max_tokens=8, system="You write {dialect}.")
def pc_elsewhere(dialect: str, schema: str, question: str) -> str:
    """Schema {{all}}: {schema}

    Question: {question}"""


@gl.llm(model="m", max_tokens=8)
def pc_free(question: str, schema: gl.Free[str]) -> str:
    """Question: {question}

    {schema}"""


@gl.tool(effects="none")
def pc_rules(schema: str) -> str:
    return 'start: "a"'


@gl.llm(model="m", max_tokens=8, grammar=pc_rules)
def pc_ruled(schema: str, question: str) -> str:
    """Schema: {schema} Question: {question}"""


@gl.tool(effects="read")
def pc_words(text: str) -> list[str]:
    return text.split()


@gl.workflow
def pc_mapped(schema: str, text: str) -> list[str]:
    kv = pc_draft.cache(dialect="SQL", schema=schema)
    return gl.map(lambda one: pc_draft(question=one, cache=kv), pc_words(text))


@gl.workflow
def pc_plain(schema: str, text: str) -> list[str]:
    return gl.map(lambda one: pc_draft("SQL", schema, one), pc_words(text))


def rows(module: Module, name: str) -> list[dict[str, Any]]:
    """Give the attributes of the operations of a name, decoded."""
    return [
        {key: decode(value) for key, value in dict(op.attributes.items()).items()}
        for function in module.functions()
        for op in walk(function)
        if op.name == name
    ]


def made(body: Callable[[str], Any], returns: Any = str) -> Module:
    """Trace a workflow of one text."""

    def pc_flow(text: str) -> Any:
        return body(text)

    pc_flow.__annotations__["return"] = returns
    return gl.workflow(pc_flow).trace()


def test_a_cache_ends_before_the_first_field_that_is_not_given() -> None:
    module = pc_mapped.trace()
    verify(module, level="agent")
    (cache,) = rows(module, "agent.cache")
    assert cache["names"] == ["dialect", "schema"]
    assert [row["text"] for row in cache["template"]] == [
        "You write {dialect}.",
        "Schema {{all}}: {schema}\n\nQuestion: ",
    ]
    (call,) = rows(module, "agent.llm")
    assert call["names"] == ["question", "schema", "seed", "cache"]
    assert call["template"] == [{"role": "user", "text": "{question}\nQuery for {schema}:"}]


def test_a_prompt_that_its_author_cuts_stays_in_its_order() -> None:
    def body(text: str) -> Any:
        kv = pc_free.cache(question=text)
        return [pc_free(schema=text, cache=kv), pc_free(schema="a", question="b")]

    module = made(body, list[str])
    cut, whole = rows(module, "agent.llm")
    assert "free" not in cut and whole["free"] == ["schema"]
    texts = [row["template"][0]["text"] for row in rows(to_stages(module), "stage.tokenize")]
    assert texts[1] == pc_free.template[0]["text"]


def test_the_prompt_is_said_whole_and_is_that_of_a_call_without_a_cache() -> None:
    prefix, whole = rows(to_stages(pc_mapped.trace()), "stage.tokenize")
    (plain,) = rows(to_stages(pc_plain.trace()), "stage.tokenize")
    assert whole["template"] == plain["template"]
    assert prefix["open"] and "open" not in whole
    assert whole["names"] == ["prefix", "dialect", "schema", "question"]
    assert set(plain["names"]) == set(whole["names"]) - {"prefix"}


def test_a_cache_is_prefilled_in_front_of_the_map_that_continues_it() -> None:
    text = to_stages(pc_mapped.trace()).text
    assert text.index('"stage.prefill"') < text.index('"stage.tool"') < text.index("scf.for")
    verify(Module.parse(text), level="stage")


def test_a_cache_inside_a_map_that_reads_no_item_moves_out_and_is_one() -> None:
    def body(text: str) -> Any:
        def one(item: str) -> str:
            kv = pc_draft.cache(dialect="SQL", schema=text)
            return pc_draft(question=item, cache=kv)

        return gl.map(one, ["a", "b"])

    lowered = to_stages(made(body, list[str]))
    assert len([row for row in rows(lowered, "stage.tokenize") if row.get("open")]) == 1
    assert lowered.text.index("open = true") < lowered.text.index("scf.for")


def test_another_llm_whose_prompt_begins_alike_continues_a_cache() -> None:
    def body(text: str) -> Any:
        kv = pc_draft.cache(dialect="SQL", schema=text)
        query = pc_draft(question=text, cache=kv)
        return pc_judge(query=query, cache=kv)

    judge = rows(to_stages(made(body)), "stage.tokenize")[-1]
    assert judge["template"][1]["text"] == pc_judge.template[1]["text"]


def test_a_cache_goes_on_from_a_cache() -> None:
    def body(text: str) -> Any:
        first = pc_draft.cache(dialect="SQL")
        second = pc_draft.cache(schema=text, cache=first)
        return pc_draft(question=text, cache=second)

    module = made(body)
    texts = [[row["text"] for row in found["template"]] for found in rows(module, "agent.cache")]
    assert texts == [
        ["You write {dialect}.", "Schema {{all}}: "],
        ["{schema}\n\nQuestion: "],
    ]
    lowered = to_stages(module)
    verify(lowered, level="stage")
    assert [len(row["template"]) for row in rows(lowered, "stage.tokenize")] == [2, 2, 2]
    assert rows(lowered, "stage.tokenize")[-1]["template"] == pc_draft.template


def test_a_whole_prompt_has_several_answers() -> None:
    def body(text: str) -> Any:
        kv = pc_draft.cache(dialect="SQL", schema=text, question=text)
        return [pc_draft(cache=kv, seed=1), pc_draft(cache=kv, seed=2)]

    lowered = to_stages(made(body, list[str]))
    assert len(rows(lowered, "stage.decode")) == 2
    assert len([row for row in rows(lowered, "stage.tokenize") if row.get("open")]) == 1


def test_a_tool_that_makes_the_grammar_reads_what_the_cache_holds() -> None:
    def body(text: str) -> Any:
        return pc_ruled(question=text, cache=pc_ruled.cache(schema=text))

    (tool,) = rows(made(body), "agent.tool")
    assert tool["names"] == ["schema"]


def test_a_field_of_one_name_and_two_values_keeps_both() -> None:
    """By hand: the front end takes a field from the cache, the IR may say another value."""
    module = Module.parse(
        'func.func @main(%a: !agent.text {agent.name = "a"}, %b: !agent.text {agent.name = "b"}) '
        "-> !agent.text {\n"
        '%c = "agent.cache"(%a) {model = "m", name = "c", names = ["x"], '
        'template = [{role = "user", text = "A {x} "}]} : (!agent.text) -> !agent.kv\n'
        '%r = "agent.llm"(%b, %a, %c) {format = "text", max_tokens = 8 : i64, model = "m", '
        'name = "l", names = ["x", "prefix", "cache"], '
        'template = [{role = "user", text = "B {x} {prefix} {{x}}"}]} '
        ": (!agent.text, !agent.text, !agent.kv) -> !agent.text\n"
        "return %r : !agent.text\n}"
    )
    verify(module, level="agent")
    lowered = to_stages(module, passes=())
    verify(lowered, level="stage")
    whole = rows(lowered, "stage.tokenize")[1]
    assert whole["names"] == ["prefix", "x", "x_2", "prefix_2"]
    assert whole["template"][0]["text"] == "A {x} B {x_2} {prefix_2} {{x}}"
    assert "(%0, %arg0, %arg1, %arg0)" in lowered.text


def test_where_shared_beginnings_end_is_told_of_the_whole_prompt() -> None:
    prefix, whole = rows(to_stages(pc_mapped.trace()), "stage.tokenize")
    (plain,) = rows(to_stages(pc_plain.trace()), "stage.tokenize")
    for found in (prefix, whole, plain):
        for row in found["prefix_ids"]:
            text = found["template"][row["message"]]["text"]
            assert fields_of([{"text": text[: row["chars"]]}]) in ([], ["schema"])
    ends = {row["scope"]: row for row in whole["prefix_ids"]}
    assert ends["job"] == {"chars": 36, "message": 1, "scope": "job"}


WRONG: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "a hole": (
        lambda t: pc_draft.cache(dialect="SQL", question=t),
        "'question' is given to pc_draft.cache(), but {schema} stands before it",
        "Give schema as well",
    ),
    "nothing held": (lambda t: pc_other.cache(), "begins with {schema}", "Give schema"),
    "unknown field": (
        lambda t: pc_draft.cache(dialekt="SQL"),
        "'dialekt' is no field of the prompt",
        "Did you mean 'dialect'",
    ),
    "a seed": (lambda t: pc_draft.cache(dialect=t, seed=1), "'seed' is no field", "to the call"),
    "wrong type": (lambda t: pc_draft.cache(dialect=1), "", "Give a value of type str"),
    "given twice": (
        lambda t: pc_draft(schema=t, question=t, cache=pc_draft.cache(dialect=t, schema=t)),
        "'schema' is in the cache",
        "Leave schema out",
    ),
    "not named": (
        lambda t: pc_draft(t, cache=pc_draft.cache(dialect=t, schema=t)),
        "its fields are not named",
        "Name the fields",
    ),
    "a field left out": (
        lambda t: pc_draft(cache=pc_draft.cache(dialect=t, schema=t)),
        "question",
        "It takes",
    ),
    "no cache": (lambda t: pc_draft(question=t, cache=t), "no cache of a prompt", "pc_draft.cache"),
    "another prompt": (
        lambda t: pc_other(question=t, cache=pc_draft.cache(dialect=t)),
        "does not begin with what the cache of pc_draft() holds",
        "pc_other.cache",
    ),
    "another wording": (
        lambda t: pc_worded(schema=t, question=t, cache=pc_draft.cache(dialect=t)),
        "does not begin with what the cache of pc_draft() holds",
        "pc_worded.cache",
    ),
    "another model": (
        lambda t: pc_elsewhere(question=t, cache=pc_draft.cache(dialect=t, schema=t)),
        "is of the model 'm'",
        "pc_elsewhere.cache",
    ),
    "given to a tool": (
        lambda t: pc_words(pc_draft.cache(dialect=t)),
        "no value that a step can read",
        "cache=kv",
    ),
    "returned in a list": (
        lambda t: [pc_draft.cache(dialect=t)],
        "no value that a step can read",
        "cache=kv",
    ),
    "mapped over": (
        lambda t: gl.map(lambda x: x, pc_draft.cache(dialect=t)),
        "no value that a step can read",
        "cache=kv",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_uses_name_the_line_and_say_what_to_write(name: str) -> None:
    body, detail, next_step = WRONG[name]
    with pytest.raises(TraceError) as caught:
        made(body, Any)
    told = caught.value
    assert detail in told.detail
    assert next_step in told.next_step
    assert "test_prompt_cache.py:" in told.where


def test_a_cache_of_a_body_is_not_used_outside_of_it() -> None:
    kept: list[Any] = []

    def one(item: str) -> str:
        kept.append(pc_draft.cache(dialect=item))
        return item

    def body(text: str) -> Any:
        gl.map(one, ["a"])
        return pc_draft(schema=text, question=text, cache=kept[0])

    with pytest.raises(TraceError, match=r"PromptCache made inside the body of a gl\.map"):
        made(body)


def test_a_parameter_named_cache_is_refused_where_it_is_defined() -> None:
    with pytest.raises(TraceError, match="a parameter 'cache'"):

        @gl.llm(model="m", max_tokens=8)
        def pc_named(cache: str) -> str:
            """{cache}"""


def test_a_cache_is_made_in_a_workflow() -> None:
    with pytest.raises(TraceError, match="only possible inside a workflow"):
        pc_draft.cache(dialect="SQL")


def test_a_cache_stays_in_a_map_that_may_have_no_item() -> None:
    """Unlike a prefill that its first decode computes, a cache is computed for nothing there."""

    def body(text: str) -> Any:
        def one(item: str) -> str:
            kv = pc_draft.cache(dialect=text, schema=text)
            return pc_draft(question=text, cache=kv)

        return gl.map(one, pc_words(text))

    lowered = to_stages(made(body, list[str]))
    verify(lowered, level="stage")
    assert lowered.text.index("scf.for") < lowered.text.index('"stage.prefill"')
