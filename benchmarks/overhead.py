"""What a step costs: gangline and its peers in one run, interleaved, beside the floor.

    python -m benchmarks.overhead [--rounds N] [--quick] [--no-peers] [--json] [--keep]

Every entrant is a process of its own that answers JSON lines; a round asks all of them once per
shape, so that a busy moment hits all. Figures are medians over rounds with the fastest and the
slowest; the first round warms up and is not counted. Nothing else should run meanwhile.

Durable means on disk: SQLite in WAL mode with synchronous FULL. Our commits are counted, and
where strace is there, so are the calls of fdatasync of one more run of the chain.

Peers live in environments of their own (`make bench-setup`): `.venv-bench-NAME` in this folder,
or where GANGLINE_BENCH_NAME points. One that is missing is reported as absent, with the reason.
With --keep the figures go to benchmarks/results/overhead.json.
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
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from benchmarks.overhead_entrants import OWN, PEERS, ROWS, SCALE, STEPS_PER_JOB, Row

HERE = Path(__file__).parent
RESULT = HERE / "results" / "overhead.json"
ROOT = HERE.parent
ANSWER_S = 600.0

LINEAR = 13.0
"""Most CPU seconds that ten times the work may take, in times of those of the work."""


class Entrant:
    """A child process that answers one request at a time."""

    def __init__(self, python: str, module: str, folder: str) -> None:
        environment = {**os.environ, "OVERHEAD_FOLDER": folder, "PYTHONPATH": str(ROOT)}
        self._child = subprocess.Popen(
            [python, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            cwd=folder,
        )
        try:
            self.about: dict[str, Any] = self._answer()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._child.stdin.close()  # type: ignore[union-attr]
        try:
            self._child.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._child.kill()
        self._child.stdout.close()  # type: ignore[union-attr]

    def ask(self, case: str, num: int) -> dict[str, Any]:
        """Have a case run once."""
        assert self._child.stdin is not None
        print(json.dumps({"case": case, "num": num}), file=self._child.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended with code {self._child.wait(timeout=30)}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print one document, and keep it if asked."""
    parser = argparse.ArgumentParser(description="What a step costs, beside the floor and peers.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="small sizes, for tests")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--no-scale", action="store_true", help="leave the 100,000 steps out")
    parser.add_argument("--json", action="store_true", help="one line")
    parser.add_argument("--keep", action="store_true", help="write the result file")
    options = parser.parse_args(arguments)
    folder = tempfile.mkdtemp(prefix="gangline-overhead-")
    try:
        document = measured(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.keep:
        RESULT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=None if options.json else 1))
    return 0


