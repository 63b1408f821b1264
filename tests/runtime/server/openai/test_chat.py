"""The `openai` client chats: plain, streaming, several choices, log probabilities, refusals."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import openai
import pytest

from gangline.ir.specs.request import Cancel, Finished, Submit
from gangline.runtime.server.openai import limits

MODEL = "smollm2-135m"
HELLO: Any = [{"role": "user", "content": "hello"}]
Serve = Callable[..., Any]
Until = Callable[[Callable[[], bool]], None]


def streamed(client: openai.OpenAI, **options: Any) -> list[Any]:
    options = {"model": MODEL, "messages": HELLO, **options}
    with client.chat.completions.create(stream=True, **options) as stream:
        return list(stream)


def text_of(chunks: list[Any], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(choice.delta.content or "" for choice in choices)


def test_usage_is_what_the_engine_counted(serve: Serve) -> None:
    server = serve({"hello": "Good day."})
    answer = server.client().chat.completions.create(model=MODEL, messages=HELLO)
    (choice,) = answer.choices
    assert (choice.message.content, choice.finish_reason) == ("Good day.", "stop")
    (outcome,) = server.outcomes
    finished = outcome.event
    assert isinstance(finished, Finished)
    assert answer.usage.prompt_tokens == finished.prompt_tokens
    assert answer.usage.completion_tokens == len(finished.token_ids) == len("Good day.")
    assert answer.usage.total_tokens == finished.prompt_tokens + len(finished.token_ids)
    assert answer.usage.prompt_tokens_details.cached_tokens == 0
    again = server.client().chat.completions.create(model=MODEL, messages=HELLO * 20)
    more = server.client().chat.completions.create(model=MODEL, messages=HELLO * 20)
    assert again.usage.prompt_tokens_details.cached_tokens < 16
    assert more.usage.prompt_tokens_details.cached_tokens >= 16
    assert more.usage.prompt_tokens_details.cached_tokens == server.outcomes[2].event.cached_tokens


def test_what_it_cost_shows_at_the_device(serve: Serve) -> None:
    server = serve({"hello": "Good day."})
    server.client().chat.completions.create(model=MODEL, messages=HELLO)
    (outcome,) = server.outcomes
    assert outcome.usd == 0.0, "a device of no fleet costs nothing"
    server.service.fleet.count_direct(replace(outcome, usd=0.25))
    (row,) = server.http().get("/v1/devices").json()["data"]
    assert row["id"] == "cpu/0" and row["usd"] == 0.25


def test_a_stream_is_the_whole_answer_in_pieces(serve: Serve) -> None:
    client = serve({"hello": "Good day to you."}).client()
    chunks = streamed(client)
    assert text_of(chunks) == "Good day to you."
    assert len(chunks) > 5 and len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(chunk.choices[0].delta.role is None for chunk in chunks[1:])
    reasons = [chunk.choices[0].finish_reason for chunk in chunks]
    assert reasons == [None] * (len(chunks) - 1) + ["stop"]
    assert all(chunk.usage is None for chunk in chunks)


def test_include_usage_adds_one_last_chunk(serve: Serve) -> None:
    server = serve({"hello": "Good day."})
    *chunks, last = streamed(server.client(), stream_options={"include_usage": True})
    assert all(chunk.usage is None for chunk in chunks)
    assert last.choices == [] and last.usage.completion_tokens == 9
    assert last.usage.prompt_tokens == server.outcomes[0].event.prompt_tokens


def test_the_raw_stream_ends_with_done(serve: Serve) -> None:
    body = {"model": MODEL, "messages": HELLO, "stream": True}
    reply = serve({"hello": "Hi"}).http().post("/v1/chat/completions", json=body)
    assert reply.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in reply.text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    assert all(json.loads(line.removeprefix("data: "))["object"] for line in lines[:-1])


def test_a_stop_string_split_over_deltas_never_shows(serve: Serve) -> None:
    client = serve({"hello": "one STxOP two STOP three"}).client()
    chunks = streamed(client, stop=["STOP"])
    assert text_of(chunks) == "one STxOP two "
    assert chunks[-1].choices[0].finish_reason == "stop"
    whole = client.chat.completions.create(model=MODEL, messages=HELLO, stop="STOP")
    assert whole.choices[0].message.content == "one STxOP two "


def test_a_character_of_several_tokens_is_never_torn(serve: Serve) -> None:
    said = "Grüße — 日本語 🐕‍🦺!"
    chunks = streamed(serve({"hello": said}).client())
    assert text_of(chunks) == said
    assert not any("\N{REPLACEMENT CHARACTER}" in text_of([chunk]) for chunk in chunks)


def test_length_is_told(serve: Serve) -> None:
    client = serve({"hello": "a long story"}).client()
    for name in ("max_tokens", "max_completion_tokens"):
        options: Any = {name: 4}
        answer = client.chat.completions.create(model=MODEL, messages=HELLO, **options)
        assert answer.choices[0].message.content == "a lo"
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage.completion_tokens == 4


def test_choices_differ_and_a_seed_brings_them_back(serve: Serve) -> None:
    client = serve(num_output_tokens=lambda _: 20).client()

    def ask(**options: Any) -> list[str]:
        answer = client.chat.completions.create(model=MODEL, messages=HELLO, n=3, **options)
        assert [choice.index for choice in answer.choices] == [0, 1, 2]
        assert answer.usage.completion_tokens == 60
        return [choice.message.content for choice in answer.choices]

    first = ask(seed=7)
    assert len(set(first)) == 3
    assert ask(seed=7) == first and ask(seed=8)[:2] == first[1:]
    assert ask() != ask()


def test_choices_of_a_stream_reassemble_and_their_prompt_counts_once(serve: Serve) -> None:
    server = serve(num_output_tokens=lambda _: 20)
    client = server.client()
    options: dict[str, Any] = {"n": 3, "seed": 7}
    whole = client.chat.completions.create(model=MODEL, messages=HELLO, **options)
    chunks = streamed(client, stream_options={"include_usage": True}, **options)
    for choice in whole.choices:
        assert text_of(chunks, choice.index) == choice.message.content
    assert chunks[-1].usage.prompt_tokens == len(server.backend.submits[0].prompt_tokens)
    assert chunks[-1].usage.completion_tokens == 60


def test_choices_that_share_their_prompt_do_not_count_it_as_cached(serve: Serve) -> None:
    server = serve()
    options: Any = {"model": MODEL, "messages": HELLO * 30, "n": 3}
    first = server.client().chat.completions.create(**options)
    cached = [outcome.event.cached_tokens for outcome in server.outcomes]
    assert min(cached) == 0 < max(cached)
    assert first.usage.prompt_tokens_details.cached_tokens == 0
    again = server.client().chat.completions.create(**options)
    assert again.usage.prompt_tokens_details.cached_tokens > 200


def test_logprobs_are_told_once_each(serve: Serve) -> None:
    client = serve({"hello": "Hé STOP"}).client()
    options: dict[str, Any] = {"logprobs": True, "top_logprobs": 2, "stop": ["STOP"]}
    whole = client.chat.completions.create(model=MODEL, messages=HELLO, **options)
    content = whole.choices[0].logprobs.content
    assert bytes(byte for entry in content for byte in entry.bytes).decode() == "Hé STOP"
    assert all(len(entry.top_logprobs) == 2 and entry.logprob == -1.0 for entry in content)
    assert len(content) == whole.usage.completion_tokens
    chunks = streamed(client, **options)
    told = [
        entry.bytes
        for chunk in chunks
        if chunk.choices[0].logprobs
        for entry in chunk.choices[0].logprobs.content
    ]
    assert told == [entry.bytes for entry in content]
    plain = client.chat.completions.create(model=MODEL, messages=HELLO)
    assert plain.choices[0].logprobs is None


def test_options_reach_the_engine(serve: Serve) -> None:
    server = serve({"hello": "Hi"})
    more = {"priority": 3, "deadline_ms": 1500, "ignore_eos": False}
    server.client().chat.completions.create(
        model=MODEL,
        messages=HELLO,
        temperature=0.5,
        top_p=0.9,
        seed=-3,
        stop=["x", "y"],
        max_tokens=9,
        user="me",
        store=False,
        extra_body=more,
    )
    (submit,) = server.backend.submits
    params = submit.sampling
    assert (params.temperature, params.top_p, params.seed) == (0.5, 0.9, -3)
    assert (params.stop, params.max_tokens, params.logprobs) == (("x", "y"), 9, None)
    assert submit.priority == 3 and submit.cache_salt == "local"
    assert 0 < submit.deadline_s - submit.arrival_s <= 1.5


def test_parts_developers_and_names_are_read(serve: Serve) -> None:
    server = serve()
    messages: Any = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]},
        {"role": "assistant", "content": "C", "refusal": None, "annotations": []},
        {"role": "user", "content": "D", "name": "eve"},
    ]
    server.client().chat.completions.create(model=MODEL, messages=messages)
    (submit,) = server.backend.submits
    prompt = bytes(token for token in submit.prompt_tokens if token < 256).decode()
    assert prompt == "systemBe brief.userABassistantCuserD"


@pytest.mark.parametrize(
    ("body", "status", "param", "code", "words"),
    [
        ({"model": "gpt-4"}, 404, "model", "model_not_found", "gpt-4"),
        ({"messages": []}, 400, "messages", "invalid_value", "at least 1"),
        ({"messages": None}, 400, "messages", "invalid_value", "list"),
        ({"messages": [{"role": "god", "content": "x"}]}, 400, "messages[0].role", None, "user"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "text": ""}]}]},
            400,
            "messages[0].content[0].type",
            "invalid_value",
            "text",
        ),
        ({"max_token": 3}, 400, "max_token", "unknown_parameter", "max_token"),
        ({"temperature": 2.1}, 400, "temperature", "invalid_value", "2"),
        ({"top_p": 0}, 400, "top_p", "invalid_value", "0"),
        ({"n": 0}, 400, "n", "invalid_value", "1"),
        ({"n": 1000}, 400, "n", "invalid_value", str(limits.MAX_CHOICES)),
        ({"logit_bias": {"50": 1}}, 400, "logit_bias", "unsupported_parameter", "not supported"),
        ({"presence_penalty": 1}, 400, "presence_penalty", "unsupported_parameter", "not"),
        ({"top_logprobs": 2}, 400, "top_logprobs", None, "logprobs"),
        ({"stream_options": {}}, 400, "stream_options", None, "stream"),
        ({"max_tokens": 9000}, 400, "messages", "context_length_exceeded", "8192"),
        ({"stop": ["x"] * 17}, 400, "stop", "invalid_value", "16"),
        ({"priority": 1000}, 400, "priority", "invalid_value", "100"),
        ({"tool_choice": "required"}, 400, "tools", None, "there are none"),
        ({"response_format": {"type": "json_schema"}}, 400, None, None, "json_schema"),
    ],
)
def test_refusals_have_openais_shape(
    serve: Serve, body: dict[str, Any], status: int, param: str | None, code: str | None, words: str
) -> None:
    server = serve()
    request = {"model": MODEL, "messages": HELLO, **body}
    reply = server.http().post("/v1/chat/completions", json=request)
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (reply.status_code, error["type"]) == (status, "invalid_request_error")
    assert words in error["message"]
    if param is not None:
        assert error["param"] == param
    if code is not None:
        assert error["code"] == code
    assert server.backend.submits == [] and server.num_in_flight == 0


def test_what_the_engine_refuses_has_a_status_even_for_a_stream(serve: Serve) -> None:
    client = serve(num_blocks=4, block_size=16).client()
    with pytest.raises(openai.BadRequestError) as caught:
        streamed(client, max_tokens=200)
    assert caught.value.code == "context_length_exceeded"
    assert "64 tokens this device has" in caught.value.message


def test_a_failure_in_the_middle_is_raised_by_the_client(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(num_output_tokens=lambda _: 10**6)
    client = server.client()
    seen = 0
    options: Any = {"model": MODEL, "messages": HELLO, "stream": True, "max_tokens": 8000}
    with (
        pytest.raises(openai.APIError, match="broke"),
        client.chat.completions.create(**options) as stream,
    ):
        for _ in stream:
            seen += 1
            if seen == 3:
                monkeypatch.setattr(server.backend.runners[0], "execute", _breaks)
    assert seen >= 3 and server.num_in_flight == 0


def _breaks(*_: object) -> None:
    raise RuntimeError("it broke")


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_stops_the_engine(serve: Serve, until: Until, stream: bool) -> None:
    """The engine is told, and everything the request held is free again."""
    server = serve(num_output_tokens=lambda _: 10**9, context=10**7, num_blocks=600)
    body = {"model": MODEL, "messages": HELLO, "stream": stream, "max_tokens": 8000}
    pause = threading.Event()

    def slowly(*args: Any) -> Any:
        pause.wait(0.01)  # a step of the fake takes no time, and 8,000 of them no second
        return execute(*args)

    warm = server.client().chat.completions.create(model=MODEL, messages=HELLO, max_tokens=1)
    assert warm.choices
    runner = server.backend.runners[0]
    execute, runner.execute = runner.execute, slowly
    client = server.http()
    if stream:
        with client.stream("POST", "/v1/chat/completions", json=body) as reply:
            next(reply.iter_lines())
    else:
        request = client.build_request("POST", "/v1/chat/completions", json=body)
        with socket.create_connection((request.url.host, request.url.port)) as line:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {request.headers['host']}\r\n"
            told = f"content-type: application/json\r\ncontent-length: {len(request.content)}"
            line.sendall(f"{head}{told}\r\n\r\n".encode() + request.content)
            until(lambda: len(server.backend.submits) == 2)
    asked: Submit = server.backend.submits[-1]
    until(lambda: Cancel(asked.request_id) in server.backend.messages)
    until(lambda: server.num_in_flight == 0)
    assert runner._scripts == {}
    assert isinstance(server.outcomes[-1].event.error["code"], str)
    # The whole pool is free again: a request that needs nearly all of it fits at once.
    runner.execute = execute
    large = server.client().chat.completions.create(model=MODEL, messages=HELLO, max_tokens=8000)
    assert large.usage.completion_tokens == 8000
