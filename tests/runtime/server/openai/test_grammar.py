"""What must match a schema does, whatever a model would like to say."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import torch

from gangline.backends.engine.constraint import Constraints
from gangline.backends.engine.tokenizer import BYTE_SYMBOLS, Tokenizer, from_tables
from gangline.ir.errors import InputError, RequestError
from gangline.ir.specs.request import Grammar
from gangline.runtime.server.openai import limits
from gangline.runtime.server.openai.chat_request import ChatRequest
from gangline.runtime.server.openai.grammar import PREFIX, grammar_of
from gangline.runtime.server.openai.tool_calls import Arguments, CallBegins, ToolCallParser

EOS = 0


def _tokenizer() -> Tokenizer:
    pieces = ['{"', '": ', ', "', '"}', "true", "name", "</", "tool", "_call", ">\n", "weather"]
    table = {byte: symbol for symbol, byte in BYTE_SYMBOLS.items()}
    words = ["".join(table[byte] for byte in piece.encode()) for piece in pieces]
    return from_tables(
        {
            "tokens": ["<|im_end|>", *BYTE_SYMBOLS, *words],
            "merges": [],
            "control": [EOS],
            "user_defined": [],
            "eos_token_id": EOS,
            "pre": "gpt-2",
        }
    )


TOKENIZER = _tokenizer()
CONSTRAINTS = Constraints(TOKENIZER)
SHAPE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["a", "b"]},
        "ok": {"type": "boolean"},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "maxItems": 2},
    },
    "required": ["kind", "ok", "tags"],
    "additionalProperties": False,
    "$defs": {"tag": {"type": "string", "maxLength": 4}},
}
TOOLS = [
    {"type": "function", "function": {"name": "shape", "parameters": SHAPE}},
    {"type": "function", "function": {"name": "weather"}},
]
SEEDS = range(12)


def request(**options: Any) -> ChatRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **options}
    return ChatRequest.model_validate(body, strict=True)


def says(grammar: Grammar | None, seed: int, most: int = 2000) -> str:
    """Give what a model that picks tokens at random says under a grammar."""
    assert grammar is not None
    draw = torch.Generator().manual_seed(seed)
    state, tokens = CONSTRAINTS.start(grammar), list[int]()
    while not state.done:
        tokens += state.forced()
        if state.done:
            break
        logits = torch.rand(TOKENIZER.vocab_size, generator=draw)
        state.mask(logits)
        token = int(logits.argmax())
        if token == EOS:
            break
        assert state.accept(token)
        tokens.append(token)
        assert len(tokens) < most, "it would never end"
    return TOKENIZER.decode(tokens)


@pytest.mark.parametrize("seed", SEEDS)
def test_json_schema_always_parses_and_fits(seed: int) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": SHAPE, "strict": True}}
    answer = json.loads(says(grammar_of(request(response_format=form)), seed))
    jsonschema.validate(answer, SHAPE)


def test_json_object_is_an_object() -> None:
    grammar = grammar_of(request(response_format={"type": "json_object"}))
    assert grammar is not None
    assert not CONSTRAINTS.start(grammar).accept(TOKENIZER.encode("[")[0])
    state = CONSTRAINTS.start(grammar)
    assert all(state.accept(token) for token in TOKENIZER.encode('{"a": [1, null]}'))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("parallel", [True, False])
def test_demanded_calls_parse_and_their_arguments_fit(seed: int, parallel: bool) -> None:
    asked = request(tools=TOOLS, tool_choice="required", parallel_tool_calls=parallel)
    calls = _calls(says(grammar_of(asked), seed, most=20_000), inside=True)
    assert 1 <= len(calls) <= (limits.MAX_CALLS if parallel else 1)
    for name, arguments in calls:
        jsonschema.validate(arguments, SHAPE if name == "shape" else {"maxProperties": 0})
        assert name in ("shape", "weather")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_named_call_is_that_one(seed: int) -> None:
    choice = {"type": "function", "function": {"name": "shape"}}
    text = says(grammar_of(request(tools=TOOLS, tool_choice=choice)), seed)
    ((name, arguments),) = _calls(text, inside=True)
    assert name == "shape"
    jsonschema.validate(arguments, SHAPE)


def test_with_tools_an_answer_in_json_may_be_a_call_instead() -> None:
    form = {"type": "json_schema", "json_schema": {"schema": SHAPE}}
    grammar = grammar_of(request(tools=TOOLS, response_format=form))
    kinds = set()
    for seed in range(40):
        text = says(grammar, seed, most=20_000)
        kinds.add(text.startswith(PREFIX))
        if text.startswith(PREFIX):
            assert _calls(text, inside=False)
        else:
            jsonschema.validate(json.loads(text), SHAPE)
    assert kinds == {True, False}


def test_text_is_free() -> None:
    assert grammar_of(request()) is None
    assert grammar_of(request(tools=TOOLS)) is None
    assert grammar_of(request(response_format={"type": "text"})) is None


def test_a_schema_that_would_stall_the_engine_is_refused() -> None:
    large = {"enum": ["x" * 100] * 1100}
    form = {"type": "json_schema", "json_schema": {"schema": large}}
    with pytest.raises(RequestError, match="100000"):
        grammar_of(request(response_format=form))


@pytest.mark.parametrize(
    "schema", [{"type": "strin"}, {"$ref": "http://127.0.0.1:1/x"}, {"$ref": "file:///etc/passwd"}]
)
def test_a_schema_that_is_none_is_refused_and_nothing_is_fetched(schema: dict[str, Any]) -> None:
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    grammar = grammar_of(request(response_format=form))
    assert grammar is not None
    with pytest.raises(InputError, match="not valid"):
        CONSTRAINTS.start(grammar)


def _calls(text: str, *, inside: bool) -> list[tuple[str, Any]]:
    parser = ToolCallParser(inside=inside)
    calls: list[tuple[str, str]] = []
    for piece in [*parser.feed(text), *parser.finish()]:
        if isinstance(piece, CallBegins):
            calls.append((piece.name, ""))
        elif isinstance(piece, Arguments):
            calls[piece.index] = (calls[piece.index][0], calls[piece.index][1] + piece.text)
    return [(name, json.loads(arguments)) for name, arguments in calls]