def measured(options: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Run everything, and give the document."""
    with ExitStack() as open_entrants:
        entrants, absent = start(folder, not options.no_peers, open_entrants)
        rows = [row for row in ROWS if row.process in entrants]
        rounds = [one_round(rows, entrants, options.quick) for _ in range(options.rounds + 1)][1:]
        about = {name: entrant.about.get("about", {}) for name, entrant in entrants.items()}
    figures = [figure(row, [done[index] for done in rounds]) for index, row in enumerate(rows)]
    ratio = ratios(rows, rounds)
    scale = {} if options.no_scale else scaled(folder, options.quick)
    syncs = counted_syncs(folder, 20 if options.quick else 200)
    return {
        "figures": figures,
        "durable_chain_over_bare_commit": ratio,
        "scale": scale,
        "syncs": syncs,
        "targets": targets(figures, ratio, scale),
        "absent": absent,
        "rounds": options.rounds,
        "quick": options.quick,
        "versions": about,
        **conditions(),
    }


def start(
    folder: str, with_peers: bool, stack: ExitStack
) -> tuple[dict[str, Entrant], dict[str, str]]:
    """Start every entrant there is; give the others with the reason."""
    entrants = {
        name: stack.enter_context(Entrant(sys.executable, module, folder))
        for name, module in OWN.items()
    }
    absent: dict[str, str] = {}
    for name, (environment, module) in PEERS.items():
        python = peer_python(name, environment)
        if not with_peers:
            absent[name] = "left out by --no-peers"
        elif not python.exists():
            absent[name] = f"no {environment}: run make bench-setup"
        else:
            try:
                entrants[name] = stack.enter_context(Entrant(str(python), module, folder))
            except (RuntimeError, OSError, ValueError) as error:
                absent[name] = f"does not start: {error}"
    return entrants, absent


def peer_python(name: str, environment: str) -> Path:
    """Give the interpreter of a peer's environment."""
    base = os.environ.get(f"GANGLINE_BENCH_{name.upper()}")
    return (Path(base) if base else ROOT / environment) / "bin" / "python"


def one_round(rows: Sequence[Row], entrants: dict[str, Entrant], quick: bool) -> list[Any]:
    """Ask every entrant once per figure."""
    return [entrants[row.process].ask(row.case, row.quick if quick else row.num) for row in rows]


def figure(row: Row, answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Fold the rounds of one figure: milliseconds per step, steps and jobs per second."""
    shown = {"shape": row.shape, "entrant": row.label}
    failed = [answer["error"] for answer in answers if "error" in answer]
    if failed:
        return {**shown, "error": failed[0]}
    num = answers[0].get("num", row.num)
    wall = [per_step_ms(row, answer, num) for answer in answers]
    cpu = [per_step_ms(row, answer, num, "cpu_s") for answer in answers]
    median = statistics.median(wall)
    folded = {
        **shown,
        "ms_per_step": median,
        "fastest": min(wall),
        "slowest": max(wall),
        "cpu_ms_per_step": statistics.median(cpu),
        "steps_per_s": 1e3 / median,
        "steps": num * row.units,
        "rss_peak_mb": max(answer["rss_peak_mb"] for answer in answers),
    }
    if row.units > 1:
        folded["jobs_per_s"] = 1e3 / median / row.units
    if answers[0].get("commits"):
        commits = statistics.median(answer["commits"] for answer in answers)
        folded["commits_per_step"] = commits / (num * row.units)
    return folded


def per_step_ms(row: Row, answer: dict[str, Any], num: int, key: str = "wall_s") -> float:
    """Give milliseconds per step of one answer."""
    return 1e3 * float(answer[key]) / (num * row.units)


def ratios(rows: Sequence[Row], rounds: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """Divide every durable chain by the bare FULL commits of the same round."""
    shape = "durable chain, a commit per step"
    at = {row.label: index for index, row in enumerate(rows) if row.shape == shape}
    floor = at["bare SQLite FULL commits"]
    found: dict[str, Any] = {}
    for label, index in at.items():
        pairs = [(done[index], done[floor]) for done in rounds if "error" not in done[index]]
        values = [
            per_step_ms(rows[index], ours, ours["num"])
            / per_step_ms(rows[floor], bare, bare["num"])
            for ours, bare in pairs
        ]
        if values:
            found[label] = {
                "median": statistics.median(values),
                "least": min(values),
                "most": max(values),
            }
    return found


def scaled(folder: str, quick: bool) -> dict[str, Any]:
    """Run two sizes of each shape, every one in a fresh process; give time and memory."""
    found: dict[str, Any] = {}
    for name, (case, small, large) in SCALE.items():
        sizes = (small // 50, large // 50) if quick else (small, large)
        answers = []
        for num in sizes:
            with Entrant(sys.executable, OWN["gangline"], folder) as entrant:
                entrant.ask(case, max(2, sizes[0] // 10))  # imports and first calls
                answers.append(entrant.ask(case, num))
        less, more = answers
        failed = [answer["error"] for answer in answers if "error" in answer]
        if failed:
            found[name] = {"error": failed[0]}
            continue
        grown_mb = more["rss_peak_mb"] - more["rss_before_mb"]
        found[name] = {
            "steps": sizes[1],
            "seconds": more["wall_s"],
            "cpu_ms_per_step": 1e3 * more["cpu_s"] / sizes[1],
            "times_a_tenth": more["wall_s"] / less["wall_s"],
            "times_a_tenth_cpu": more["cpu_s"] / less["cpu_s"],
            "grown_mb": grown_mb,
            "grown_bytes_per_step": grown_mb * 2**20 / sizes[1],
        }
    return found


def counted_syncs(folder: str, num: int) -> dict[str, Any]:
    """Count fdatasync and fsync of one durable chain, its start and its end included."""
    strace = shutil.which("strace")
    if strace is None:
        return {"absent": "strace is not installed; commits are counted above"}
    log = Path(folder) / "syncs.txt"
    ours = [sys.executable, "-m", OWN["gangline"], "--once", "write_chain_inline", str(num)]
    command = [strace, "-f", "-qq", "-e", "trace=fdatasync,fsync", "-o", str(log), *ours]
    environment = {**os.environ, "OVERHEAD_FOLDER": folder, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command,
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=ANSWER_S,
        check=False,
    )
    if done.returncode != 0:
        return {"absent": f"strace failed: {done.stderr.strip()[-200:]}"}
    calls = len(re.findall(r"f(?:data)?sync\(", log.read_text(encoding="utf-8")))
    return {"steps": num, "syncs": calls, "syncs_per_step": calls / num}


def targets(
    figures: Iterable[dict[str, Any]], ratio: dict[str, Any], scale: dict[str, Any]
) -> list[dict[str, Any]]:
    """Hold the figures against what we set out to reach."""
    by = {(row["shape"], row["entrant"]): row for row in figures if "error" not in row}
    chain = by["chain in memory", "gangline, inline tools"]
    fan = by["fan-out in memory", "gangline, tools on threads"]
    jobs = by["durable five-step jobs", "gangline, tools on threads"]
    durable = ratio["gangline, writing inline tools"]["median"]
    rows: list[tuple[str, float, float, bool]] = [
        ("chain in memory, ms per step", chain["ms_per_step"], 0.05, False),
        ("chain in memory, CPU ms per step", chain["cpu_ms_per_step"], 0.03, False),
        ("fan-out of 1,000 and join, ms", fan["ms_per_step"] * 1000, 60.0, False),
        ("durable chain, times the bare commit", durable, 1.3, False),
        ("durable steps per second", jobs["steps_per_s"], 5000.0, True),
        ("durable five-step jobs per second", jobs["steps_per_s"] / STEPS_PER_JOB, 1000.0, True),
    ]
    rows += [
        (f"{name}: ten times the work, times the CPU", row["times_a_tenth_cpu"], LINEAR, False)
        for name, row in scale.items()
        if "error" not in row
    ]
    return [
        {
            "target": name,
            "value": value,
            "limit": limit,
            "met": value >= limit if at_least else value <= limit,
        }
        for name, value, limit, at_least in rows
    ]


def conditions() -> dict[str, Any]:
    """Say where and with what this was measured."""
    return {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": platform.platform(terse=True),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load_1min": os.getloadavg()[0],
    }


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found.group(1) if found else platform.machine()


if __name__ == "__main__":
    sys.exit(main())
