"""The whole way with a real model: SmolLM2-135M where it is on disk."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from gangline.runtime.clock import WallClock
from gangline.runtime.machine import models
from gangline.runtime.machine.default_backends import default_backends, default_fleet

MODEL = "smollm2-135m"
ASK: Any = [{"role": "user", "content": "Name three colours."}]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "colours": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 3}
    },
    "required": ["colours"],
    "additionalProperties": False,
}
TOOL: Any = {"type": "function", "function": {"name": "paint", "parameters": SCHEMA}}
Serve = Callable[..., Any]

pytestmark = pytest.mark.slow


@pytest.fixture
def server(serve: Serve) -> Any:
    if not models.is_present(models.find(MODEL)):
        pytest.skip(f"{MODEL} is not on this machine: gangline models pull {MODEL}")
    fleet = default_fleet()
    (backend,) = set(default_backends(fleet, WallClock()).values())
    return serve(backend=backend)


def test_it_chats_streams_obeys_schemas_and_calls_tools(server: Any) -> None:
    client = server.client(timeout=120)
    create = client.chat.completions.create
    greedy: Any = {"model": MODEL, "messages": ASK, "temperature": 0, "max_tokens": 24}
    whole = create(logprobs=True, top_logprobs=3, **greedy)
    text = whole.choices[0].message.content
    with create(stream=True, **greedy) as stream:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == text
    content = whole.choices[0].logprobs.content
    assert bytes(byte for entry in content for byte in entry.bytes).decode() == text
    for entry in content:  # greedy: the token drawn is the likeliest
        assert entry.logprob == pytest.approx(entry.top_logprobs[0].logprob, abs=1e-5)
        assert math.fsum(math.exp(top.logprob) for top in entry.top_logprobs) <= 1.0001
    form: Any = {"type": "json_schema", "json_schema": {"name": "colours", "schema": SCHEMA}}
    shaped = create(model=MODEL, messages=ASK, response_format=form, seed=3)
    jsonschema.validate(json.loads(shaped.choices[0].message.content), SCHEMA)
    called = create(
        model=MODEL, messages=ASK, tools=[TOOL], tool_choice="required", max_tokens=400, seed=5
    )
    for call in called.choices[0].message.tool_calls:
        if called.choices[0].finish_reason != "length":
            jsonschema.validate(json.loads(call.function.arguments), SCHEMA)
            assert call.function.name == "paint"


def test_what_is_alike_lies_near(server: Any) -> None:
    texts = ["The cat sleeps on the sofa.", "A cat is sleeping on a couch.", "def f(x): return 1"]
    rows = server.client(timeout=120).embeddings.create(model=MODEL, input=texts).data
    one, two, other = (row.embedding for row in rows)
    assert len(one) == 576

    def near(left: list[float], right: list[float]) -> float:
        return math.fsum(a * b for a, b in zip(left, right, strict=True))

    assert near(one, two) > near(one, other)
