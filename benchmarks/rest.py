"""Jobs of five steps over HTTP, ours and peers', against bare commits measured in the same run.

    python -m benchmarks.rest [--rounds N] [--quick] [--peer NAME=FOLDER]... [--json] [--keep]

- `one_at_a_time`: submit a job and wait for its result, one after the other on one connection.
- `in_flight_32`: the same on 32 connections at once; jobs per second.
- `submits`: submit only, 32 connections, each request with an Idempotency-Key of its own; accepted
  per second while the jobs run beside it, and the time until all of them are done.
- `floor`: one bare SQLite commit (WAL, synchronous=FULL) of one row, on the same disk.
- `cold_start`: a new process until its first answer and until a job's result, and its memory then.
- `syncs`: commits of our store for some jobs, and the calls of fdatasync that strace sees.

Each peer has its turn with us and the floor, in rounds that alternate, so that a busy moment hits
all of them; one peer runs at a time. The load comes from a process of its own on the same machine.
Peers live in virtual environments beside the repository (`make bench-setup`), where
GANGLINE_BENCH_NAME points or where --peer says; one that is absent is listed with the reason. With
--keep the figures go to benchmarks/results/rest.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from benchmarks.rest_servers import KINDS, Kind, Server, about, job, python_of

HERE = Path(__file__).parent
RESULT = HERE / "results" / "rest.json"
PAYLOAD = "x" * 300
ONE, MANY, SUBMITS, COMMITS, IN_FLIGHT = 60, 320, 1000, 60, 32
PACKAGES = {
    "gangline": ("starlette", "uvicorn", "uvloop", "pydantic"),
    "dbos": ("dbos", "starlette", "uvicorn"),
    "ray-serve": ("ray",),
    "langgraph-dev": ("langgraph", "langgraph-api"),
}
COLD_STARTS = 3
COUNTED_JOBS = 20
FULL = 2
"""What SQLite answers to `PRAGMA synchronous` where every commit waits for the disk."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--peer", action="append", default=[], help="NAME=FOLDER of its environment"
    )
    parser.add_argument("--only", action="append", default=[], help="measure these peers only")
    parser.add_argument("--quick", action="store_true", help="one round, no peers, for tests")
    parser.add_argument("--json", action="store_true", help="print one line")
    parser.add_argument("--keep", action="store_true", help="write the result file")
    options = parser.parse_args()
    folders = dict(pair.split("=", 1) for pair in options.peer)
    only = ["none"] if options.quick else options.only
    document = {
        **measure(1 if options.quick else options.rounds, folders, only),
        "quick": options.quick,
    }
    if options.keep:
        RESULT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=None if options.json else 2))
    return 0


def measure(rounds: int, folders: Mapping[str, str], only: Sequence[str]) -> dict[str, Any]:
    """Measure everything, in temporary folders."""
    with tempfile.TemporaryDirectory(prefix="gangline-rest-") as place, Loader() as loader:
        cold = cold_starts(Path(place))
        syncs = counted_syncs(Path(place), loader)
        alone = Rounds(Path(place), loader, None).measure(rounds)
        peers: dict[str, Any] = {}
        for kind in KINDS.values():
            if kind.name == "gangline" or (only and kind.name not in only):
                continue
            peers[kind.name] = beside(kind, folders, Path(place), loader, rounds)
    ours = alone["gangline"]
    return {
        "gangline": {**ours, "cold_start": cold},
        "floor_commit_ms": alone["floor"]["p50_ms"],
        "targets": targets(ours, alone["floor"]["p50_ms"], cold),
        "syncs": syncs,
        "peers": peers,
        **conditions(rounds),
    }


def beside(
    kind: Kind, folders: Mapping[str, str], place: Path, loader: Loader, rounds: int
) -> dict[str, Any]:
    """Measure a peer in turns with us; or say why it cannot be."""
    python = python_of(kind, folders)
    if python is None:
        return {"absent": f"there is no {kind.environment}"}
    try:
        found = Rounds(place, loader, kind, python).measure(rounds)
    except (RuntimeError, OSError) as error:
        return {"absent": str(error)[:500]}
    return {**found, "packages": about(python, PACKAGES[kind.name]), "durable": kind.durable}


def targets(ours: Mapping[str, Any], floor_ms: float, cold: Mapping[str, Any]) -> dict[str, Any]:
    """Compare with what was set out to reach."""
    one, limit_ms = ours["one_at_a_time"], 6 * floor_ms + 3
    rows = {
        "p50_ms": (one["p50_ms"], limit_ms, one["p50_ms"] <= limit_ms),
        "p99_ms": (one["p99_ms"], 25.0, one["p99_ms"] <= 25.0),
        "jobs_per_s": (ours["in_flight_32"]["per_s"], 500, ours["in_flight_32"]["per_s"] >= 500),
        "submits_per_s": (ours["submits"]["per_s"], 2000, ours["submits"]["per_s"] >= 2000),
        "first_answer_s": (cold["first_answer_s"], 1.5, cold["first_answer_s"] <= 1.5),
        "cold_start_s": (cold["wall_s"], 1.5, cold["wall_s"] <= 1.5),
        "idle_rss_mb": (cold["rss_mb"], 120, cold["rss_mb"] <= 120),
    }
    return {
        name: {"is": value, "target": target, "met": met}
        for name, (value, target, met) in rows.items()
    }


