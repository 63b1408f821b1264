"""Questions answered from a database: draft under a grammar, check, run, repair."""

from __future__ import annotations

from .attempt import Answer
from .workflow import text_to_sql

__all__ = ["Answer", "text_to_sql"]
