"""A model call of a module as the atoms of its prompt, which the search of an order works on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gangline.ir.attributes import decode, encode
from gangline.ir.module import mlir
from gangline.ir.ops import TYPE_NAMES

from .prompt_order import Movable
from .prompt_parts import FIELD, Order, Part, arranged, parts_of
from .prompt_reuse import CONSTANT, DATABASE, JOB, SCOPES, Atom, Node, Prompt
from .value_scope import Scopes

CHARS_PER_TOKEN = 3.5
"""Of literal text; code and prose of English lie between 3 and 4.5."""
TOKENS: Mapping[str, float] = {"text": 64.0, "json": 128.0, "list": 128.0, "database": 8.0}
"""Guessed tokens of a field by its type; of numbers NUMBER."""
NUMBER = 2.0
SHOWN = 512.0
"""Guessed tokens of a text that a tool makes of a database alone, such as its schema."""


class PromptCall:
    """An `agent.llm` or `agent.cache`: its template, and what its fields hold."""

    def __init__(self, op: Any, scopes: Scopes, tokens: Mapping[str, float]) -> None:
        self.op = op
        self.visits = scopes.visits.get(op.results[0], 1.0)
        self.before: PromptCall | None = None
        self._name = str(op.attributes["name"].value)
        self._template: list[dict[str, str]] = decode(op.attributes["template"])
        self._values = dict(zip(decode(op.attributes["names"]), op.operands, strict=True))
        self._free = decode(op.attributes["free"]) if "free" in op.attributes else ()
        self._scopes = scopes
        self._tokens = tokens
        users = [at for at, message in enumerate(self._template) if message["role"] == "user"]
        self._at = users[-1] if users else 0

    def follow(self, calls: Mapping[Any, PromptCall]) -> None:
        """Find the cache that this call goes on with."""
        cache = self._values.get("cache")
        if cache is not None and not isinstance(cache.owner, mlir.Block):
            self.before = calls.get(cache)

    def row(self) -> Movable:
        """Give the prompt, and those of its parts that may move.

        A prompt that is cut in two by a cache was put in order by its author.
        """
        is_cut = self.op.name == "agent.cache" or "cache" in self._values
        parts = parts_of(self._template[self._at]["text"], () if is_cut else self._free)
        return Movable(self._prompt(parts), parts)

    def arrange(self, parts: Sequence[Part], order: Order) -> None:
        """Write the parts of the template in another order."""
        self._template[self._at]["text"] = arranged(parts, order)
        self.op.attributes["template"] = encode(self._template)

    def say(self, path: Sequence[Node]) -> None:
        """Write where the beginnings end that this prompt shares; `path` is its path in the tree.

        The last place of each scope counts: what is the same for ever, for a database, and for
        several calls of a job.
        """
        own = list(self._placed())
        first = len(path) - len(own)
        level = max((atom.scope for atom in self._start()), default=CONSTANT)
        last: dict[int, tuple[int, int]] = {}
        if first and (level < JOB or path[first - 1].is_shared):
            last[level] = (0, 0)
        for (atom, end), node in zip(own, path[first:], strict=True):
            level = max(level, atom.scope)
            if level < JOB or node.is_shared:
                last[level] = end
        rows = [
            {"chars": chars, "message": message, "scope": SCOPES[level]}
            for level, (message, chars) in sorted(last.items())
            if message or chars or self.before is not None
        ]
        if rows:
            self.op.attributes["prefix_ids"] = encode(rows)
        elif "prefix_ids" in self.op.attributes:
            del self.op.attributes["prefix_ids"]

    def _placed(self) -> Iterator[tuple[Atom, tuple[int, int]]]:
        """Yield the atoms of the template, each with the message and character where it ends."""
        for at, message in enumerate(self._template):
            if at or self.before is None:
                yield _role(message), (at, 0)
            chars = 0
            for atom, length in self._cut(message["text"]):
                chars += length
                yield atom, (at, chars)

    def _start(self) -> list[Atom]:
        """Give what stands before the template: the model, or the cache that it goes on with."""
        if self.before is not None:
            return [*self.before._start(), *(atom for atom, _ in self.before._placed())]
        return [Atom(("model", str(self.op.attributes["model"].value)), 0.0)]

    def _prompt(self, parts: Sequence[Part]) -> Prompt:
        head, tail = self._start(), list[Atom]()
        for at, message in enumerate(self._template):
            atoms = head if at <= self._at else tail
            if at or self.before is None:
                atoms.append(_role(message))
            if at != self._at:
                atoms += self._atoms(message["text"])
        inside = tuple(tuple(self._atoms(part.text + part.separator)) for part in parts)
        return Prompt(self.visits, tuple(head), inside, tuple(tail))

    def _atoms(self, text: str) -> list[Atom]:
        return [atom for atom, _ in self._cut(text)]

    def _cut(self, text: str) -> Iterator[tuple[Atom, int]]:
        """Yield the fields and lines of a template's text, each with its characters there."""
        literal = ""
        end = 0
        # Invariant: `literal` and what was yielded make up text[:end].
        for match in FIELD.finditer(text):
            literal += text[end : match.start()]
            end = match.end()
            if match[1] is None:
                literal += match[0]
                continue
            yield from _lines(literal)
            literal = ""
            yield self._field(match[1]), len(match[0])
        yield from _lines(literal + text[end:])

    def _field(self, name: str) -> Atom:
        value = self._scopes.source(self._values[name])
        scope = self._scopes.of(value)
        kind = TYPE_NAMES.get(str(value.type), "text")
        tokens = self._tokens.get(f"{self._name}.{name}")
        if tokens is None:
            tokens = TOKENS.get(kind, NUMBER)
            if kind == "text" and scope.level <= DATABASE:
                tokens = SHOWN
        return Atom(("value", value), tokens, scope.level, scope.spread)


def _role(message: Mapping[str, str]) -> Atom:
    return Atom(("role", message["role"]), 4.0)


def _lines(text: str) -> Iterator[tuple[Atom, int]]:
    for line in text.splitlines(keepends=True):
        yield Atom(("text", line), len(line) / CHARS_PER_TOKEN), len(line)
