"""Kill `gangline serve` at random moments under load, and look what is lost or done twice.

    python -m benchmarks.crash --kills 200 --json

For each store (SQLite, PostgreSQL) one server, and two servers over one store, are killed with
SIGKILL and started anew while another process submits jobs without end: 5 to 400 ms after they
answer, one time in four before they do. In the end everything is left to finish, what writing
steps in flight ask a person is confirmed, and promises, calls of tools and logs are compared
(crash_check.py). Exit status 1 if there is any fault.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import platform
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.crash_check import KINDS, Findings, check
from benchmarks.crash_workflow import ANSWER
from gangline.runtime.store import open_store

HERE = Path(__file__).parent
RESULT = HERE / "results" / "crash.json"
WORKFLOWS = ("chain", "writes", "quick", "fan", "wide", "asks")
UP_S = (0.005, 0.4)
"""How long a server answers before it is killed."""
EARLY = 0.25
"""Share of kills that come before the server answers, while it starts or takes jobs over."""
START_S, SETTLE_S = 90.0, 240.0
OPEN = ("queued", "running")


@dataclass(frozen=True, slots=True)
class Scene:
    """What is killed: how many servers, over which kind of store, how often."""

    store: str
    servers: int
    kills: int
    seed: int

    @property
    def jobs_per_s(self) -> float:
        """How many jobs are sent while a server answers: one alone is up a tenth of the time."""
        return 400.0 if self.servers == 1 else 40.0


@dataclass(slots=True, eq=False)
class Server:
    """One server that is killed and started again, always on the same port."""

    port: int
    folder: Path
    db: str
    started_s: list[float] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    began_s: float = 0.0

    def command(self) -> list[str]:
        """Give the command line."""
        named = [f"{HERE / 'crash_workflow.py'}:{name}" for name in WORKFLOWS]
        flags = [word for name in named for word in ("--workflow", name)]
        place = ["--port", str(self.port), "--db", self.db]
        return [sys.executable, "-m", "gangline", "serve", *place, *flags]

    def start(self) -> None:
        """Start it, without waiting until it answers."""
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
        environment |= {"GANGLINE_HOME": str(self.folder), "GANGLINE_CACHE": str(self.folder)}
        environment["CRASH_EFFECTS"] = str(self.folder / "effects")
        with (self.folder / f"server-{self.port}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment,
            )
        self.began_s = time.monotonic()

    def wait(self) -> None:
        """Wait until it answers."""
        assert self.process is not None
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > self.began_s + START_S:
                log = (self.folder / f"server-{self.port}.log").read_text()
                raise RuntimeError(f"the server does not start: {log[-2000:]}")
            time.sleep(0.005)
        self.started_s.append(time.monotonic() - self.began_s)

    def answers(self) -> bool:
        """Say whether it does."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return ask(self.port, "GET", "/healthz")[0] == 200
        return False

    def kill(self) -> tuple[int, float]:
        """Kill it; gives its process id and when it was gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        return self.process.pid, time.time()

    def stop(self) -> int:
        """Have it stop in good order; gives its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(START_S)


