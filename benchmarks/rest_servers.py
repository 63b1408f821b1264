"""The servers that benchmarks/rest.py compares: how each is started, asked and stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).parent
START_S = 90.0
INPUT = {"x": 0}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of server.

    Attributes:
        command: gives the command line, from a port and a folder of its own.
        environment: the folder of its virtual environment beside the repository; "" is this one.
        body: the request that runs five steps and waits for the result, which `holds` tells.
        accept_body: the request that is only accepted (status 202); "" where there is none.
        durable: what is on disk when a job's result is sent.
        health: a path that answers as soon as the server does; "" where none is measured.
        share: of the requests that are sent to us, for peers that take seconds for as many.
    """

    name: str
    command: Callable[[str, int, Path], Sequence[str]]
    environment: str
    path: str
    body: str
    holds: str
    accept_body: str = ""
    durable: str = ""
    health: str = ""
    share: float = 1.0


def ours(python: str, port: int, folder: Path) -> Sequence[str]:
    """Start gangline."""
    workflows = [f"{HERE / 'rest_workflow.py'}:{name}" for name in ("five", "five_inline")]
    named = [word for workflow in workflows for word in ("--workflow", workflow)]
    store = str(folder / "jobs.sqlite")
    return [python, "-m", "gangline", "serve", "--port", str(port), "--db", store, *named]


def langgraph(python: str, port: int, folder: Path) -> Sequence[str]:
    """Start LangGraph's development server, with as many workers as requests come at once."""
    (folder / "rest_langgraph.py").write_text((HERE / "rest_langgraph.py").read_text())
    config = {"dependencies": ["."], "graphs": {"five": "./rest_langgraph.py:graph"}}
    (folder / "langgraph.json").write_text(json.dumps(config))
    program = str(Path(python).parent / "langgraph")
    options = ["--no-browser", "--no-reload", "--n-jobs-per-worker", "32", "--port", str(port)]
    return [program, "dev", "--config", str(folder / "langgraph.json"), *options]


def script(name: str) -> Callable[[str, int, Path], Sequence[str]]:
    """Start a script of this folder with a port and a folder."""
    return lambda python, port, folder: [python, str(HERE / name), str(port), str(folder)]


def job(workflow: str, mode: str) -> str:
    """Give a request for one of our jobs."""
    return json.dumps({"workflow": workflow, "input": INPUT, "mode": mode})


FULL = "every job and step, SQLite WAL, synchronous=FULL"
KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "gangline",
            ours,
            "",
            "/v1/jobs",
            job("five", "wait"),
            '"status":"succeeded"',
            job("five", "background"),
            FULL,
            "/healthz",
        ),
        Kind(
            "dbos",
            script("rest_dbos.py"),
            ".venv-bench-dbos",
            "/jobs",
            json.dumps({"input": INPUT}),
            '"output":5',
            json.dumps({"input": INPUT, "wait": False}),
            share=0.1,
            durable="every job and step, SQLite as DBOS sets it up; behind Starlette",
        ),
        Kind(
            "ray-serve",
            script("rest_ray.py"),
            ".venv-bench-ray",
            "/jobs",
            json.dumps({"input": INPUT}),
            '"output":5',
            durable="nothing: five calls in the handler of one replica",
        ),
        Kind(
            "langgraph-dev",
            langgraph,
            ".venv-bench-langgraph",
            "/runs/wait",
            json.dumps({"assistant_id": "five", "input": INPUT}),
            '"x":5',
            share=0.1,
            durable="in memory, written to a file now and then (langgraph dev; by its code it looks "
            "for work every 0.5 s)",
        ),
    )
}


class Server:
    """One server that runs, in a process group of its own. Use as a context manager."""

    def __init__(self, kind: Kind, python: str, folder: Path) -> None:
        self.kind = kind
        self.port = free_port()
        self._log = (folder / "server.log").open("wb")
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
        environment |= {"GANGLINE_HOME": str(folder), "GANGLINE_CACHE": str(folder)}
        environment |= {"RAY_USAGE_STATS_ENABLED": "0", "LANGSMITH_TRACING": "false"}
        self.answer_s = 0.0
        self._began_s = began_s = time.perf_counter()
        self.process = subprocess.Popen(
            kind.command(python, self.port, folder),
            stdout=self._log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        try:
            self._first_answer()
            self.cold_s = time.perf_counter() - began_s
            self.cold_cpu_s = cpu_s(self.process.pid)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _first_answer(self) -> None:
        """Wait until a job's result comes back."""
        until = time.perf_counter() + START_S
        while time.perf_counter() < until:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.kind.name} ended with {self.process.returncode}")
            try:
                if self.kind.health and not self.answer_s:
                    self.ask(self.kind.health)
                    self.answer_s = time.perf_counter() - self._began_s
                answer = self.ask(self.kind.path, self.kind.body)
            except OSError:
                time.sleep(0.005)
                continue
            if self.kind.holds in answer:
                return
            raise RuntimeError(f"{self.kind.name} answered {answer[:500]}")
        raise RuntimeError(f"{self.kind.name} did not answer within {START_S:g} s")

    def ask(self, path: str, body: str | None = None) -> str:
        """Send one request; OSError (of which HTTP errors are some) where there is no answer."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if body is None else body.encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            text: str = answer.read().decode()
        return text

    def rss_mb(self) -> float:
        """Give the memory of the server's process and of all that it started, in MB."""
        return sum(_rss_kb(pid) for pid in _family(self.process.pid)) / 1000

    def cpu_s(self) -> float:
        """Give the CPU seconds so far of the server's process and of all that it started."""
        return sum(cpu_s(pid) for pid in _family(self.process.pid))

    def stop(self) -> None:
        """End the server and all that it started."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(15)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._log.close()


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
    return port


def cpu_s(pid: int) -> float:
    """CPU seconds of a running process so far, from /proc; 0 for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _family(pid: int) -> list[int]:
    found = [pid]
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == pid and int(path.parent.name) != pid:  # its session is the server's
            found.append(int(path.parent.name))
    return found


def _rss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def python_of(kind: Kind, given: Mapping[str, str]) -> str | None:
    """Give the Python of a kind's environment: as named on the command line, by the variable
    GANGLINE_BENCH_NAME (as benchmarks/overhead.py has it), or beside the repository; None where
    there is none."""
    if not kind.environment:
        return sys.executable
    name = kind.environment.removeprefix(".venv-bench-").upper()
    set_ = os.environ.get(f"GANGLINE_BENCH_{name}") or HERE.parent / kind.environment
    folder = Path(given.get(kind.name, set_))
    python = folder / "bin" / "python"
    return str(python) if python.exists() else None


def about(python: str, packages: Sequence[str]) -> Any:
    """Ask an environment which versions it has."""
    code = (
        "import json, sys; from importlib import metadata; "
        "print(json.dumps({name: metadata.version(name) for name in sys.argv[1:]}))"
    )
    done = subprocess.run(
        [python, "-c", code, *packages], check=False, capture_output=True, text=True
    )
    return json.loads(done.stdout) if done.returncode == 0 else {}
