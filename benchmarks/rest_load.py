"""Load for benchmarks/rest.py, in a process of its own: raw keep-alive sockets on uvloop.

One JSON request per line on stdin, one JSON answer per line on stdout. A request says where
(`port`, `path`, `host`), what (`body`, a JSON text), how many (`num`), how many at once
(`in_flight`), whether each gets an Idempotency-Key of its own (`keyed`), and which statuses are
right (`expect`). Latencies are seconds from the first byte written to the last one read.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from typing import Any


class Line(asyncio.Protocol):
    """One connection that sends its next request when the answer to the last one is complete."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._read = b""
        self._need = -1
        self._chunked = False
        self._began_s = 0.0
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._next()

    def _next(self) -> None:
        request = self._load.take()
        if request is None:
            self._transport.close()
            return
        self._began_s = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._read += data
        if self._need < 0:
            head, mark, _ = self._read.partition(b"\r\n\r\n")
            if not mark:
                return
            self._need = len(head) + 4 + _length(head)
            self._chunked = self._need < len(head) + 4
        if self._chunked:
            if not self._read.endswith(b"0\r\n\r\n"):
                return
            self._need = len(self._read)
        elif len(self._read) < self._need:
            return
        answer, self._read, self._need = self._read[: self._need], self._read[self._need :], -1
        self._load.took(time.perf_counter() - self._began_s, answer)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.lost(exc)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
        if name.lower() == b"transfer-encoding":
            return -1
    raise ValueError(f"an answer of no length: {head[:200]!r}")


class Load:
    """A number of equal requests over some connections."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._left = int(spec["num"])
        self._expect = tuple(b" %d " % status for status in spec["expect"])
        self._must_hold = spec.get("must_hold", "").encode()
        self._keyed = bool(spec.get("keyed"))
        body = spec["body"].encode()
        self._head = (
            f"{spec.get('method', 'POST')} {spec['path']} HTTP/1.1\r\nhost: 127.0.0.1\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        ).encode()
        self._body = b"\r\n" + body
        self._open = int(spec["in_flight"])
        self.latencies: list[float] = []
        self.wrong = ""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self) -> bytes | None:
        """Give the next request; None when all were given."""
        if self._left <= 0 or self.wrong:
            return None
        self._left -= 1
        key = f"idempotency-key: {uuid.uuid4()}\r\n".encode() if self._keyed else b""
        whole: bytes = self._head + key + self._body
        return whole

    def took(self, seconds: float, answer: bytes) -> None:
        """Count an answer; one that is wrong ends the load."""
        self.latencies.append(seconds)
        if not any(status in answer[:20] for status in self._expect) or (
            self._must_hold not in answer
        ):
            self.wrong = answer[:2000].decode(errors="replace")

    def lost(self, error: Exception | None) -> None:
        """Count a connection that ended."""
        self._open -= 1
        if error is not None:
            self.wrong = self.wrong or repr(error)
        if self._open == 0 and not self.done.done():
            self.done.set_result(None)


async def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Send one load; gives latencies, and seconds of wall and of this process's CPU."""
    loop = asyncio.get_running_loop()
    load = Load(spec)
    began_s, cpu_s = time.perf_counter(), time.process_time()
    for _ in range(spec["in_flight"]):
        await loop.create_connection(lambda: Line(load), "127.0.0.1", spec["port"])
    await load.done
    seconds = time.perf_counter() - began_s
    if not load.wrong and len(load.latencies) < spec["num"]:
        load.wrong = "a connection was closed early"
    return {
        "seconds": seconds,
        "cpu_s": time.process_time() - cpu_s,
        "latencies": load.latencies,
        "error": load.wrong,
    }


def main() -> None:
    """Serve loads until stdin ends."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin:
            print(json.dumps(runner.run(run(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
