"""Events as rows and back. Programs and plans are stored once, under the hash of their text."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from gangline.ir.errors import Unstorable
from gangline.ir.specs.event import Event
from gangline.runtime.kept import Kept
from gangline.runtime.redact import redact

EventRow = tuple[str, int, str, str, float, str]
INTERNED = ("program", "plan")
MAX_CACHED = 128

_dumps = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode


class Codec:
    """Encode events, remembering the documents it has seen lately."""

    def __init__(self) -> None:
        self._encoded: Kept[tuple[str, str]] = Kept(MAX_CACHED)
        self._decoded: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def queued(self, event: Event) -> tuple[EventRow, dict[str, str], dict[str, str]]:
        """Encode a first event.

        Gives its row, the documents it refers to (text by hash), and which is which (hash by
        name).
        """
        documents: dict[str, str] = {}
        references: dict[str, str] = {}
        data = event.data
        for name in INTERNED:
            document = data.get(name)
            if document is not None:
                hash_, text = self._encoded.of(_document, document)
                documents[hash_], references[name] = text, hash_
                data = {**data, name: {"ref": hash_}}
        row = event.job_id, event.seq, event.type, "", event.at_s, encode(data, event.type)
        return row, documents, references

    def remember(self, hash_: str, text: str) -> Any:
        """Decode a stored document, which callers share and must not change."""
        document = json.loads(text)
        with self._lock:
            self._decoded[hash_] = document
            while len(self._decoded) > MAX_CACHED:
                self._decoded.popitem(last=False)
        return document

    def recall(self, hash_: str) -> Any | None:
        """Give a document decoded before, or None."""
        with self._lock:
            if hash_ in self._decoded:
                self._decoded.move_to_end(hash_)
            return self._decoded.get(hash_)


def _document(document: Any) -> tuple[str, str]:
    """Give a program's or plan's hash and text."""
    text = encode(document if isinstance(document, Mapping) else document.to_json(), "program")
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest(), text


def encode_all(events: Sequence[Event]) -> list[EventRow]:
    """Encode events that are not the first of a job; Unstorable for what is no JSON."""
    return [
        (
            event.job_id,
            event.seq,
            event.type,
            event.step_id,
            event.at_s,
            encode(event.data, event.step_id or event.type),
        )
        for event in events
    ]


def encode(data: Any, where: str) -> str:
    """Give JSON text with passwords masked; Unstorable for what is no JSON."""
    try:
        text = _dumps(data)
        if not text.isascii():
            text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise Unstorable(
            f"What a step returned cannot be stored as JSON: {error}",
            where=where,
            next_step="Return plain JSON values (no NaN, no deep nesting, no lone surrogates).",
        ) from None
    return redact(text)


def is_reference(document: Any) -> TypeGuard[Mapping[str, str]]:
    """Say whether this stands for a document that is kept by its hash."""
    return isinstance(document, Mapping) and len(document) == 1 and "ref" in document
