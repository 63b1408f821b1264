"""Load for benchmarks/crash.py, in a process of its own: jobs without end, and what was promised.

`python crash_load.py FOLDER SEED JOBS_PER_S PORT...` submits until stdin ends, then repeats what
was not answered yet, and prints a summary. FOLDER/promised gets a synced line for each answer:
`[what, idempotency key, job's id, workflow, job's tag]`, where what is "accepted", "cancelled" or
"answered". What a server said is believed; that it is true is for crash_check.py to find out.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import sys
import threading
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

WORKFLOWS = ("chain", "writes", "quick", "fan", "wide", "asks")
ANSWER = "this one"
SENDERS = 12
AGAIN, FORSAKE, CANCEL, REPLY = 0.1, 0.2, 0.05, 0.5
"""How often a job is sent again though it was accepted, given up when the line breaks, cancelled,
and, where it asks something, answered while servers still die."""
PATIENCE_S = 90.0
"""How long unanswered submits are repeated once servers live."""


class Load:
    """What all senders share."""

    def __init__(self, folder: Path, seed: int, jobs_per_s: float, ports: list[int]) -> None:
        self.ports = ports
        self.seed = seed
        self.pause_s = SENDERS / jobs_per_s
        self.stopping = threading.Event()
        self.seen: Counter[str] = Counter()
        self.faults: list[str] = []
        self._lock = threading.Lock()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._file = os.open(folder / "promised", flags, 0o600)

    def promised(self, what: str, key: str, job_id: str, workflow: str, tag: str) -> None:
        """Note an answer; it is on disk when this returns."""
        os.write(self._file, f"{json.dumps([what, key, job_id, workflow, tag])}\n".encode())
        os.fsync(self._file)
        self.count(what)

    def count(self, what: str) -> None:
        """Count something."""
        with self._lock:
            self.seen[what] += 1

    def fault(self, what: str) -> None:
        """Note an answer that should not have been given."""
        with self._lock:
            if len(self.faults) < 20:
                self.faults.append(what)
            self.seen["faults"] += 1


class Sender:
    """One caller: it sends one request at a time, to whichever server answers."""

    def __init__(self, load: Load, number: int) -> None:
        self._load = load
        self._random = random.Random(f"{load.seed}/{number}")
        self._name = f"s{number}"
        self._line: http.client.HTTPConnection | None = None
        self._asking: deque[tuple[str, str, str, float]] = deque()

    def run(self) -> None:
        """Send until told to stop."""
        number = 0
        while not self._load.stopping.is_set():
            number += 1
            try:
                self._one(f"{self._name}-{number}")
                self._reply()
            except Exception as error:  # noqa: BLE001 (told by the parent)
                self._load.fault(f"{type(error).__name__}: {error}")
            self._load.stopping.wait(self._random.expovariate(1 / self._load.pause_s))

    def _one(self, tag: str) -> None:
        workflow, key = self._random.choice(WORKFLOWS), f"key-{self._load.seed}-{tag}"
        body = {"workflow": workflow, "input": {"tag": tag}, "metadata": {"key": key}}
        found = self._insist("/v1/jobs", body, key)
        if found is None:
            return
        job_id = str(found["id"])
        self._load.promised("accepted", key, job_id, workflow, tag)
        if self._random.random() < AGAIN:
            again = self._insist("/v1/jobs", body, key)
            if again is not None and again["id"] != job_id:
                self._load.fault(f"{key} gave {job_id}, then {again['id']}")
            self._load.count("sent again")
        if self._random.random() < CANCEL:
            status, found = self._send(f"/v1/jobs/{job_id}:cancel", {}, "")
            if status == 200 and found["status"] == "cancelled":
                self._load.promised("cancelled", key, job_id, workflow, tag)
        elif workflow == "asks" and self._random.random() < REPLY:
            self._asking.append((job_id, key, tag, time.monotonic() + 1.0))

    def _insist(self, path: str, body: dict[str, Any], key: str) -> dict[str, Any] | None:
        """Send until there is an answer, always with the same key; None if given up."""
        ends_s, forsaken = 0.0, self._random.random() < FORSAKE
        while True:
            status, found = self._send(path, body, key)
            if status in (200, 202):
                return found
            if status:
                self._load.count(f"status {status}")
                if status not in (429, 503):
                    self._load.fault(f"{status} {found}")
                    return None
            if self._load.stopping.is_set():
                # Invariant: from here on servers live, so that every key has an answer in the end.
                ends_s = ends_s or time.monotonic() + PATIENCE_S
                if time.monotonic() > ends_s:
                    self._load.fault(f"{key} was never answered: {status} {found}")
                    return None
            elif forsaken:
                self._load.count("given up")
                return None
            time.sleep(0.02)

    def _reply(self) -> None:
        if not self._asking or self._asking[0][3] > time.monotonic():
            return
        job_id, key, tag, _ = self._asking.popleft()
        body = {"interrupt": "ask", "value": ANSWER}
        status, _ = self._send(f"/v1/jobs/{job_id}:resume", body, "")
        if status == 200:
            self._load.promised("answered", key, job_id, "asks", tag)

    def _send(self, path: str, body: dict[str, Any], key: str) -> tuple[int, dict[str, Any]]:
        """Send a request; gives its status and document, or 0 where the line broke."""
        try:
            if self._line is None:
                port = self._random.choice(self._load.ports)
                self._line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            headers = {"content-type": "application/json"}
            if key:
                headers["idempotency-key"] = key
            self._line.request("POST", path, json.dumps(body), headers)
            answer = self._line.getresponse()
            text = answer.read()
            if answer.will_close or answer.status == 503:
                self._close()
            return answer.status, json.loads(text)
        except (OSError, http.client.HTTPException, ValueError):
            self._close()
            self._load.count("broken lines")
            return 0, {}

    def _close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


def main() -> None:
    """Submit until stdin ends."""
    folder, seed, rate, *ports = sys.argv[1:]
    load = Load(Path(folder), int(seed), float(rate), [int(port) for port in ports])
    senders = [Sender(load, number) for number in range(SENDERS)]
    threads = [threading.Thread(target=sender.run) for sender in senders]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    load.stopping.set()
    for thread in threads:
        thread.join()
    print(json.dumps({"seen": load.seen, "faults": load.faults}), flush=True)


if __name__ == "__main__":
    main()
