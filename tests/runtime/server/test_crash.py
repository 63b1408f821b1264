"""Servers that are killed, stopped for a while or told to end: nothing is lost or done twice."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks import crash
from benchmarks.crash_check import Findings, calls_of, check, check_steps, read_lines
from gangline.runtime.store import open_store
from tests.postgres_server import PostgresServer

WAIT_S = 60.0
LEASE_S = 2.0
SHORT_LEASE = f"""
import sys
from gangline.runtime.execution import own_lease
from gangline.runtime.store import store
own_lease.LEASE_S = store.LEASE_S = {LEASE_S}
from gangline.runtime.cli import main
sys.exit(main())
"""


needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and prlimit")


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


@needs_linux
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
    calls = calls_of(read_lines(tmp_path / "effects"), {})
    with open_store(db) as store:
        logs = {job_id: store.raw_events(job_id) for job_id in jobs}
    for job_id, events in logs.items():
        check_steps(found, job_id, events, calls, {})
        assert events[-1].type in ("job.completed", "job.input_required")
    # A call that only reads may have been under way while it was stopped.
    del found.faults["steps_run_at_once"]
    assert not found.faults, found.told
    assert before > 100


@needs_linux
def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    """Submits get a problem that says what to do; with room again, all that was accepted ends."""
    db = tmp_path / "jobs.sqlite"
    with served(tmp_path, str(db)) as server:
        pid, port = server.process.pid, server.port
        jobs = submit(port, 20)
        wal = db.with_name("jobs.sqlite-wal").stat().st_size
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (wal + 100_000, resource.RLIM_INFINITY))
        refused: Any = None
        for number in range(200):
            tag = f"full{number}"
            metadata = {"key": tag, "pad": "x" * 400}
            body = {"workflow": "chain", "input": {"tag": tag}, "metadata": metadata}
            status, answer = crash.ask(port, "POST", "/v1/jobs", body)
            if status != 202:
                refused = status, answer
                break
            jobs.append(answer["id"])
        assert refused is not None
        status, problem = refused
        assert (status, problem["code"], problem["retryable"]) == (503, "store", True)
        assert "log" in problem["next_step"]

        def is_told() -> bool:
            # A small commit of a job that runs may still find room, and the store is well again.
            status, answer = crash.ask(port, "POST", "/v1/jobs", body)
            if status == 202:
                jobs.append(answer["id"])
            return bool(crash.ask(port, "GET", "/readyz")[0] == 503)

        until(is_told)
        assert crash.ask(port, "GET", f"/v1/jobs/{jobs[0]}")[0] == 200, "reads go on"
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        jobs += submit(port, 5, "after")
        confirmed, _ = crash.settle(port)
        assert crash.ask(port, "GET", "/readyz")[0] == 200
        assert server.stop() == 0
    with open_store(db) as store:
        found = check(store, tmp_path, {}, confirmed)
        assert {store.job(job_id).status for job_id in jobs} == {"succeeded"}
    assert not found.faults, found.told


def test_a_server_that_is_told_to_end_under_load_leaves_nothing_open(
    tmp_path: Path, db: str
) -> None:
    """SIGTERM again and again: exit status 0, and no write is cut off, so nobody is asked."""
    server = crash.Server(crash.free_port(), tmp_path, db)
    server.start()
    try:
        server.wait()
        with crash.loading(tmp_path, crash.Scene("", 1, 0, 1), [server]) as load:
            for more in (10, 400):
                wanted = lines(tmp_path) + more
                until(lambda wanted=wanted: lines(tmp_path) > wanted)  # type: ignore[misc]
                assert server.stop() == 0
                server.start()
            server.wait()
            told = json.loads(load.communicate(timeout=WAIT_S)[0])
        confirmed, asked = crash.settle(server.port)
        assert server.stop() == 0
    finally:
        server.kill()
    assert told["faults"] == []
    assert asked["unsafe_steps_in_flight"] == 0
    with open_store(db) as store:
        found = check(store, tmp_path, {}, confirmed)
    assert found.counts["accepted"] > 20
    assert not found.faults, found.told


def test_killed_servers_lose_nothing_and_repeat_nothing(tmp_path: Path, db: str) -> None:
    """The crash benchmark (`python -m benchmarks.crash`), short: two servers over one store."""
    name = "postgres" if db.startswith("postgresql:") else "sqlite"
    played = crash.play(crash.Scene(name, 1 + (name == "postgres"), 3, 11), tmp_path, db)
    assert not any(played["faults"].values()), played["told"]
    assert played["counts"]["accepted"] > 5
