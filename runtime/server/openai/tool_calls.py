"""Find tool calls in what a model writes, piece by piece, so that they can be streamed.

The form is that of Hermes and Qwen2.5: `<tool_call>` JSON `</tool_call>`, with text before. Some
models of these families (Qwen2.5-Coder) leave the tags out or write a code fence in their place:
an answer that begins so, and names a tool that was offered, is a call too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

OPEN, CLOSE, FENCE = "<tool_call>", "</tool_call>", "```"
_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\{)')
_FENCED = re.compile(r"```(json|tool_call|)\s+")
_FENCES = (f"{FENCE}json", f"{FENCE}tool_call")
_SPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Text:
    """Words for the reader."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegins:
    """The `index`-th call of the answer, by name."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """More of a call's arguments, as JSON text."""

    index: int
    text: str


Piece = Text | CallBegins | Arguments


class _State(Enum):
    START = "start"  # it may begin with a call that lacks its tags
    TEXT = "text"
    HEAD = "head"  # inside a call, up to its arguments
    ARGUMENTS = "arguments"
    TAIL = "tail"  # after the arguments, up to the closing tag


class ToolCallParser:
    """Splits an answer into text and calls. What turns out to be no call stays text.

    Args:
        inside: the answer begins inside a call, its tag being part of the prompt.
        names: the tools offered, so that calls of them are known without tags.
    """

    def __init__(self, *, inside: bool = False, names: Iterable[str] = ()) -> None:
        self._begins = [f'{{"name":"{name}"' for name in names]
        self._state = _State.HEAD if inside else _State.START if self._begins else _State.TEXT
        self._opened, self._close = OPEN, CLOSE
        self._held = ""
        self._scan = _JsonScan()
        self._after_call = False
        self.num_calls = 0

    def feed(self, text: str) -> list[Piece]:
        """Take new text; give what is certain by now."""
        self._held += text
        pieces: list[Piece] = []
        # Invariant: `_held` is the text not given out; a step that moves nothing waits for more.
        while self._step(pieces):
            pass
        return pieces

    def finish(self) -> list[Piece]:
        """Give what was held back; nothing follows."""
        held, self._held = self._held, ""
        match self._state:
            case _State.START:
                return [Text(held)] if held else []
            case _State.TEXT:
                return [Text(held)] if held.strip() or (not self.num_calls and held) else []
            case _State.HEAD:
                return self._whole(held)
            case _:
                return []

    def _step(self, pieces: list[Piece]) -> bool:
        match self._state:
            case _State.START:
                return self._start()
            case _State.TEXT:
                return self._text(pieces)
            case _State.HEAD:
                return self._head(pieces)
            case _State.ARGUMENTS:
                return self._arguments(pieces)
            case _State.TAIL:
                return self._tail()

    def _start(self) -> bool:
        """Decide whether the answer begins with a call; wait while it may."""
        text = self._held.lstrip(_SPACE)
        fence = _FENCED.match(text)
        if not fence and any(mark.startswith(text.rstrip(_SPACE)) for mark in _FENCES):
            return False
        body = text[fence.end() :] if fence else text
        dense = "".join(body.split())
        if any(dense.startswith(begin) for begin in self._begins):
            self._opened, self._held = self._held[: len(self._held) - len(body)], body
            self._close = FENCE if fence else "}"
            self._state = _State.HEAD
        elif any(begin.startswith(dense) for begin in self._begins):
            return False
        else:
            self._state = _State.TEXT
        return True

    def _text(self, pieces: list[Piece]) -> bool:
        if self._after_call:  # the space between calls is nobody's words
            self._held = self._held.lstrip(_SPACE)
            self._after_call = not self._held
        before, tag, after = self._held.partition(OPEN)
        if tag:
            if before.strip():
                pieces.append(Text(before.rstrip(_SPACE)))
            self._held, self._state = after, _State.HEAD
            self._opened, self._close = OPEN, CLOSE
            return True
        num_held = _undecided(before)
        given = before[: len(before) - num_held]
        if given.strip() or (given and not self.num_calls):
            pieces.append(Text(given))
        self._held = before[len(given) :]
        return False

    def _head(self, pieces: list[Piece]) -> bool:
        found = _HEAD.match(self._held)
        if found and (name := _loaded(found[1])) is not None:
            pieces.append(CallBegins(self.num_calls, name))
            self._held, self._state = self._held[found.end() :], _State.ARGUMENTS
            self._scan = _JsonScan()
            return True
        before, tag, after = self._held.partition(CLOSE)
        if not tag or self._close != CLOSE:
            return False
        pieces += self._whole(before)
        self._held, self._state = after, _State.TEXT
        self._after_call = self.num_calls > 0
        return True

    def _arguments(self, pieces: list[Piece]) -> bool:
        length = self._scan.feed(self._held)
        if length:
            pieces.append(Arguments(self.num_calls, self._held[:length]))
        self._held = self._held[length:]
        if not self._scan.is_complete:
            return False
        self.num_calls += 1
        self._state = _State.TAIL
        return True

    def _tail(self) -> bool:
        _, tag, after = self._held.partition(self._close)
        if not tag:
            self._held = self._held[-len(self._close) :]
            return False
        self._held, self._state, self._after_call = after, _State.TEXT, True
        return True

    def _whole(self, text: str) -> list[Piece]:
        """Read a call that is not in the usual order; what cannot be read stays text."""
        call = _loaded_call(text.strip().removesuffix(FENCE))
        if call is None:
            return [Text(f"{self._opened}{text}")]
        name, arguments = call
        index, self.num_calls = self.num_calls, self.num_calls + 1
        return [CallBegins(index, name), Arguments(index, arguments)]


class _JsonScan:
    """Finds where a JSON object ends, in pieces."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self.is_complete = False

    def feed(self, text: str) -> int:
        """Count the characters of `text` that belong to the object."""
        for place, symbol in enumerate(text):
            if self._in_string:
                self._in_string = self._escaped or symbol != '"'
                self._escaped = symbol == "\\" and not self._escaped
            elif symbol == '"':
                self._in_string = True
            elif symbol in "{[":
                self._depth += 1
            elif symbol in "}]":
                self._depth -= 1
                if self._depth == 0:
                    self.is_complete = True
                    return place + 1
        return len(text)


def _undecided(text: str) -> int:
    """Count the last characters that may begin a call's tag, with the space before them."""
    num_tag = next(
        (n for n in range(min(len(OPEN) - 1, len(text)), 0, -1) if text.endswith(OPEN[:n])), 0
    )
    rest = text[: len(text) - num_tag]
    return num_tag + len(rest) - len(rest.rstrip(_SPACE))


def _loaded(text: str) -> str | None:
    try:
        value = json.loads(text, strict=False)
    except ValueError:
        return None
    return value if isinstance(value, str) and value else None


def _loaded_call(text: str) -> tuple[str, str] | None:
    try:
        call: Any = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str) or not call["name"]:
        return None
    arguments = call.get("arguments", call.get("parameters", {}))
    if isinstance(arguments, str):
        return call["name"], arguments
    return call["name"], json.dumps(arguments, ensure_ascii=False)
