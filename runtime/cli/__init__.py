"""The command line. Each command imports what it needs when it runs: `--help` stays instant."""

from __future__ import annotations

import contextlib
import os
import sys
import threading


def main() -> None:
    """Run the `gangline` command and exit with 0, 1 (failed), 2 (usage) or 130 (interrupted)."""
    from .app import logs_kept_to_debug, run

    with logs_kept_to_debug("--debug" in sys.argv):
        leave(run(sys.argv[1:]))


def leave(code: int) -> None:
    """End the process, at once where a thread is still at work (a model loads, a tool hangs).

    Such a thread inside a C++ library would otherwise abort the interpreter as it ends, and
    the exit code would tell of that and not of the command.
    """
    if "gangline.runtime.api" in sys.modules:
        from gangline.runtime.api import close_sessions

        close_sessions()
    if any(thread.daemon for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # closed, or nobody reads it
                stream.flush()
        os._exit(code)
    sys.exit(code)
