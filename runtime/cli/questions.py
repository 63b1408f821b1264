"""Ask the person at the terminal what a job wants to know."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from gangline.ir.errors import InputError
from gangline.runtime.dispatch.job_errors import unanswered

from .interrupted import Interrupted
from .output import console


def ask(row: Mapping[str, Any], job_id: str) -> Any:
    """Show one question on stderr and read its answer from stdin, until one fits.

    After Ctrl-C or Ctrl-D the job keeps waiting.
    """
    try:
        return _answer(row)
    except (KeyboardInterrupt, EOFError):
        raise Interrupted from unanswered(job_id, row["question"], row["id"])


def _answer(row: Mapping[str, Any]) -> Any:
    from gangline.runtime.dispatch.answers import read_answer

    err = console(stderr=True)
    err.print(shown(row["question"]), markup=False, style="bold")
    if row["choices"] is not None:
        listed = ", ".join(json.dumps(choice, ensure_ascii=False) for choice in row["choices"])
        err.print(f"One of: {shown(listed)}", markup=False, style="dim")
    while True:
        err.print("> ", end="")
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        try:
            return read_answer(line.rstrip("\n"), row["schema"])
        except InputError as error:
            err.print(str(error), markup=False, style="red")


def shown(text: str) -> str:
    """Give a text without what would steer the terminal: a model may have written it."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in text)
