"""Embeddings: through the engine's own messages, in the client's base64 and in floats."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import openai
import pytest

MODEL = "smollm2-135m"
Serve = Callable[..., Any]


def test_both_encodings_give_the_same_vectors(serve: Serve) -> None:
    client = serve().client()
    packed = client.embeddings.create(model=MODEL, input=["one", "two"])  # base64 by default
    plain = client.embeddings.create(model=MODEL, input=["one", "two"], encoding_format="float")
    assert [row.index for row in packed.data] == [0, 1]
    for left, right in zip(packed.data, plain.data, strict=True):
        assert left.embedding == pytest.approx(right.embedding, abs=1e-7)
        assert math.fsum(x * x for x in right.embedding) == pytest.approx(1.0)
    assert packed.data[0].embedding != packed.data[1].embedding
    assert packed.usage.prompt_tokens == packed.usage.total_tokens == 6


def test_the_wire_carries_base64_of_float32(serve: Serve) -> None:
    import base64
    import struct

    body = {"model": MODEL, "input": "one", "encoding_format": "base64"}
    reply = serve().http().post("/v1/embeddings", json=body).json()
    raw = base64.b64decode(reply["data"][0]["embedding"])
    vector = struct.unpack(f"<{len(raw) // 4}f", raw)
    assert math.fsum(x * x for x in vector) == pytest.approx(1.0, abs=1e-6)


def test_a_batch_keeps_its_order_and_goes_through_the_engine(serve: Serve) -> None:
    server = serve()
    texts = [f"text number {number}" for number in range(200)]
    answer = server.client().embeddings.create(model=MODEL, input=texts)
    alone = server.client().embeddings.create(model=MODEL, input=texts[150])
    assert answer.data[150].embedding == alone.data[0].embedding
    assert len(server.backend.submits) == 201
    assert all(submit.embed and submit.cache_salt == "local" for submit in server.backend.submits)
    assert len(server.outcomes) == 201


def test_token_ids_are_taken(serve: Serve) -> None:
    client = serve().client()
    tokens = client.embeddings.create(model=MODEL, input=list(b"one"))
    assert (
        tokens.data[0].embedding
        == client.embeddings.create(model=MODEL, input="one").data[0].embedding
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dimensions": 16}, "576"),
        ({"input": ""}, "empty"),
        ({"input": ["a", ""]}, "empty"),
        ({"input": []}, "at least 1"),
        ({"input": "x" * 8193}, "8192"),
        ({"input": [10**6]}, "49152"),
        ({"encoding_format": "hex"}, "base64"),
    ],
)
def test_what_cannot_be_embedded_is_refused(
    serve: Serve, options: dict[str, Any], words: str
) -> None:
    server = serve()
    with pytest.raises(openai.BadRequestError, match=words):
        server.client().embeddings.create(**{"model": MODEL, "input": "x", **options})
    assert server.backend.submits == []


def test_the_models_own_number_of_dimensions_may_be_named(serve: Serve) -> None:
    answer = serve().client().embeddings.create(model=MODEL, input="x", dimensions=576)
    assert answer.data
