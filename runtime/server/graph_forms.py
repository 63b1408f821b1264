"""A job's graph as JSON, Mermaid or SVG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .reply import Reply


def graph_reply(document: Mapping[str, Any], form: str) -> Reply:
    """Answer with a graph in the form that was asked for."""
    if form == "mermaid":
        return Reply.text(_text(document, "mermaid"), b"text/vnd.mermaid; charset=utf-8")
    if form == "svg":
        return Reply.text(_text(document, "svg"), b"image/svg+xml")
    return Reply.json(document)


def _text(document: Mapping[str, Any], form: str) -> str:
    return str(document.get(form, ""))
