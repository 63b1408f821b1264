"""Builders that the backend tests share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gangline.ir.specs.request import SamplingParams, Submit

MakeSubmit = Callable[..., Submit]


@pytest.fixture
def make_submit() -> MakeSubmit:
    """Build a Submit from an id, a prompt (tokens, or how many) and whatever else matters."""
    return build_submit


def build_submit(
    request_id: str, prompt: Sequence[int] | int = 4, max_tokens: int = 4, **options: Any
) -> Submit:
    sampling = {key: options.pop(key) for key in ("stop", "ignore_eos", "seed") if key in options}
    # Prompts given by length differ from each other from the first token on.
    own = sum(map(ord, request_id)) * 1000
    tokens = tuple(range(own, own + prompt)) if isinstance(prompt, int) else tuple(prompt)
    params = SamplingParams(max_tokens=max_tokens, **sampling)
    options.setdefault("model", "fake")
    options.setdefault("arrival_s", 1.0)
    return Submit(request_id, prompt_tokens=tokens, sampling=params, **options)
