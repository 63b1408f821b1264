"""The models listed are those of the catalogue that a device can run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

from gangline.backends.engine.backend import EngineBackend
from gangline.backends.fake import FakeEncoder, FakeRunner
from gangline.runtime.machine.models import catalogue

Serve = Callable[..., Any]


def only_small() -> EngineBackend:
    return EngineBackend(
        lambda model: FakeRunner(),
        lambda model: FakeEncoder(),
        serves=lambda model: model == "smollm2-135m",
    )


def test_what_the_fleet_can_run_is_listed(serve: Serve) -> None:
    rows = serve().client().models.list().data
    assert [row.id for row in rows] == list(catalogue())
    assert rows[0].object == "model" and rows[0].max_model_len == 32768


def test_what_no_device_can_run_is_not_there(serve: Serve) -> None:
    client = serve(backend=only_small()).client()
    assert [row.id for row in client.models.list().data] == ["smollm2-135m"]
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("qwen2.5-coder-1.5b")
    with pytest.raises(openai.NotFoundError) as caught:
        client.embeddings.create(model="qwen2.5-coder-1.5b", input="x")
    assert caught.value.code == "model_not_found"
