"""Server-sent events: bytes in, messages out. A parser without I/O."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from gangline.ir.errors import ServiceError

MAX_MESSAGE = 64 * 1024 * 1024
"""Characters of one message at most, so that a server cannot fill the client's memory."""

# The end of a line is CR LF, LF or CR (https://html.spec.whatwg.org/multipage/server-sent-events.html)
_LINE = re.compile(r"([^\r\n]*)(\r\n|\n|\r)")


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a stream; `id` is None where the server gave none."""

    data: str
    event: str = "message"
    id: str | None = None


class SseParser:
    """Feed it what arrives, in pieces of any size; it gives the messages that are complete."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest = ""
        self._data: list[str] = []
        self._size = 0
        self._event = ""
        self._id: str | None = None

    def feed(self, piece: bytes) -> list[Message]:
        """Take the next bytes; raises ServiceError for a message beyond all bounds."""
        text = self._rest + self._decode(piece)
        messages: list[Message] = []
        place = 0
        # Invariant: all lines before `place` are taken, and none of them is looked at again.
        for match in _LINE.finditer(text):
            if match[2] == "\r" and match.end() == len(text):
                break  # a line feed that belongs to it may come with the next piece
            place = match.end()
            if match[1]:
                self._line(match[1])
            elif (message := self._dispatch()) is not None:
                messages.append(message)
        self._rest = text[place:]
        if self._size + len(self._rest) > MAX_MESSAGE:
            raise ServiceError(
                f"The server sent one event of more than {MAX_MESSAGE:,} characters",
                next_step="Ask for the job instead of its events.",
            )
        return messages

    def _line(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
                self._size += len(value)
            case "event":
                self._event = value
            case "id" if "\0" not in value:
                self._id = value

    def _dispatch(self) -> Message | None:
        """End a message; one without data (a comment, a bare id) is none."""
        data, event, id_ = self._data, self._event, self._id
        self._data, self._size, self._event, self._id = [], 0, "", None
        return Message("\n".join(data), event or "message", id_) if data else None
