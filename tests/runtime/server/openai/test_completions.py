"""Completions: bare text, token ids, several prompts, and the older form of log probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

MODEL = "smollm2-135m"
Serve = Callable[..., Any]


def test_a_prompt_goes_to_the_model_as_it_is(serve: Serve) -> None:
    server = serve({"Once": " upon a time"})
    answer = server.client().completions.create(model=MODEL, prompt="Once")
    assert answer.choices[0].text == " upon a time"
    (submit,) = server.backend.submits
    assert bytes(submit.prompt_tokens) == b"Once"
    assert submit.sampling.max_tokens == 16
    assert answer.usage.prompt_tokens == 4


def test_token_ids_are_taken_and_checked(serve: Serve) -> None:
    server = serve()
    client = server.client()
    client.completions.create(model=MODEL, prompt=[72, 105])
    assert server.backend.submits[-1].prompt_tokens == (72, 105)
    with pytest.raises(openai.BadRequestError, match="49152"):
        client.completions.create(model=MODEL, prompt=[[1], [49152]])
    assert len(server.backend.submits) == 1


def test_several_prompts_with_several_outputs_each(serve: Serve) -> None:
    server = serve(lambda prompt: f"<{prompt}>")
    client = server.client()
    options: Any = {"model": MODEL, "prompt": ["ab", "cde"], "n": 2}
    answer = client.completions.create(**options)
    assert [(choice.index, choice.text) for choice in answer.choices] == [
        (0, "<ab>"),
        (1, "<ab>"),
        (2, "<cde>"),
        (3, "<cde>"),
    ]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, 18)
    texts = ["", "", "", ""]
    with client.completions.create(
        stream=True, stream_options={"include_usage": True}, **options
    ) as stream:
        chunks = list(stream)
    for chunk in chunks[:-1]:
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == ["<ab>", "<ab>", "<cde>", "<cde>"]
    assert chunks[-1].usage == answer.usage


def test_log_probabilities_in_the_older_form(serve: Serve) -> None:
    client = serve({"Once": "abé"}).client()
    options: Any = {"model": MODEL, "prompt": "Once", "logprobs": 2}
    whole = client.completions.create(**options).choices[0].logprobs
    assert whole.tokens[:2] == ["a", "b"] and len(whole.tokens) == 4
    assert whole.token_logprobs == [-1.0] * 4
    assert whole.text_offset == [0, 1, 2, 3]
    assert all(len(top) == 2 for top in whole.top_logprobs[:2])
    with client.completions.create(stream=True, **options) as stream:
        logs = [chunk.choices[0].logprobs for chunk in stream]
    assert [token for log in logs for token in log.tokens] == whole.tokens


@pytest.mark.parametrize("option", [{"echo": True}, {"suffix": "x"}, {"best_of": 3}])
def test_what_is_not_done_is_refused(serve: Serve, option: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        serve().client().completions.create(model=MODEL, prompt="x", **option)
    assert caught.value.code == "unsupported_parameter"


def test_too_many_outputs_are_refused(serve: Serve) -> None:
    with pytest.raises(openai.BadRequestError, match="At most"):
        serve().client().completions.create(model=MODEL, prompt=["x"] * 20, n=2)
