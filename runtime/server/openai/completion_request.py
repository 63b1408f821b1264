"""The bodies of `POST /v1/completions` and `POST /v1/embeddings`, checked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from . import limits
from .chat_request import WHOLE, Choices, DeadlineMs, Model, Priority, Sampled, Strict

TokenIds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), WHOLE]


class CompletionRequest(Sampled):
    """Text that goes on from a prompt: text, or token ids of the model, one or several."""

    prompt: (
        str
        | TokenIds
        | Annotated[list[str], Field(min_length=1, max_length=limits.MAX_PROMPTS)]
        | Annotated[list[TokenIds], Field(min_length=1, max_length=limits.MAX_PROMPTS)]
    )
    logprobs: Annotated[int, Field(ge=0, le=5), WHOLE] | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: Choices | None = None


class EmbeddingRequest(Strict):
    """Texts, or token ids of the model, to be turned into vectors."""

    model: Model
    input: (
        str
        | TokenIds
        | Annotated[list[str], Field(min_length=1, max_length=limits.MAX_INPUTS)]
        | Annotated[list[TokenIds], Field(min_length=1, max_length=limits.MAX_INPUTS)]
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1), WHOLE] | None = None
    priority: Priority | None = None
    deadline_ms: DeadlineMs | None = None
    user: str | None = None