def ask(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Send one request; OSError or HTTPException where nobody answers."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        text = None if body is None else json.dumps(body)
        line.request(method, path, text, {"content-type": "application/json"})
        answer = line.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        line.close()


def play(scene: Scene, folder: Path, db: str) -> dict[str, Any]:
    """Kill servers under load, let everything finish, and compare."""
    draw = random.Random(f"{scene.seed}/{scene.store}/{scene.servers}")
    servers = [Server(free_port(), folder, db) for _ in range(scene.servers)]
    died_s: dict[int, float] = {}
    began_s, early = time.monotonic(), 0
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait()
        with loading(folder, scene, servers) as load:
            for number in range(scene.kills):
                early += kill_one(draw, servers, died_s)
                print(f"\r{scene.store} x{scene.servers}: {number + 1}", end="", file=sys.stderr)
            print(file=sys.stderr)
            for server in servers:
                if not server.answers():
                    server.wait()
            told = json.loads(load.communicate(timeout=SETTLE_S)[0])
        killed_s = time.monotonic() - began_s
        confirmed, asked = settle(servers[0].port)
        codes = [server.stop() for server in servers]
    finally:
        for server in servers:
            if server.process is not None:
                server.process.kill()
                server.process.wait()
    with open_store(db) as store:
        found = check(store, folder, died_s, confirmed)
    for fault in told["faults"]:
        found.fault("wrong_answers", fault)
    if any(codes):
        found.fault("wrong_answers", f"servers that were asked to stop ended with {codes}")
    starts = [seconds for server in servers for seconds in server.started_s]
    return report(scene, found, told["seen"], asked, early, killed_s, starts)


def kill_one(draw: random.Random, servers: Sequence[Server], died_s: dict[int, float]) -> bool:
    """Kill a server at a random moment and start it anew; says whether it had not answered yet."""
    server = draw.choice(servers)
    early = draw.random() < EARLY
    if early:
        usual_s = server.started_s[-1] if server.started_s else 1.0
        wait_s = draw.random() * usual_s - (time.monotonic() - server.began_s)
        early = wait_s > 0
        time.sleep(max(wait_s, 0.0))
    if not early:
        server.wait()
        time.sleep(draw.uniform(*UP_S))
    pid, at_s = server.kill()
    died_s[pid] = at_s
    server.start()
    return early


@contextlib.contextmanager
def loading(
    folder: Path, scene: Scene, servers: Sequence[Server]
) -> Iterator[subprocess.Popen[str]]:
    """Have another process submit jobs; it ends when its stdin does."""
    ports = [str(server.port) for server in servers]
    arguments = [str(folder), str(scene.seed), str(scene.jobs_per_s), *ports]
    load = subprocess.Popen(
        [sys.executable, str(HERE / "crash_load.py"), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield load
    finally:
        load.kill()
        load.wait()


def settle(port: int) -> tuple[Counter[tuple[str, str]], Counter[str]]:
    """Let all jobs end: answer what they ask. Gives what was confirmed, and what was asked."""
    confirmed: Counter[tuple[str, str]] = Counter()
    asked: Counter[str] = Counter()
    ends_s = time.monotonic() + SETTLE_S
    while time.monotonic() < ends_s:
        waiting = listed(port, "input_required")
        for job_id in waiting:
            _, job = ask(port, "GET", f"/v1/jobs/{job_id}")
            if job["status"] == "input_required":
                decide(port, job, confirmed, asked)
        if not waiting and not any(listed(port, status) for status in OPEN):
            break
        time.sleep(0.05)
    return confirmed, asked


def decide(
    port: int, job: Mapping[str, Any], confirmed: Counter[tuple[str, str]], asked: Counter[str]
) -> None:
    """Answer a job's question, or confirm that its writing step may run again."""
    job_id, step_id = job["id"], job["interrupt"]["id"]
    if step_id == "ask":
        asked["questions"] += 1
        body = {"interrupt": step_id, "value": ANSWER}
        status, answer = ask(port, "POST", f"/v1/jobs/{job_id}:resume", body)
    else:
        asked["unsafe_steps_in_flight"] += 1
        confirmed[job_id, step_id] += 1
        if asked["unsafe_steps_in_flight"] % 2:
            body = {"rerun": sorted(name for owner, name in confirmed if owner == job_id)}
            status, answer = ask(port, "POST", f"/v1/jobs/{job_id}:retry", body)
        else:
            body = {"interrupt": step_id, "value": {"rerun": True}}
            status, answer = ask(port, "POST", f"/v1/jobs/{job_id}:resume", body)
    if status not in (200, 202):
        raise RuntimeError(f"{status}: {answer}")


def listed(port: int, status: str) -> list[str]:
    """Give the ids of jobs of a status, 200 at most."""
    _, page = ask(port, "GET", f"/v1/jobs?status={status}&limit=200")
    return [row["id"] for row in page["data"]]


def report(
    scene: Scene,
    found: Findings,
    seen: Mapping[str, int],
    asked: Mapping[str, int],
    early: int,
    killed_s: float,
    starts: Sequence[float],
) -> dict[str, Any]:
    """Give one scene's figures."""
    return {
        "store": scene.store,
        "servers": scene.servers,
        "kills": scene.kills,
        "kills_before_it_answered": early,
        "seconds": round(killed_s, 1),
        "start_s": round(sorted(starts)[len(starts) // 2], 2),
        "faults": {kind: found.faults[kind] for kind in KINDS},
        "counts": dict(sorted(found.counts.items())),
        "load": dict(sorted(seen.items())),
        "asked": dict(sorted(asked.items())),
        "told": found.told,
    }


@contextlib.contextmanager
def database(store: str, folder: Path) -> Iterator[str]:
    """Give the store's place: a file, or a PostgreSQL server of our own."""
    if store == "sqlite":
        yield str(folder / "jobs.sqlite")
        return
    from tests.postgres_server import PostgresServer

    with PostgresServer() as server:
        yield server.new_schema()


def free_port() -> int:
    """Find a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def scenes(kills: int, store: str, servers: str, seed: int) -> list[Scene]:
    """Share the kills out evenly."""
    stores = ("sqlite", "postgres") if store == "both" else (store,)
    numbers = (1, 2) if servers == "both" else (int(servers),)
    pairs = [(name, number) for name in stores for number in numbers]
    shares = [kills // len(pairs) + (n < kills % len(pairs)) for n in range(len(pairs))]
    return [
        Scene(name, number, share, seed)
        for (name, number), share in zip(pairs, shares, strict=True)
        if share
    ]


def measure(played: Sequence[Scene], keep: Path | None = None) -> dict[str, Any]:
    """Play scenes, each in a folder of its own; gives the document."""
    began_s, results = time.monotonic(), []
    for scene in played:
        folder = Path(tempfile.mkdtemp(prefix="gangline-crash-"))
        try:
            with database(scene.store, folder) as db:
                results.append(play(scene, folder, db))
        finally:
            if keep is not None:
                shutil.copytree(folder, keep / f"{scene.store}-{scene.servers}", dirs_exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
    faults = {kind: sum(result["faults"][kind] for result in results) for kind in KINDS}
    return {
        "kills": sum(result["kills"] for result in results),
        "accepted": sum(result["counts"].get("accepted", 0) for result in results),
        "faults": faults,
        "ok": not any(faults.values()),
        "seconds": round(time.monotonic() - began_s, 1),
        "seed": played[0].seed,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}",
        "scenes": results,
    }


def main() -> int:
    """Play and print; 1 if anything was lost or done twice."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="altogether, shared out evenly")
    parser.add_argument("--store", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--servers", choices=("1", "2", "both"), default="both")
    parser.add_argument("--seed", type=int, default=0, help="0 draws one")
    parser.add_argument("--quick", action="store_true", help="8 kills")
    parser.add_argument("--keep", action="store_true", help="write results/crash.json")
    parser.add_argument("--files", type=Path, help="keep stores, logs and calls there")
    parser.add_argument("--json", action="store_true", help="print one line")
    options = parser.parse_args()
    seed = options.seed or random.SystemRandom().randrange(1, 1_000_000)
    kills = 8 if options.quick else options.kills
    played = scenes(kills, options.store, options.servers, seed)
    document = measure(played, options.files)
    if options.keep:
        RESULT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=None if options.json else 2))
    return 0 if document["ok"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
