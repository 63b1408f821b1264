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

_LOCK = threading.Lock()


@contextmanager
def solver_output_to_stderr() -> Iterator[None]:
    """Point the process's file descriptor 1 at standard error while a solver runs.

    Whatever another thread prints meanwhile goes there too; nothing is lost. Without usable
    descriptors (an embedding process that closed them) nothing is changed.
    """
    with _LOCK:
        try:
            sys.stdout.flush()
            kept = os.dup(1)
        except (OSError, ValueError, AttributeError):
            yield
            return
        try:
            os.dup2(2, 1)
        except OSError:
            os.close(kept)
            yield
            return
        try:
            yield
        finally:
            _flush_native()
            os.dup2(kept, 1)
            os.close(kept)


def _flush_native() -> None:
    """Write out what C code printed and still holds, before the descriptor changes back."""
    try:
        ctypes.CDLL(None).fflush(None)
    except (OSError, TypeError, AttributeError):
        return  # no C library to ask: its buffer is written when it is full
