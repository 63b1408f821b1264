"""Prefix ids: what the beginning of a prompt is called, so that requests that share one meet.

An id is a hash of the model and the rendered beginning. The compiler says where beginnings end
that other prompts have too (`prefix_ids` of a tokenize stage).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gangline.ir.program import Stage

from .prompt import render

MIN_TOKENS = 16
"""Beginnings shorter than an engine's KV block (`backends/engine`) are never found again."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """The beginning of a prompt: `tokens` of it, estimated where only its text is known."""

    id: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request that looks for a device: the tokens of its prompt, the most that it may write, and
    the beginnings it shares.

    The ids of `prefixes` are of one tenant: engines keep what tenants computed apart, and so no
    tenant's request is drawn to where another's was.
    """

    request_id: str
    tokens: int
    output: int
    prefixes: tuple[Prefix, ...]


def prefixes_of(tokenize: Stage, operands: Sequence[Any], num_tokens: int) -> tuple[Prefix, ...]:
    """Give the shared beginnings of a prompt of `num_tokens`, the shortest first."""
    attributes = tokenize.attributes
    template: Sequence[Mapping[str, str]] = attributes["template"]
    fields = dict(zip(attributes["names"], operands, strict=False))
    whole = max(_length(render(template, fields)), 1)
    found = []
    for row in attributes.get("prefix_ids", ()):
        last = template[row["message"]]
        cut = [*template[: row["message"]], {**last, "text": last["text"][: row["chars"]]}]
        messages = render(cut, fields)
        # Text has about as many tokens per character at its beginning as it has everywhere.
        tokens = num_tokens * _length(messages) // whole
        if tokens >= MIN_TOKENS:
            name = [attributes["model"], [[m["role"], m["content"]] for m in messages]]
            found.append(Prefix(_hash(json.dumps(name)), tokens))
    return tuple(found)


def prefix_of_tokens(model: str, tokens: Sequence[int]) -> tuple[Prefix, ...]:
    """Give the beginning that these tokens are; none where they are too few."""
    if len(tokens) < MIN_TOKENS:
        return ()
    return (Prefix(_hash(json.dumps([model, list(tokens)])), len(tokens)),)


def wanted(
    request_id: str, num_tokens: int, output: int, prefixes: Sequence[Prefix], tenant: str
) -> Wanted:
    """Say what a tenant's request looks for."""
    own = tuple(Prefix(_hash(f"{tenant}\0{found.id}"), found.tokens) for found in prefixes)
    return Wanted(request_id, num_tokens, output, own)


def _length(messages: Sequence[Mapping[str, str]]) -> int:
    return sum(len(message["content"]) for message in messages)


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
