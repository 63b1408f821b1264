"""What commands print: one JSON document on stdout, or text; errors in one shape for both."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gangline.ir.errors import GanglineError, UsageError

if TYPE_CHECKING:
    from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """Make a rich console; stdout is for results, stderr for progress and errors."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=not sys.stdout.isatty())


def print_document(document: Mapping[str, Any] | list[Any]) -> None:
    """Print the one JSON document of a `--json` command."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def print_error(error: GanglineError, *, as_json: bool) -> None:
    """Print an error as one document on stdout (`--json`) or one paragraph on stderr."""
    if as_json:
        print_document({"status": "failed", "error": error.to_json()})
        return
    from rich.text import Text

    err = console(stderr=True)
    code = (f" [{error.code}] ", "dim")
    where = (f" ({error.where})" if error.where else "", "dim")
    # One text, so that a terminal wraps it as one paragraph.
    err.print(Text.assemble(("error", "bold red"), code, error.detail, where))
    if error.next_step:
        err.print(error.next_step, markup=False)


def exit_code(error: GanglineError) -> int:
    """Map an error to the command's exit code: 2 for wrong use, 1 for everything else."""
    return 2 if isinstance(error, UsageError) else 1
