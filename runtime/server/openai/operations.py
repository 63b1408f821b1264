"""Rows of the route table: the OpenAI-compatible routes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from gangline.runtime.server.context import Context
from gangline.runtime.server.operation import Answer, Operation

from . import answers
from .chat import Chat
from .chat_request import ChatRequest
from .completion_request import CompletionRequest, EmbeddingRequest
from .completions import Completions
from .embeddings import Embeddings
from .errors import show_error
from .gateway import Gateway
from .model_list import Models

_ERRORS = tuple(
    Answer(status, "", answers.ErrorAnswer)
    for status in (400, 401, 403, 404, 405, 406, 408, 413, 415, 429, 500, 503)
)
_STREAM = "With `stream`: chunks as server-sent events, then `data: [DONE]`."


def operations(context: Context) -> list[Operation]:
    """Give the rows; they share one gateway to the engines."""
    gateway = Gateway(context)
    models = Models(gateway)
    return [
        _post(
            "/v1/chat/completions",
            "createChatCompletion",
            "Chat with a model",
            Chat(gateway),
            ChatRequest,
            Answer(200, "The answer.", answers.ChatCompletion),
            Answer(200, _STREAM, {"type": "string"}, "text/event-stream"),
        ),
        _post(
            "/v1/completions",
            "createCompletion",
            "Have a model go on from a text",
            Completions(gateway),
            CompletionRequest,
            Answer(200, "The text.", answers.Completion),
            Answer(200, _STREAM, {"type": "string"}, "text/event-stream"),
        ),
        _post(
            "/v1/embeddings",
            "createEmbedding",
            "Turn texts into vectors",
            Embeddings(gateway),
            EmbeddingRequest,
            Answer(200, "The vectors.", answers.EmbeddingList),
        ),
        _get(
            "/v1/models",
            "listModels",
            "List the models",
            models.list,
            Answer(200, "What the fleet can run.", answers.ModelDocuments),
        ),
        _get(
            "/v1/models/{id}",
            "getModel",
            "Describe a model",
            models.one,
            Answer(200, "The model.", answers.ModelDocument),
        ),
    ]


def _post(
    path: str, name: str, summary: str, handler: Any, body: type[BaseModel], *good: Answer
) -> Operation:
    return Operation(
        "POST",
        path,
        name,
        summary,
        handler,
        (*good, *_ERRORS),
        scope="submit",
        tag="openai",
        body=body,
        show_error=show_error,
    )


def _get(path: str, name: str, summary: str, handler: Any, good: Answer) -> Operation:
    return Operation(
        "GET",
        path,
        name,
        summary,
        handler,
        (good, *_ERRORS),
        tag="openai",
        show_error=show_error,
    )
