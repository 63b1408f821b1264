"""Servers that are killed, stopped for a while or told to end: nothing is lost or done twice."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks import crash
from benchmarks.crash_check import Findings, calls_of, check_steps
from gangline.runtime.store import open_store
from tests.postgres_server import PostgresServer

WAIT_S = 60.0
LEASE_S = 2.0
SHORT_LEASE = f"""
import sys
from gangline.runtime.execution import leases
from gangline.runtime.store import store
leases.LEASE_S = store.LEASE_S = {LEASE_S}
from gangline.runtime.cli import main
sys.exit(main())
"""


class ShortLease(crash.Server):
    """A server that must give a sign of life every second or so."""

    def command(self) -> list[str]:
        _, _, _, *arguments = super().command()
        return [sys.executable, "-c", SHORT_LEASE, *arguments]


@pytest.fixture(params=["sqlite", "postgres"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "jobs.sqlite")
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_schema()


@contextmanager
def served(folder: Path, db: str, kind: type[crash.Server] = crash.Server) -> Iterator[Any]:
    server = kind(crash.free_port(), folder, db)
    server.start()
    try:
        server.wait()
        yield server
    finally:
        assert server.process is not None
        server.process.kill()
        server.process.wait()


def until(condition: Callable[[], object], seconds: float = WAIT_S) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def lines(folder: Path) -> int:
    path = folder / "effects"
    return len(path.read_text().splitlines()) if path.exists() else 0


def submit(port: int, count: int, name: str = "j") -> list[str]:
    found = []
    for number in range(count):
        workflow = crash.WORKFLOWS[number % 5]  # none that asks
        tag = f"{name}{number}"
        body = {"workflow": workflow, "input": {"tag": tag}, "metadata": {"key": tag}}
        status, job = crash.ask(port, "POST", "/v1/jobs", body)
        assert status == 202, job
        found.append(job["id"])
    return found


def halt(pid: int, db: str) -> None:
    """Stop a process at a moment at which it keeps nobody from writing."""
    while True:
        os.kill(pid, signal.SIGSTOP)
        until(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "T")
        writes = is_writing(db)
        time.sleep(0.05)  # what it sent before may still be on its way to the database
        if not writes and not is_writing(db):
            return
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.003)


def is_writing(db: str) -> bool:
    if not db.startswith("postgresql:"):
        with open(f"{db}.lock") as gate:
            try:
                fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False
    import psycopg

    query = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE application_name = 'gangline' AND state <> 'idle'"
    )
    with psycopg.connect(db) as line:
        row = line.execute(query).fetchone()
    return bool(row and row[0])


def test_a_server_that_was_stopped_for_longer_than_its_lease_does_nothing_again(
    tmp_path: Path, db: str
) -> None:
    """SIGSTOP, another one takes over, SIGCONT: the first one records and calls nothing more."""
    with served(tmp_path, db, ShortLease) as first, served(tmp_path, db, ShortLease) as second:
        jobs = submit(first.port, 60)
        until(lambda: lines(tmp_path) > 60)
        halt(first.process.pid, db)
        until(lambda: not any(crash.listed(second.port, status) for status in crash.OPEN))
        before = lines(tmp_path)
        os.kill(first.process.pid, signal.SIGCONT)
        until(lambda: first.answers())
        # It has looked at its lease when it takes a job again.
        (again,) = submit(first.port, 1, "again")
        until(lambda: crash.ask(first.port, "GET", f"/v1/jobs/{again}")[1]["status"] == "succeeded")
        assert first.stop() == 0 and second.stop() == 0
    found = Findings()
    calls = calls_of(crash_lines(tmp_path), {})
    with open_store(db) as store:
        logs = {job_id: store.raw_events(job_id) for job_id in jobs}
    for job_id, events in logs.items():
        check_steps(found, job_id, events, calls, {})
        assert events[-1].type in ("job.completed", "job.input_required")
    # A call that only reads may have been under way while it was stopped.
    del found.faults["steps_run_at_once"]
    assert not found.faults, found.told
    assert before > 100


def crash_lines(folder: Path) -> Any:
    import json

    return [json.loads(line) for line in (folder / "effects").read_text().splitlines()]
