"""`POST /v1/completions`: text that goes on from a prompt, without a chat template."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack, aclosing
from typing import Any

from gangline.backends.base import PromptEncoder
from gangline.ir.specs.request import EngineEvent, Finished, Submit, TokenDelta, TokenLogprob
from gangline.runtime.server.call import Call
from gangline.runtime.server.gone import unless_gone
from gangline.runtime.server.operation import Asgi
from gangline.runtime.server.reply import Reply

from . import limits
from .chat import event_stream
from .chat_output import finish_reason
from .chunk_stream import Chunks, ChunkStream
from .completion_request import CompletionRequest
from .errors import refused
from .gateway import Gateway, check_tokens, room_for
from .generation import Generation
from .sampling import check_supported, first_seed, sampling_params
from .usage import completion_logprobs, usage

Prompt = str | list[int]


class Completions:
    """Answers completions."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, call: Call) -> Asgi:
        """Answer one request, whole or as a stream."""
        request: CompletionRequest = call.body
        head = {
            "id": f"cmpl-{os.urandom(12).hex()}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": request.model,
        }
        with ExitStack() as held:
            held.enter_context(await self._gateway.admission(call.tenant))
            submits = await self._submits(call, request, str(head["id"]))
            generation = Generation(self._gateway.direct, submits)
            if not request.stream:
                async with aclosing(generation):
                    outputs = await unless_gone(call.receive, generation.finished())
                return Reply.json(_whole(head, outputs, request))
            chunks = _chunks(head, generation, len(submits), request)
            stream = ChunkStream(chunks, generation.aclose, held.pop_all())
        return await event_stream(call, stream)

    async def _submits(
        self, call: Call, request: CompletionRequest, answer_id: str
    ) -> list[Submit]:
        model = self._gateway.model(request.model)
        _check(request)
        prompts = listed(request.prompt)
        for prompt in prompts:
            if not isinstance(prompt, str):
                check_tokens(model, prompt, "prompt")
        size = sum(map(len, prompts))
        tokens = await self._gateway.encoded(model, size, lambda encoder: encoded(encoder, prompts))
        n, seed, pairs = request.n or 1, first_seed(request), []
        if len(tokens) * n > limits.MAX_CHOICES:
            raise refused(f"At most {limits.MAX_CHOICES} outputs in one request", "n")
        for prompt_tokens in tokens:
            default = limits.DEFAULT_COMPLETION_TOKENS
            most = room_for(model, len(prompt_tokens), request.max_tokens, default, "prompt")
            for place in range(n):
                params = sampling_params(
                    request, most, seed=seed + place, logprobs=request.logprobs
                )
                pairs.append((prompt_tokens, params))
        return self._gateway.submits(
            call,
            model,
            answer_id,
            pairs,
            priority=request.priority,
            deadline_ms=request.deadline_ms,
        )


def listed(prompt: str | Sequence[Any]) -> list[Prompt]:
    """Give the prompts of a request, each a text or a list of token ids."""
    if isinstance(prompt, str):
        return [prompt]
    parts: list[Any] = list(prompt)
    return [parts] if isinstance(parts[0], int) else parts


def encoded(encoder: PromptEncoder, prompts: Sequence[Prompt]) -> list[tuple[int, ...]]:
    """Give the tokens of every prompt."""
    return [
        encoder.encode_text(prompt) if isinstance(prompt, str) else tuple(prompt)
        for prompt in prompts
    ]


def _check(request: CompletionRequest) -> None:
    check_supported(request)
    if request.echo:
        raise refused("echo is not supported", "echo", "unsupported_parameter")
    if request.suffix:
        raise refused("suffix is not supported", "suffix", "unsupported_parameter")
    if request.best_of not in (None, 1, request.n):
        raise refused("best_of other than n is not supported", "best_of", "unsupported_parameter")


def _whole(
    head: dict[str, Any], outputs: Sequence[Finished], request: CompletionRequest
) -> dict[str, Any]:
    choices = [
        {
            "index": index,
            "text": output.text,
            "logprobs": _logprobs(request, output.logprobs, 0),
            "finish_reason": finish_reason(output, has_calls=False),
        }
        for index, output in enumerate(outputs)
    ]
    return {**head, "choices": choices, "usage": usage(outputs, request.n or 1)}


def _logprobs(
    request: CompletionRequest, entries: Sequence[TokenLogprob], offset: int
) -> dict[str, Any] | None:
    return None if request.logprobs is None else completion_logprobs(entries, offset)


class _Streamed:
    """One choice of a stream."""

    def __init__(self, index: int, request: CompletionRequest) -> None:
        self._index = index
        self._request = request
        self._num_logged = 0
        self._offset = 0

    def take(self, event: EngineEvent) -> list[dict[str, Any]]:
        """Give the `choices` entries that an event causes."""
        match event:
            case TokenDelta():
                return [self._entry(event.text, event.logprobs)]
            case Finished():
                reason = finish_reason(event, has_calls=False)
                return [self._entry("", event.logprobs[self._num_logged :], reason)]
        return []

    def _entry(
        self, text: str, entries: Sequence[TokenLogprob], reason: str | None = None
    ) -> dict[str, Any]:
        logprobs = _logprobs(self._request, entries, self._offset)
        self._num_logged += len(entries)
        self._offset += len(text)
        entry = {"index": self._index, "text": text, "logprobs": logprobs}
        return {**entry, "finish_reason": reason}


async def _chunks(
    head: dict[str, Any], generation: Generation, num_choices: int, request: CompletionRequest
) -> Chunks:
    options = request.stream_options
    with_usage = options is not None and bool(options.include_usage)
    more: dict[str, Any] = {"usage": None} if with_usage else {}
    choices = [_Streamed(index, request) for index in range(num_choices)]
    outputs: dict[int, Finished] = {}
    async for index, event in generation:
        if isinstance(event, Finished):
            outputs[index] = event
        for entry in choices[index].take(event):
            yield {**head, "choices": [entry], **more}
    if with_usage:
        ordered = [outputs[index] for index in sorted(outputs)]
        yield {**head, "choices": [], "usage": usage(ordered, request.n or 1)}
