"""Run a program from a tool so that it ends with the tool: when cancelled, and when out of time."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

from gangline.ir.errors import JobCancelled, StepTimeout

from .cancel_token import cancelled, on_cancel


def run_process(
    command: Sequence[str],
    *,
    input: bytes | None = None,
    timeout_s: float | None = None,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program and wait for it; its output is captured.

    The program and all it starts are killed when the tool is cancelled.

    Raises:
        JobCancelled: the tool was cancelled.
        StepTimeout: the program ran longer than `timeout_s` seconds, and was killed.
        OSError: it cannot be started.
    """
    with (
        subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=None if env is None else dict(env),
            start_new_session=True,
        ) as process,
        on_cancel(lambda: _kill(process)),
    ):
        try:
            out, err = process.communicate(input, timeout_s)
        except subprocess.TimeoutExpired:
            _kill(process)
            raise StepTimeout(
                f"{command[0]} did not end within {timeout_s:g} s",
                next_step="Raise its timeout_s, or give it less to do.",
            ) from None
        except BaseException:
            _kill(process)
            raise
    if cancelled():
        raise JobCancelled(f"{command[0]} was stopped because its job was cancelled")
    return subprocess.CompletedProcess(list(command), process.returncode, out, err)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the program with all it started, unless it has ended (its number may be another's)."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
