"""Tools: offered, called, streamed in pieces, forced, and answered in the history."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gangline.runtime.server.openai.tool_calls import (
    Arguments,
    CallBegins,
    Piece,
    Text,
    ToolCallParser,
)

MODEL = "smollm2-135m"
ASK: Any = [{"role": "user", "content": "Is it raining in Rome?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}},
    },
}
CLOCK: Any = {"type": "function", "function": {"name": "clock"}}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"town": "R\\"o}me", "at": [1, {}]}}\n</tool_call>'
ARGUMENTS = {"town": 'R"o}me', "at": [1, {}]}
SECOND = '<tool_call>\n{"arguments": {}, "name": "clock"}\n</tool_call>'
Serve = Callable[..., Any]


def read(pieces: list[Piece]) -> tuple[str, list[tuple[str, str]]]:
    text = ""
    calls: list[tuple[str, str]] = []
    for piece in pieces:
        match piece:
            case Text():
                text += piece.text
            case CallBegins():
                assert piece.index == len(calls)
                calls.append((piece.name, ""))
            case Arguments():
                name, so_far = calls[piece.index]
                calls[piece.index] = (name, so_far + piece.text)
    return text, calls


def parse(
    parts: list[str], *, inside: bool = False, names: tuple[str, ...] = ()
) -> tuple[str, list[tuple[str, str]]]:
    parser = ToolCallParser(inside=inside, names=names)
    pieces = [piece for part in parts for piece in parser.feed(part)]
    return read(pieces + parser.finish())


ANSWERS = [
    "Just words, <tool and <tool_cal, and a < b.\n\n ",
    f"Sure.\n{CALL}",
    f"{CALL}\n{SECOND}",
    f"{SECOND}\n{CALL}\nThat is all.",
    "<tool_call>\nnot json at all\n</tool_call> more",
    '<tool_call>{"name": "weather", "arguments": {"town": "Ro',
    '<tool_call>{"name": "clock", "arguments": "{}"}',
    "<tool_call>[1, 2]</tool_call>",
    f"{CALL[:-12]}",
]


BARE = '{\n  "name": "weather",\n  "arguments": {"town": "R\\"o}me", "at": [1, {}]}\n}'
UNTAGGED = [
    BARE,
    f"```json\n{BARE}\n```",
    f"\n```\n{BARE}\n```\nThat is all.",
    f"```json\n{BARE}\n```\n{CALL}",
    '```json\n{"name": "weather", "arguments": "{}"}\n```',
    '{"name": "weather", "arguments": {"town": "Ro',
    '{"name": "Rex", "age": 3}',
    '```json\n{"name": "wea',
    "```python\nprint(1)\n```",
    "```json\n[1]\n```",
    "```",
    "",
]


@given(st.sampled_from([*ANSWERS, *UNTAGGED]), st.lists(st.integers(0, 120), max_size=6))
def test_where_an_answer_without_tags_is_cut_changes_nothing(answer: str, cuts: list[int]) -> None:
    places = sorted({0, len(answer), *(min(cut, len(answer)) for cut in cuts)})
    parts = [answer[a:b] for a, b in pairwise(places)]
    names = ("weather", "clock")
    assert parse(parts, names=names) == parse(list(answer), names=names)


@pytest.mark.parametrize(
    ("answer", "text", "calls"),
    [
        (UNTAGGED[0], "", [("weather", ARGUMENTS)]),
        (UNTAGGED[1], "", [("weather", ARGUMENTS)]),
        (UNTAGGED[2], "That is all.", [("weather", ARGUMENTS)]),
        (UNTAGGED[3], "", [("weather", ARGUMENTS), ("weather", ARGUMENTS)]),
        (UNTAGGED[4], "", [("weather", {})]),
        *((answer, answer, []) for answer in UNTAGGED[6:]),
    ],
)
def test_a_call_without_tags_must_name_a_tool_that_was_offered(
    answer: str, text: str, calls: list[tuple[str, Any]]
) -> None:
    found_text, found = parse([answer], names=("weather", "clock"))
    assert found_text == text
    assert [(name, json.loads(arguments)) for name, arguments in found] == calls
    assert len(parse([answer])[1]) == answer.count("<tool_call>"), "without tools only tags count"


def test_code_is_not_held_back_because_tools_were_offered() -> None:
    parser = ToolCallParser(names=["weather"])
    assert parser.feed("```python\nimport") == [Text("```python\nimport")]
    assert ToolCallParser(names=["weather"]).feed('{"name": "R') == [Text('{"name": "R')]


@given(st.sampled_from(ANSWERS), st.lists(st.integers(0, 120), max_size=6))
def test_where_an_answer_is_cut_changes_nothing(answer: str, cuts: list[int]) -> None:
    places = sorted({0, len(answer), *(min(cut, len(answer)) for cut in cuts)})
    parts = [answer[a:b] for a, b in pairwise(places)]
    assert parse(parts) == parse(list(answer)) == parse([answer])


@pytest.mark.parametrize(
    ("answer", "text", "calls"),
    [
        (ANSWERS[0], ANSWERS[0], []),
        (ANSWERS[1], "Sure.", [("weather", ARGUMENTS)]),
        (ANSWERS[2], "", [("weather", ARGUMENTS), ("clock", {})]),
        (ANSWERS[3], "That is all.", [("clock", {}), ("weather", ARGUMENTS)]),
        (ANSWERS[4], "<tool_call>\nnot json at all\n more", []),
        (ANSWERS[6], "", [("clock", {})]),
        (ANSWERS[7], "<tool_call>[1, 2]", []),
        (ANSWERS[8], "", [("weather", ARGUMENTS)]),
    ],
)
def test_calls_are_found_and_what_is_none_stays_text(
    answer: str, text: str, calls: list[tuple[str, Any]]
) -> None:
    found_text, found = parse([answer])
    assert found_text.strip(" ") == text.strip(" ")
    assert [(name, json.loads(arguments)) for name, arguments in found] == calls


def test_an_answer_cut_off_inside_its_arguments_tells_what_there_is() -> None:
    assert parse([ANSWERS[5]]) == ("", [("weather", '{"town": "Ro')])


def test_an_answer_may_begin_inside_a_call() -> None:
    assert parse([CALL.removeprefix("<tool_call>\n")], inside=True)[1][0][0] == "weather"


def create(client: openai.OpenAI, **options: Any) -> Any:
    return client.chat.completions.create(model=MODEL, messages=ASK, **options)


def test_a_call_comes_whole_and_streamed_alike(serve: Serve) -> None:
    client = serve({"raining": f"Let me see.\n{CALL}\n{SECOND}"}).client()
    tools = [WEATHER, CLOCK]
    whole = create(client, tools=tools).choices[0]
    assert whole.finish_reason == "tool_calls" and whole.message.content == "Let me see."
    first, second = whole.message.tool_calls
    assert json.loads(first.function.arguments) == ARGUMENTS
    assert (second.function.name, second.function.arguments) == ("clock", "{}")
    assert len({first.id, second.id}) == 2

    with create(client, tools=tools, stream=True) as stream:
        chunks = list(stream)
    calls: dict[int, dict[str, str]] = {}
    num_pieces = 0
    for delta in (chunk.choices[0].delta for chunk in chunks):
        for part in delta.tool_calls or ():
            call = calls.setdefault(part.index, {"id": part.id, "arguments": ""})
            num_pieces += 1
            if part.function.name:
                call["name"] = part.function.name
            call["arguments"] += part.function.arguments or ""
    assert [calls[place]["name"] for place in range(2)] == ["weather", "clock"]
    assert json.loads(calls[0]["arguments"]) == ARGUMENTS
    assert all(call["id"].startswith("call_") for call in calls.values())
    assert num_pieces > 6, "arguments come in pieces, not at the end"
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == "Let me see."


def test_the_clients_own_stream_helper_reassembles_it(serve: Serve) -> None:
    client = serve({"raining": CALL}).client()
    with client.chat.completions.stream(model=MODEL, messages=ASK, tools=[WEATHER]) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls or []
    assert json.loads(call.function.arguments) == ARGUMENTS


def prompt_of(server: Any) -> str:
    tokens = server.backend.submits[-1].prompt_tokens
    return bytes(token for token in tokens if token < 256).decode()


def test_tools_are_told_unless_none_may_be_called(serve: Serve) -> None:
    server = serve({"raining": "No idea. <tool_call>"})
    client = server.client()
    answer = create(client, tools=[WEATHER], tool_choice="none")
    assert answer.choices[0].message.content == "No idea. <tool_call>"
    assert "weather" not in prompt_of(server)
    create(client, tools=[WEATHER], tool_choice="auto")
    assert '"name": "weather"' in prompt_of(server)
    assert server.backend.submits[-1].sampling.grammar is None


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "weather"}}]
)
def test_a_call_can_be_demanded(serve: Serve, choice: Any) -> None:
    server = serve({"raining": CALL.removeprefix("<tool_call>\n")})
    answer = create(server.client(), tools=[CLOCK, WEATHER], tool_choice=choice).choices[0]
    assert json.loads(answer.message.tool_calls[0].function.arguments) == ARGUMENTS
    assert answer.message.content is None and answer.finish_reason == "tool_calls"
    assert prompt_of(server).endswith("<tool_call>\n")
    grammar = server.backend.submits[-1].sampling.grammar
    assert ('"clock"' in grammar.text) == (choice == "required")


def test_a_named_tool_must_be_there(serve: Serve) -> None:
    with pytest.raises(openai.BadRequestError, match="none of the tools"):
        create(
            serve().client(),
            tools=[CLOCK],
            tool_choice={"type": "function", "function": {"name": "weather"}},
        )


def test_an_answered_call_in_the_history_reaches_the_model(serve: Serve) -> None:
    server = serve(
        lambda prompt: "It rains." if "42 mm" in prompt else CALL,
    )
    client = server.client()
    first = create(client, tools=[WEATHER]).choices[0].message
    messages: Any = [
        *ASK,
        first,
        {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "42 mm"},
    ]
    second = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])
    assert second.choices[0].message.content == "It rains."
    prompt = prompt_of(server)
    assert json.dumps(ARGUMENTS) in prompt and "tool42 mm" in prompt
