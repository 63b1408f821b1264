"""The bodies of `POST /v1/completions` and `POST /v1/embeddings`, checked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from . import limits
from .chat_request import DeadlineMs, Model, Priority, Sampled, Strict

TokenIds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class CompletionRequest(Sampled):
    """Text that goes on from a prompt: text, or token ids of the model, one or several."""

    prompt: (
        str
        | TokenIds
        | Annotated[list[str], Field(min_length=1, max_length=limits.MAX_PROMPTS)]
        | Annotated[list[TokenIds], Field(min_length=1, max_length=limits.MAX_PROMPTS)]
    )
    logprobs: int | None = Field(default=None, ge=0, le=5)
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = Field(default=None, ge=1, le=limits.MAX_CHOICES)


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
    dimensions: int | None = Field(default=None, ge=1)
    priority: Priority | None = None
    deadline_ms: DeadlineMs | None = None
    user: str | None = None
