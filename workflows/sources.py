"""Where in the author's source something happens."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import lru_cache
from types import FrameType
from typing import Any

_HERE = os.path.dirname(os.path.abspath(__file__))
_OWN_FILES: dict[str, bool] = {}


def _is_own(filename: str) -> bool:
    """Tell whether a file is part of the front end (built-in workflows are authors' code)."""
    found = _OWN_FILES.get(filename)
    if found is None:
        found = _OWN_FILES[filename] = os.path.dirname(os.path.abspath(filename)) == _HERE
    return found


def author_frame() -> FrameType | None:
    """Find the innermost frame that is not the front end's own."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_own(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def author_line() -> str:
    """Give `file:line` of the author's line that is running now."""
    frame = author_frame()
    return at(frame.f_code.co_filename, frame.f_lineno) if frame else ""


def definition_line(fn: Callable[..., Any]) -> str:
    """Give `file:line` of a function's definition (its first decorator)."""
    code = getattr(fn, "__code__", None)
    return at(code.co_filename, code.co_firstlineno) if code else ""


def at(filename: str, line: int) -> str:
    """Write `file:line`, relative to the working directory where the file is below it."""
    return f"{_shown(filename, os.getcwd())}:{line}"


@lru_cache(1024)
def _shown(filename: str, folder: str) -> str:
    short = os.path.relpath(filename, folder) if os.path.isabs(filename) else filename
    return filename if short.startswith("..") else short