def cold_starts(place: Path) -> dict[str, float]:
    """Start our server several times, each with a new store."""
    found = []
    for number in range(COLD_STARTS):
        folder = place / f"cold{number}"
        folder.mkdir()
        with Server(KINDS["gangline"], sys.executable, folder) as server:
            found.append((server.answer_s, server.cold_s, server.cold_cpu_s, server.rss_mb()))
    answer, wall, cpu, rss = (statistics.median(column) for column in zip(*found, strict=True))
    return {"first_answer_s": answer, "wall_s": wall, "cpu_s": cpu, "rss_mb": rss}


def counted_syncs(place: Path, loader: Loader) -> dict[str, Any]:
    """Count commits of our store and syncs of the disk for a few jobs, one after the other."""
    folder = place / "counted"
    folder.mkdir()
    strace, kind, log = shutil.which("strace"), KINDS["gangline"], folder / "syncs.txt"
    if strace is not None:
        watched = [strace, "-f", "-qq", "-e", "trace=fdatasync,fsync", "-o", str(log)]
        kind = replace(kind, command=lambda *given: [*watched, *KINDS["gangline"].command(*given)])
    with Server(kind, sys.executable, folder) as server:
        before, calls = commits_of(server), num_syncs(log)
        loader.send(server, kind.body, COUNTED_JOBS, 1)
        commits_made, calls = commits_of(server) - before, num_syncs(log) - calls
    found: dict[str, Any] = {"jobs": COUNTED_JOBS, "commits": commits_made}
    if strace is None:
        return {**found, "absent": "strace is not installed"}
    return {**found, "syncs": calls, "syncs_per_commit": calls / commits_made}


def num_syncs(log: Path) -> int:
    """Count the calls that strace has written down so far."""
    if not log.exists():
        return 0
    return len(re.findall(r"f(?:data)?sync\(", log.read_text(encoding="utf-8")))


def commits_of(server: Server) -> int:
    """Ask our server how many transactions its store has committed."""
    found = re.search(
        r"^gangline_store_commits_total(?:{.*})? (\S+)$", server.ask("/metrics"), re.MULTILINE
    )
    if found is None:
        raise RuntimeError("the server does not tell how many transactions it has committed")
    return int(float(found.group(1)))


