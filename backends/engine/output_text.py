"""The text of one output as it grows: no half characters, nothing of a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence

DecodeText = Callable[[Sequence[int]], str]

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
MAX_HELD_TOKENS = 8  # a character takes at most 4 bytes; beyond this the bytes are no UTF-8


class OutputText:
    """Turns tokens into text piece by piece.

    `text` is what has been given out. A token may end inside a character, and a piece may end
    inside a stop string: such text is held back until it is decided. `stopped` says that a
    stop string was found; it and all that follows is no part of the text.
    """

    def __init__(self, decode_text: DecodeText, stop: Sequence[str] = ()) -> None:
        self._decode = decode_text
        self._stop = tuple(word for word in stop if word)
        self._context: list[int] = []  # tokens before `_open`, for decoders that look back
        self._open: list[int] = []  # tokens whose text is not settled
        self._held = ""  # settled text that may be the start of a stop string
        self._pieces: list[str] = []
        self.stopped = False

    @property
    def text(self) -> str:
        """All the text given out so far."""
        return "".join(self._pieces)

    def feed(self, token_id: int) -> str:
        """Add a token; give the new text that is certain by now."""
        if self.stopped:
            return ""
        self._open.append(token_id)
        return self._give(self._cut(self._held + self._settle(final=False)))

    def finish(self) -> str:
        """Give what was held back; nothing follows."""
        if self.stopped:
            return ""
        rest = self._cut(self._held + self._settle(final=True))
        return self._give(rest + self._held)

    def _give(self, piece: str) -> str:
        if piece:
            self._pieces.append(piece)
        return piece

    def _settle(self, *, final: bool) -> str:
        """Decode the open tokens, unless they end inside a character."""
        if not self._open:
            return ""
        before = self._decode(self._context) if self._context else ""
        piece = self._decode(self._context + self._open)[len(before) :]
        if piece.endswith(REPLACEMENT) and len(self._open) < MAX_HELD_TOKENS and not final:
            return ""
        self._context, self._open = self._open, []
        return piece

    def _cut(self, text: str) -> str:
        """Cut at the first stop string; hold back an end that may become one."""
        found = [at for word in self._stop if (at := text.find(word)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        num_held = max((_overlap(text, word) for word in self._stop), default=0)
        split = len(text) - num_held
        self._held = text[split:]
        return text[:split]


def _overlap(text: str, word: str) -> int:
    """Give the length of the longest end of `text` that starts `word` without completing it."""
    for length in range(min(len(text), len(word) - 1), 0, -1):
        if text.endswith(word[:length]):
            return length
    return 0
