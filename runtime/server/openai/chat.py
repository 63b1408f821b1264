"""`POST /v1/chat/completions`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack, aclosing
from typing import Any

from gangline.ir.specs.request import Finished, Submit
from gangline.runtime.server.call import Call
from gangline.runtime.server.event_stream import EventStream
from gangline.runtime.server.gone import unless_gone
from gangline.runtime.server.operation import Asgi
from gangline.runtime.server.reply import Reply

from . import limits
from .chat_output import Form, StreamedChoice, whole_choice
from .chat_request import ChatRequest
from .chunk_stream import Chunks, ChunkStream
from .errors import refused
from .gateway import Gateway, room_for
from .generation import Generation
from .grammar import PREFIX, forced_call, grammar_of, offered_tools
from .messages import template_messages, template_tools
from .sampling import check_supported, first_seed, sampling_params
from .usage import usage


class Chat:
    """Answers chats."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, call: Call) -> Asgi:
        """Answer one chat, whole or as a stream."""
        request: ChatRequest = call.body
        head = {
            "id": f"chatcmpl-{os.urandom(12).hex()}",
            "created": int(time.time()),
            "model": request.model,
        }
        with ExitStack() as held:
            held.enter_context(await self._gateway.admission(call.tenant))
            submits = await self._submits(call, request, head["id"])
            form = _form(request)
            generation = Generation(self._gateway.direct, submits)
            if not request.stream:
                async with aclosing(generation):
                    outputs = await unless_gone(call.receive, generation.finished())
                return Reply.json(_whole(head, outputs, form))
            chunks = _chunks(head, generation, len(submits), form, _wants_usage(request))
            stream = ChunkStream(chunks, generation.aclose, held.pop_all())
        return await event_stream(call, stream)

    async def _submits(self, call: Call, request: ChatRequest, answer_id: Any) -> list[Submit]:
        model = self._gateway.model(request.model)
        _check(request)
        tools = template_tools(offered_tools(request))
        messages = template_messages(request.messages)
        prefix = PREFIX if forced_call(request) else ""
        grammar = grammar_of(request)
        size = sum(len(message["content"]) for message in messages) + len(str(tools))
        (prompt,) = await self._gateway.encoded(
            model, size, lambda encoder: [encoder.encode(messages, tools=tools, prefix=prefix)]
        )
        asked = request.max_completion_tokens or request.max_tokens
        most = room_for(model, len(prompt), asked, limits.DEFAULT_MAX_TOKENS, "messages")
        seed = first_seed(request)
        logprobs = (request.top_logprobs or 0) if request.logprobs else None
        params = [
            sampling_params(request, most, seed=seed + place, grammar=grammar, logprobs=logprobs)
            for place in range(request.n or 1)
        ]
        return self._gateway.submits(
            call,
            model,
            str(answer_id),
            [(prompt, one) for one in params],
            priority=request.priority,
            deadline_ms=request.deadline_ms,
        )


async def event_stream(call: Call, stream: ChunkStream) -> EventStream:
    """Answer with a stream of chunks, or raise what the engine says at once."""
    try:
        await unless_gone(call.receive, stream.begin())
    except BaseException:
        await stream.aclose()
        raise
    settings = call.context.settings
    return EventStream(stream, heartbeat_s=settings.heartbeat_s, slow_s=settings.slow_reader_s)


def _check(request: ChatRequest) -> None:
    check_supported(request)
    if request.top_logprobs and not request.logprobs:
        raise refused("top_logprobs is only allowed with logprobs", "top_logprobs")


def _form(request: ChatRequest) -> Form:
    names = tuple(tool.function.name for tool in offered_tools(request))
    return Form(names, forced_call(request), bool(request.logprobs))


def _wants_usage(request: ChatRequest) -> bool:
    return request.stream_options is not None and bool(request.stream_options.include_usage)


def _whole(head: dict[str, Any], outputs: Sequence[Finished], form: Form) -> dict[str, Any]:
    choices = [whole_choice(index, output, form) for index, output in enumerate(outputs)]
    counts = usage(outputs, len(outputs))
    return {**head, "object": "chat.completion", "choices": choices, "usage": counts}


async def _chunks(
    head: dict[str, Any], generation: Generation, num_choices: int, form: Form, with_usage: bool
) -> Chunks:
    head = {**head, "object": "chat.completion.chunk"}
    more: dict[str, Any] = {"usage": None} if with_usage else {}
    choices = [StreamedChoice(index, form) for index in range(num_choices)]
    outputs: list[Finished] = []
    async for index, event in generation:
        if isinstance(event, Finished):
            outputs.append(event)
        for entry in choices[index].take(event):
            yield {**head, "choices": [entry], **more}
    if with_usage:
        yield {**head, "choices": [], "usage": usage(outputs, num_choices)}