class Loader:
    """The load generator's process."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "benchmarks.rest_load"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, cwd=HERE.parent
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def send(self, server: Server, body: str, num: int, in_flight: int, **more: Any) -> Any:
        """Send a load; RuntimeError for an answer that is wrong."""
        kind = server.kind
        spec = {"port": server.port, "path": kind.path, "body": body, "num": num}
        spec |= {"in_flight": in_flight, "expect": [200], "must_hold": kind.holds, **more}
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(spec), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        if answer["error"]:
            raise RuntimeError(f"{kind.name} answered {answer['error']}")
        return answer


class Rounds:
    """Measurements in turns: the floor, us, and a peer if there is one."""

    def __init__(self, place: Path, loader: Loader, peer: Kind | None, python: str = "") -> None:
        self._place = place / (peer.name if peer else "alone")
        self._place.mkdir()
        self._loader = loader
        self._peer = peer
        self._python = python
        self._taken: dict[str, dict[str, list[Any]]] = {}

    def measure(self, rounds: int) -> dict[str, Any]:
        """Start the servers, measure and give what each of them took."""
        (self._place / "ours").mkdir()
        with Server(KINDS["gangline"], sys.executable, self._place / "ours") as server:
            if self._peer is None:
                return self._turns([server], rounds)
            (self._place / "peer").mkdir()
            with Server(self._peer, self._python, self._place / "peer") as other:
                found = self._turns([server, other], rounds)
                found[self._peer.name]["rss_mb"] = other.rss_mb()
                found[self._peer.name]["cold_start_s"] = other.cold_s
                return found

    def _turns(self, servers: Sequence[Server], rounds: int) -> dict[str, Any]:
        for server in servers:
            self._loader.send(server, server.kind.body, IN_FLIGHT, 4)  # warm
        for _ in range(rounds):
            self._keep("floor", "one", commits(self._place, COMMITS))
            for server in servers:
                self._turn(server)
        return {name: summary(taken) for name, taken in self._taken.items()}

    def _turn(self, server: Server) -> None:
        kind, alone = server.kind, self._peer is None
        many = max(round(MANY * kind.share), IN_FLIGHT)
        num, before_s = round(ONE * kind.share), server.cpu_s()
        one = self._loader.send(server, kind.body, num, 1)
        self._keep(kind.name, "one", one["latencies"])
        between_s = server.cpu_s()
        self._keep(kind.name, "one_cpu", [1e3 * (between_s - before_s) / num])
        sent = self._loader.send(server, kind.body, many, IN_FLIGHT)
        self._keep(kind.name, "many_cpu", [1e3 * (server.cpu_s() - between_s) / many])
        self._keep(kind.name, "many", [many / sent["seconds"]])
        self._keep(kind.name, "many_latency", sent["latencies"])
        if kind.name == "gangline" and alone:
            inline = self._loader.send(server, job("five_inline", "wait"), ONE, 1)
            self._keep(kind.name, "inline", inline["latencies"])
        if kind.accept_body:
            self._submits(server)

    def _submits(self, server: Server) -> None:
        kind = server.kind
        num = round(SUBMITS * kind.share)
        began_s = time.perf_counter()
        more = {"expect": [202], "must_hold": "", "keyed": True}
        sent = self._loader.send(server, kind.accept_body, num, IN_FLIGHT, **more)
        self._keep(kind.name, "submits", [num / sent["seconds"]])
        self._keep(kind.name, "submit_latency", sent["latencies"])
        if kind.name == "gangline":
            drain(server)
            self._keep(kind.name, "drained", [num / (time.perf_counter() - began_s)])
        else:
            # The next measurement begins when the last job of this one is done, or close to it.
            self._loader.send(server, kind.body, IN_FLIGHT, IN_FLIGHT)

    def _keep(self, name: str, what: str, values: Sequence[float]) -> None:
        self._taken.setdefault(name, {}).setdefault(what, []).append(list(values))


def drain(server: Server) -> None:
    """Wait until no job waits or runs."""
    for status in ("queued", "running"):
        while json.loads(server.ask(f"/v1/jobs?limit=1&status={status}"))["data"]:
            time.sleep(0.01)


def commits(place: Path, num: int) -> list[float]:
    """Seconds of bare commits of one row each, WAL and synchronous=FULL."""
    connection = sqlite3.connect(place / "floor.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    assert connection.execute("PRAGMA synchronous").fetchone() == (FULL,)
    connection.execute("CREATE TABLE IF NOT EXISTS steps (id INTEGER PRIMARY KEY, data TEXT)")
    taken = []
    for _ in range(num):
        began_s = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO steps (data) VALUES (?)", (PAYLOAD,))
        connection.execute("COMMIT")
        taken.append(time.perf_counter() - began_s)
    connection.close()
    return taken


def summary(taken: Mapping[str, list[list[float]]]) -> dict[str, Any]:
    """Give medians and percentiles of what was taken; rates are medians over the rounds."""
    found: dict[str, Any] = {}
    if "many" in taken:
        found["one_at_a_time"] = latency(taken["one"])
        found["in_flight_32"] = {**rate(taken["many"]), **latency(taken["many_latency"])}
        for name, cpu in (("one_at_a_time", "one_cpu"), ("in_flight_32", "many_cpu")):
            each = [value for values in taken[cpu] for value in values]
            found[name]["server_cpu_ms_per_job"] = statistics.median(each)
    else:
        found = latency(taken["one"])
    if "inline" in taken:
        found["one_at_a_time_inline_tools"] = latency(taken["inline"])
    if "submits" in taken:
        found["submits"] = {**rate(taken["submits"]), **latency(taken["submit_latency"])}
    if "drained" in taken:
        found["submits"]["done_per_s"] = rate(taken["drained"])["per_s"]
    return found


def latency(rounds: Sequence[Sequence[float]]) -> dict[str, float]:
    """Give p50, p95 and p99 in milliseconds over all rounds, and the best round's p50."""
    every = sorted(value for values in rounds for value in values)

    def at(share: float) -> float:
        return 1e3 * every[min(int(share * len(every)), len(every) - 1)]

    best = min(statistics.median(values) for values in rounds)
    return {"p50_ms": at(0.5), "p95_ms": at(0.95), "p99_ms": at(0.99), "best_p50_ms": 1e3 * best}


def rate(rounds: Sequence[Sequence[float]]) -> dict[str, float]:
    """Give the median and the best rate of all rounds."""
    every = [value for values in rounds for value in values]
    return {"per_s": statistics.median(every), "best_per_s": max(every)}


def conditions(rounds: int) -> dict[str, Any]:
    """Say where and with what this was measured."""
    return {
        "rounds": rounds,
        "per_round": {"one": ONE, "in_flight_32": MANY, "submits": SUBMITS, "commits": COMMITS},
        "python": platform.python_version(),
        "packages": about(sys.executable, PACKAGES["gangline"]),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load_1min": os.getloadavg()[0],
    }


if __name__ == "__main__":
    sys.exit(main())
