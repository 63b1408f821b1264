"""Keep what a native solver prints out of standard output, where `--json` writes one document.

HiGHS 1.12, as scipy 1.17 carries it, prints a line from its repair of incumbents whatever its
options say (jump-dev/HiGHS.jl issue 312). It is sent to standard error instead.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_LOCK = threading.Lock()


@dataclass(slots=True)
class _Redirection:
    """Solvers at work in this process, and a copy of the descriptor they must not write to."""

    solvers: int = 0
    kept: int | None = None

    def begin(self) -> None:
        """Point descriptor 1 at standard error, unless another solver's start has done so."""
        self.solvers += 1
        if self.solvers > 1:
            return
        try:
            sys.stdout.flush()
            kept = os.dup(1)
        except (OSError, ValueError, AttributeError):
            return
        try:
            os.dup2(2, 1)
        except OSError:
            os.close(kept)
            return
        self.kept = kept

    def end(self) -> None:
        """Put descriptor 1 back when no solver is at work any more."""
        self.solvers -= 1
        if self.solvers or self.kept is None:
            return
        _flush_native()
        os.dup2(self.kept, 1)
        os.close(self.kept)
        self.kept = None


_REDIRECTION = _Redirection()


@contextmanager
def solver_output_to_stderr() -> Iterator[None]:
    """Point the process's file descriptor 1 at standard error while solvers run.

    Whatever another thread prints meanwhile goes there too; nothing is lost. Solvers in several
    threads do not wait for each other. Without usable descriptors (an embedding process that
    closed them) nothing is changed.
    """
    with _LOCK:
        _REDIRECTION.begin()
    try:
        yield
    finally:
        with _LOCK:
            _REDIRECTION.end()


def _flush_native() -> None:
    """Write out what C code printed and still holds, before the descriptor changes back."""
    try:
        ctypes.CDLL(None).fflush(None)
    except (OSError, TypeError, AttributeError):
        return  # no C library to ask: its buffer is written when it is full
