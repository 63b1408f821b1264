"""`POST /v1/embeddings`: vectors from a decoder model, through its engine.

No embedding model comes with gangline. A vector is the mean of the model's last hidden states
over the text, with length 1: usable to find what is alike, weaker than a model trained for it.
"""

from __future__ import annotations

import base64
import os
import struct
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from gangline.ir.specs.model import ModelSpec
from gangline.ir.specs.request import SamplingParams
from gangline.runtime.server.call import Call
from gangline.runtime.server.gone import unless_gone
from gangline.runtime.server.operation import Asgi
from gangline.runtime.server.reply import Reply

from .completion_request import EmbeddingRequest
from .completions import encoded, listed
from .errors import refused
from .gateway import Gateway, Tokens, check_tokens
from .generation import Generation


class Embeddings:
    """Answers embedding requests."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, call: Call) -> Asgi:
        """Embed one or several texts."""
        request: EmbeddingRequest = call.body
        gateway = self._gateway
        with await gateway.admission(call.tenant, len(listed(request.input))):
            model = gateway.model(request.model)
            prompts = await self._prompts(request, model)
            submits = gateway.submits(
                call,
                model,
                f"embd-{os.urandom(12).hex()}",
                [(tokens, SamplingParams(max_tokens=1)) for tokens in prompts],
                priority=request.priority,
                deadline_ms=request.deadline_ms,
                embed=True,
            )
            generation = Generation(gateway.direct, submits)
            async with aclosing(generation):
                outputs = await unless_gone(call.receive, generation.finished())
        num_tokens = sum(output.prompt_tokens for output in outputs)
        return Reply.json(
            {
                "object": "list",
                "model": request.model,
                "data": [
                    {"object": "embedding", "index": index, "embedding": vector}
                    for index, vector in enumerate(
                        _written(output.embedding, request) for output in outputs
                    )
                ],
                "usage": {"prompt_tokens": num_tokens, "total_tokens": num_tokens},
            }
        )

    async def _prompts(self, request: EmbeddingRequest, model: ModelSpec) -> list[Tokens]:
        if request.dimensions not in (None, model.hidden_size):
            raise refused(
                f"Vectors of this model have {model.hidden_size} dimensions; it was not trained "
                "to be cut shorter",
                "dimensions",
                "unsupported_parameter",
            )
        texts = listed(request.input)
        for text in texts:
            if not text:
                raise refused("A text to embed is empty", "input")
            if not isinstance(text, str):
                check_tokens(model, text, "input")
        size = sum(map(len, texts))
        prompts = await self._gateway.encoded(model, size, lambda encoder: encoded(encoder, texts))
        longest = max(map(len, prompts))
        if longest > model.context:
            raise refused(
                f"This model's context is {model.context} tokens; a text has {longest}",
                "input",
                "context_length_exceeded",
                "Cut the text into pieces.",
            )
        return prompts


def _written(vector: Sequence[float], request: EmbeddingRequest) -> Any:
    if request.encoding_format == "base64":
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    return list(vector)
