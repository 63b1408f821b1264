"""What the OpenAI-compatible routes answer, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class ErrorBody(BaseModel):
    """What went wrong; `param` is the parameter at fault."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """An error as OpenAI sends it."""

    error: ErrorBody


class Usage(_Open):
    """Token counts of the engine."""

    prompt_tokens: int
    total_tokens: int


class ChatCompletion(_Open):
    """A chat's answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: Usage


class Completion(_Open):
    """A completion's answer."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: Usage


class EmbeddingList(_Open):
    """Vectors in the order of the texts: numbers, or little-endian float32 in base64."""

    object: Literal["list"]
    model: str
    data: list[dict[str, Any]]
    usage: Usage


class ModelDocument(_Open):
    """A model; `max_model_len` is its context in tokens."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int


class ModelDocuments(BaseModel):
    """The models there are."""

    object: Literal["list"]
    data: list[ModelDocument]
