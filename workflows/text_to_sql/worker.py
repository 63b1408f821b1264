"""One child process that runs SQL, seen from the parent."""

from __future__ import annotations

import json
import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from .location import Dialect

_CHILD = Path(__file__).with_name("sandbox_child.py")
_POSTGRES_ENVIRONMENT = ("HOME", "PGPASSFILE", "PGSERVICEFILE", "PGSSLMODE", "PGSSLROOTCERT")


class ChildLost(Exception):
    """The child did not answer in time, died, or sent too much; it is gone now."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Worker:
    """A running child; used by one thread at a time."""

    def __init__(self, dialect: Dialect, memory_bytes: int, max_answer_bytes: int) -> None:
        # PostgreSQL's driver lives in site-packages; SQLite needs none and starts faster without.
        flags = ["-I"] if dialect == "postgres" else ["-I", "-S"]
        self.dialect = dialect
        self._max_answer_bytes = max_answer_bytes
        self._process = subprocess.Popen(
            [sys.executable, *flags, str(_CHILD), str(memory_bytes), dialect],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(dialect),
            cwd="/",
        )

    def ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send one request and wait for its answer; ChildLost after `timeout_s` seconds."""
        ends_at = time.monotonic() + timeout_s
        try:
            self._send(request)
            answer: dict[str, Any] = json.loads(self._receive(ends_at))
        except (OSError, ValueError):
            self.kill()
            raise ChildLost("died") from None
        except ChildLost:
            self.kill()
            raise
        return answer

    def stop(self) -> None:
        """End the child from another thread than the one that waits for it, which sees it die."""
        self._process.kill()

    def kill(self) -> None:
        """End the child and collect it; harmless when it has ended."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                _close_quietly(stream)
        self._process.wait()

    def _send(self, request: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        body = json.dumps(request).encode()
        self._process.stdin.write(struct.pack(">I", len(body)) + body)
        self._process.stdin.flush()

    def _receive(self, ends_at: float) -> bytes:
        (length,) = struct.unpack(">I", self._read(4, ends_at))
        if length > self._max_answer_bytes:
            raise ChildLost("memory")
        return self._read(length, ends_at)

    def _read(self, num_bytes: int, ends_at: float) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        parts = bytearray()
        # Invariant: only bytes of this frame are read, so the next frame starts clean.
        while len(parts) < num_bytes:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, ends_at - time.monotonic()))
            if not ready:
                raise ChildLost("timeout")
            chunk = os.read(descriptor, num_bytes - len(parts))
            if not chunk:
                raise ChildLost("died")
            parts += chunk
        return bytes(parts)


def _environment(dialect: Dialect) -> dict[str, str]:
    kept = _POSTGRES_ENVIRONMENT if dialect == "postgres" else ()
    given = {name: os.environ[name] for name in kept if name in os.environ}
    return {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "1", **given}


def _close_quietly(stream: IO[bytes]) -> None:
    try:
        stream.close()
    except OSError:  # what was buffered for a dead child has nowhere to go
        return
