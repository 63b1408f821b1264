"""One choice of a chat: from engine events to deltas, and the whole message at the end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gangline.ir.specs.request import EngineEvent, Finished, FirstToken, TokenDelta, TokenLogprob

from .tool_calls import Arguments, CallBegins, Piece, Text, ToolCallParser
from .usage import chat_logprobs


@dataclass(frozen=True, slots=True)
class Form:
    """How an answer is to be read.

    Attributes:
        tools: names of the tools that were offered; the answer may call them.
        begins_inside: its first call's tag was part of the prompt.
        logprobs: log probabilities were asked for.
    """

    tools: tuple[str, ...]
    begins_inside: bool
    logprobs: bool

    def parser(self) -> ToolCallParser | None:
        """Make what finds calls in the answer; None where there can be none."""
        if not self.tools:
            return None
        return ToolCallParser(inside=self.begins_inside, names=self.tools)


def whole_choice(index: int, output: Finished, form: Form) -> dict[str, Any]:
    """Give a choice of an answer that is not streamed."""
    parser, content, calls = form.parser(), output.text, _Calls()
    if parser is not None:
        pieces = [*parser.feed(output.text), *parser.finish()]
        content = "".join(piece.text for piece in pieces if isinstance(piece, Text))
        calls.take(pieces)
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
    if calls.whole:
        message |= {"content": content or None, "tool_calls": calls.whole}
    return {
        "index": index,
        "message": message,
        "logprobs": chat_logprobs(output.logprobs) if form.logprobs else None,
        "finish_reason": finish_reason(output, bool(calls.whole)),
    }


def finish_reason(output: Finished, has_calls: bool) -> str:
    """Say why an output ended, in OpenAI's words."""
    if output.finish_reason == "length":
        return "length"
    return "tool_calls" if has_calls else "stop"


class StreamedChoice:
    """A choice that is streamed. Every log probability goes out once, with what comes next."""

    def __init__(self, index: int, form: Form) -> None:
        self._index = index
        self._form = form
        self._parser = form.parser()
        self._calls = _Calls()
        self._pending: list[TokenLogprob] = []
        self._num_logged = 0

    def take(self, event: EngineEvent) -> list[dict[str, Any]]:
        """Give the `choices` entries that an event causes, one a chunk."""
        match event:
            case FirstToken():
                return [self._entry({"role": "assistant", "content": ""}, logs=False)]
            case TokenDelta():
                self._log(event.logprobs)
                return self._entries(self._pieces(event.text))
            case Finished():
                self._log(event.logprobs[self._num_logged :])
                last = self._parser.finish() if self._parser is not None else []
                entries = self._entries(last)
                reason = finish_reason(event, bool(self._calls.whole))
                return [*entries, self._entry({}, reason)]
        return []

    def _pieces(self, text: str) -> Sequence[Piece]:
        return [Text(text)] if self._parser is None else self._parser.feed(text)

    def _entries(self, pieces: Sequence[Piece]) -> list[dict[str, Any]]:
        entries = []
        for piece in pieces:
            if isinstance(piece, Text):
                entries.append(self._entry({"content": piece.text}))
            else:
                entries.append(self._entry({"tool_calls": [self._calls.delta(piece)]}))
        return entries

    def _log(self, entries: Sequence[TokenLogprob]) -> None:
        self._pending += entries
        self._num_logged += len(entries)

    def _entry(
        self, delta: dict[str, Any], reason: str | None = None, logs: bool = True
    ) -> dict[str, Any]:
        logprobs = None
        if logs and self._form.logprobs and (self._pending or not reason):
            logprobs, self._pending = chat_logprobs(self._pending), []
        entry = {"index": self._index, "delta": delta, "logprobs": logprobs}
        return {**entry, "finish_reason": reason}


class _Calls:
    """The tool calls of one message, with their ids."""

    def __init__(self) -> None:
        self.whole: list[dict[str, Any]] = []

    def take(self, pieces: Sequence[Piece]) -> None:
        """Take pieces in; text among them is passed over."""
        for piece in pieces:
            if not isinstance(piece, Text):
                self.delta(piece)

    def delta(self, piece: CallBegins | Arguments) -> dict[str, Any]:
        """Take a piece in, and give the delta that tells of it."""
        if isinstance(piece, CallBegins):
            function = {"name": piece.name, "arguments": ""}
            call = {"id": f"call_{os.urandom(12).hex()}", "type": "function", "function": function}
            self.whole.append(call)
            return {"index": piece.index, **call, "function": dict(function)}
        self.whole[piece.index]["function"]["arguments"] += piece.text
        return {"index": piece.index, "function": {"arguments": piece.text}}
