"""Read one line of a plan that is text: `2. convert(value=$1.km, unit_from="km", unit_to="mi")`.

    line       number "." name "(" [name "=" value ("," name "=" value)*] ")"
    value      JSON, in which a value may also be a reference
    reference  $1, ${1}, $1.member, $1[0], ${1.member[0]}: the result of an earlier line, or part of it

Inside text, references are replaced by results (`"$1 dogs"`), and `$$` is a dollar sign. `join()`
ends a plan. The text is untrusted: it is read by this parser alone, never evaluated, and whatever
is wrong with it is a StepError that names the line and the place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NoReturn

from gangline.ir.errors import StepError
from gangline.runtime.plain_json import parse

from .planned_steps import MAX_DEPTH

JOIN = "join"
"""What ends a plan instead of calling a tool."""
MAX_LINE_CHARS = 100_000

_NUMBER = re.compile(r"(\d{1,9})\s*\.")
_NAME = re.compile(r"[^\W\d]\w*")
_SPACE = re.compile(r"[ \t]*")
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_DIGITS = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_PATH = r"(?:\.[^\W\d]\w*|\[\d{1,6}\])*"
_REFERENCE = re.compile(rf"\$(?:(\d{{1,9}})({_PATH})|\{{(\d{{1,9}})({_PATH})\}})")
_IN_TEXT = re.compile(rf"\$\$|{_REFERENCE.pattern}")
_PART = re.compile(r"\.(\w+)|\[(\d+)\]")
_WORDS = {"true": True, "false": False, "null": None}
_SHOWN_CHARS = 40


@dataclass(frozen=True, slots=True)
class PlanLine:
    """A call that a line asks for; `arguments` as `planned_steps` takes them."""

    number: int
    tool: str
    arguments: dict[str, Any]

    @property
    def is_join(self) -> bool:
        """Say whether the line ends the plan."""
        return self.tool == JOIN

    def as_step(self) -> dict[str, Any]:
        """Give the line as a step of a plan."""
        return {"id": str(self.number), "tool": self.tool, "arguments": self.arguments}


def read_line(text: str, where: str) -> PlanLine:
    """Read one line, without its line break; StepError, located at `where`, if it is none."""
    if len(text) > MAX_LINE_CHARS:
        raise StepError(f"The line is longer than {MAX_LINE_CHARS:,} characters", where=where)
    return _Reader(text, where).line()


class _Reader:
    def __init__(self, text: str, where: str) -> None:
        self._text, self._where, self._at = text, where, 0

    def line(self) -> PlanLine:
        self._space()
        number = int(self._match(_NUMBER, "a number and a dot, such as `1.`")[1])
        self._space()
        tool = self._match(_NAME, "the name of a tool")[0]
        self._space()
        self._expect("(")
        arguments = self._arguments()
        self._space()
        if self._at < len(self._text):
            self._fail("the end of the line")
        if tool == JOIN and arguments:
            raise StepError(
                "join() takes no arguments",
                where=self._where,
                next_step="End the plan with `join()`; results are handed on as they are.",
            )
        return PlanLine(number, tool, arguments)

    def _arguments(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        # Invariant: `found` holds the arguments in front of `_at`, each name once.
        while not self._took(")"):
            if found:
                self._expect(",")
                self._space()
            at = self._at
            name = self._match(_NAME, "the name of an argument")[0]
            if name in found:
                self._at = at
                self._fail(f"an argument other than {name!r}, which is there already")
            self._space()
            self._expect("=")
            found[name] = self._value(0)
        return found

    def _value(self, depth: int) -> Any:
        self._space()
        if depth > MAX_DEPTH:
            self._fail("a value that is nested less deeply")
        match self._text[self._at : self._at + 1]:
            case "$":
                return _reference(self._match(_REFERENCE, "a reference such as $1"))
            case '"':
                return self._string()
            case "[":
                return self._list(depth)
            case "{":
                return self._object(depth)
            case letter if letter.isalpha():
                return self._word()
        return self._json(self._match(_DIGITS, 'a value: text in ", a number, a list, or $1')[0])

    def _word(self) -> Any:
        at = self._at
        word = self._match(_NAME, "a value")[0]
        if word not in _WORDS:
            self._at = at
            self._fail('a value: text stands in "')
        return _WORDS[word]

    def _string(self) -> Any:
        text = self._json(self._match(_TEXT, 'text that ends with "')[0])
        parts: list[Any] = []
        at = 0
        # Invariant: `parts` is what `text[:at]` says, and no two texts in it are neighbours.
        for found in _IN_TEXT.finditer(text):
            _extend(parts, text[at : found.start()])
            if found[0] == "$$":
                _extend(parts, "$")
            else:
                parts.append(_reference(found))
            at = found.end()
        _extend(parts, text[at:])
        if all(isinstance(part, str) for part in parts):
            return "".join(parts)
        return {"$text": parts}

    def _json(self, text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise StepError(
                f"{self._place()} is no JSON value: {str(error)[:_SHOWN_CHARS]}", where=self._where
            ) from None

    def _list(self, depth: int) -> list[Any]:
        self._expect("[")
        found: list[Any] = []
        while not self._took("]"):
            if found:
                self._expect(",")
            found.append(self._value(depth + 1))
        return found

    def _object(self, depth: int) -> dict[str, Any]:
        self._expect("{")
        found: dict[str, Any] = {}
        while not self._took("}"):
            if found:
                self._expect(",")
                self._space()
            key = self._json(self._match(_TEXT, "the name of a member")[0])
            if key.startswith("$") or key in found:
                self._fail(f"a member other than {_short(key)}")
            self._space()
            self._expect(":")
            found[key] = self._value(depth + 1)
        return found

    def _space(self) -> None:
        found = _SPACE.match(self._text, self._at)
        assert found is not None
        self._at = found.end()

    def _match(self, pattern: re.Pattern[str], wanted: str) -> re.Match[str]:
        found = pattern.match(self._text, self._at)
        if found is None:
            self._fail(wanted)
        self._at = found.end()
        return found

    def _took(self, mark: str) -> bool:
        self._space()
        if self._text.startswith(mark, self._at):
            self._at += 1
            return True
        return False

    def _expect(self, mark: str) -> None:
        if not self._took(mark):
            self._fail(f"`{mark}`")

    def _place(self) -> str:
        return f"What stands at character {self._at + 1}"

    def _fail(self, wanted: str) -> NoReturn:
        shown = _short(self._text[self._at :]) if self._at < len(self._text) else "the end"
        raise StepError(
            f"At character {self._at + 1} there should be {wanted}, not {shown}",
            where=self._where,
            next_step='A line is `1. tool(name="text", other=$1)`; the last one is `2. join()`.',
        )


def _extend(parts: list[Any], text: str) -> None:
    if not text:
        return
    if parts and isinstance(parts[-1], str):
        parts[-1] += text
    else:
        parts.append(text)


def _reference(found: re.Match[str]) -> dict[str, str]:
    """Give what a match of `_REFERENCE` refers to, as `planned_steps` writes it."""
    number, path = (found[1], found[2]) if found[1] is not None else (found[3], found[4])
    parts = [part[1] or part[2] for part in _PART.finditer(path)]
    return {"$ref": "/".join([str(int(number)), *parts])}


def _short(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= _SHOWN_CHARS else f"{shown[: _SHOWN_CHARS - 3]}..."
