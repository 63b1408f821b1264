"""What the store does when the disk, the database or its users fail: say so, and go on."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gangline.ir.errors import StoreError
from gangline.ir.specs.event import Event
from gangline.runtime.store import Store, open_store, postgres
from gangline.runtime.store.postgres import PostgresDatabase
from gangline.runtime.store.sqlite import SqliteDatabase
from tests.postgres_server import PostgresServer

Make = Callable[..., Event]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.getcwd()}


def step(seq: int, job_id: str = "a", **data: Any) -> Event:
    return Event(job_id, seq, "step.completed", 100.0, "s", data)


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


DISK_FULL = """
import resource, signal, sys
from pathlib import Path
from gangline.ir.errors import StoreError
from gangline.ir.specs.event import Event
from gangline.runtime.store import open_store

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
with open_store(path) as store:
    store.create(Event("a", 1, "job.queued", 0.0), "w", "me").result()
    wal = path.with_name(path.name + "-wal")
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal.stat().st_size + 20_000, -1))
    event = Event("a", 2, "step.completed", 0.0, "s", {"value": "x" * 200_000})
    tickets = [store.append("a", [event], 1)]
    tickets.append(store.create(Event("b", 1, "job.queued", 0.0), "w", "me"))
    errors = [ticket.exception() for ticket in tickets]
    assert isinstance(errors[0], StoreError), errors
    assert not store.healthy()
    assert len(store.events("a")) == 1, "reads go on, and nothing is half there"
    resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    store.append("a", [event], 1).result()
    if errors[1] is not None:
        store.create(Event("b", 1, "job.queued", 0.0), "w", "me").result()
    assert store.healthy()
with open_store(path) as store:
    assert len(store.events("a")) == 2 and len(store.events("b")) == 1
print("fine")
"""


def test_a_full_disk_fails_what_is_written_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DISK_FULL, str(tmp_path / "home" / "jobs.sqlite")]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.stdout == "fine\n", done.stderr


def test_a_read_only_database_is_an_error_until_it_is_not(store: Store, queued: Make) -> None:
    store.create(queued(), "w", "me").result()
    if isinstance(store.database, PostgresDatabase):
        how = "SET SESSION CHARACTERISTICS AS TRANSACTION READ {}"
        read_only, writable = how.format("ONLY"), how.format("WRITE")
    else:
        read_only, writable = "PRAGMA query_only = ON", "PRAGMA query_only = OFF"
    assert isinstance(store.database, PostgresDatabase | SqliteDatabase)
    store.database._writer.execute(read_only)
    for refused in (
        lambda: store.append("a", [step(2)], 1),
        lambda: store.create(queued("b"), "w"),
    ):
        with pytest.raises(StoreError, match="read"):
            refused().result(20)
    assert not store.healthy() and len(store.events("a")) == 1
    store.database._writer.execute(writable)
    store.append("a", [step(2)], 1).result(20)
    assert store.healthy() and len(store.events("a")) == 2 and store.find("b") is None


SUBMITTERS = """
import sys, threading
from pathlib import Path
from gangline.ir.specs.event import Event
from gangline.runtime.store import open_store

name, failures = sys.argv[2], []
with open_store(Path(sys.argv[1])) as store:
    def submit(thread):
        try:
            for number in range(10):
                job_id = f"{name}-{thread}-{number}"
                epoch = store.create(Event(job_id, 1, "job.queued", 0.0), "w", name).result().epoch
                end = Event(job_id, 2, "job.completed", 0.0, "", {})
                store.append(job_id, [end], epoch).result()
        except BaseException as error:
            failures.append(error)
    threads = [threading.Thread(target=submit, args=(n,)) for n in range(16)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
sys.exit(str(failures[0]) if failures else 0)
"""


def test_64_submitters_in_four_processes_never_find_it_locked(tmp_path: Path) -> None:
    path = tmp_path / "home" / "jobs.sqlite"
    command = [sys.executable, "-c", SUBMITTERS, str(path)]
    workers = [
        subprocess.Popen([*command, f"p{n}"], stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
        for n in range(4)
    ]
    told = [worker.communicate()[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4, told
    with open_store(path) as store:
        assert store.counts() == {"succeeded": 640}


def test_a_foreign_writer_is_waited_for(sqlite_store: Store, queued: Make) -> None:
    foreign = sqlite3.connect(sqlite_store.path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    ticket = sqlite_store.create(queued(), "w")
    with pytest.raises(TimeoutError):
        ticket.result(0.2)
    foreign.execute("COMMIT")
    foreign.close()
    assert ticket.result(20).job_id == "a"


def test_readers_never_wait_for_writers(sqlite_store: Store, queued: Make) -> None:
    sqlite_store.create(queued(), "w", "me").result()
    gate = threading.Event()

    def hold(database: Any) -> None:
        database.run("UPDATE jobs SET status = 'failed'")
        gate.wait(20)

    held = sqlite_store._do(hold)
    assert sqlite_store.job("a").status == "queued"
    assert not held.done()
    gate.set()
    held.result(20)
    assert sqlite_store.job("a").status == "failed"


def test_a_fault_of_ours_ends_its_operation_only(store: Store, queued: Make) -> None:
    broken = store._do(lambda _: 1 // 0)
    fine = store.create(queued(), "w")
    with pytest.raises(ZeroDivisionError):
        broken.result(20)
    assert fine.result(20).job_id == "a"


@pytest.fixture
def on_postgres(postgres_server: PostgresServer, queued: Make) -> Any:
    with open_store(postgres_server.new_schema()) as opened:
        opened.create(queued(), "w", "me").result()
        yield opened


def test_a_crash_of_the_server_loses_nothing_acknowledged(
    postgres_server: PostgresServer, on_postgres: Store
) -> None:
    """Under load, and without anybody noticing: the writer waits, and goes on."""
    store, stop, written = on_postgres, threading.Event(), [1]
    failures = list[BaseException]()

    def write() -> None:
        while not stop.is_set():
            error = store.append("a", [step(written[-1] + 1)], 1).exception(60)
            if error is not None:
                failures.append(error)
                return
            written.append(written[-1] + 1)

    thread = threading.Thread(target=write)
    thread.start()
    for how in ("immediate", "fast"):
        before = written[-1]
        until(lambda before=before: written[-1] > before + 20)  # type: ignore[misc]
        postgres_server.stop(how)
        postgres_server.start()
        before = written[-1]
        until(lambda before=before: written[-1] > before + 5)  # type: ignore[misc]
    stop.set()
    thread.join(60)
    assert not thread.is_alive() and failures == []
    assert [event.seq for event in store.events("a")] == written
    assert store.job("a").last_seq == written[-1] and store.healthy()


def test_a_server_that_stays_away_is_an_error_until_it_is_back(
    postgres_server: PostgresServer, on_postgres: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = on_postgres
    monkeypatch.setattr(postgres, "PATIENCE_S", 0.2)
    postgres_server.stop()
    try:
        for _ in range(2):
            with pytest.raises(StoreError, match="cannot be used"):
                store.append("a", [step(2)], 1).result(20)
            with pytest.raises(StoreError):
                store.events("a")
        assert not store.healthy()
    finally:
        postgres_server.start()
    store.append("a", [step(2)], 1).result(20)
    assert store.healthy() and len(store.events("a")) == 2


@pytest.mark.parametrize("sent", [True, False])
def test_a_line_that_breaks_at_the_commit(
    on_postgres: Store, monkeypatch: pytest.MonkeyPatch, sent: bool
) -> None:
    """The server is asked whether it was in time: stored once, never twice, and said rightly."""
    import psycopg

    store, broken = on_postgres, list[bool]()
    execute = psycopg.Connection.execute

    def breaking(connection: Any, query: Any, *given: Any, **named: Any) -> Any:
        if query == b"COMMIT" and not broken:
            broken.append(True)
            if sent:
                execute(connection, query)
            connection.close()
            raise psycopg.OperationalError("the line broke")
        return execute(connection, query, *given, **named)

    monkeypatch.setattr(psycopg.Connection, "execute", breaking)
    store.append("a", [step(2, usd=1.0)], 1).result(20)
    assert broken and len(store.events("a")) == 2 and store.job("a").usd == 1.0
    assert store.healthy()


@pytest.mark.parametrize("away", ["answers nothing", "cannot be reached"])
def test_a_commit_in_doubt_is_not_done_again(
    on_postgres: Store, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    import psycopg

    store, tries = on_postgres, list[bool]()
    execute, connect = psycopg.Connection.execute, PostgresDatabase._connect
    unreachable = [away == "cannot be reached"]

    def breaking(connection: Any, query: Any, *given: Any, **named: Any) -> Any:
        if query == b"COMMIT":
            tries.append(True)
            execute(connection, query)
            connection.close()
            raise psycopg.OperationalError("the line broke")
        if b"pg_xact_status" in bytes(query):
            raise psycopg.OperationalError("and again")
        return execute(connection, query, *given, **named)

    def connecting(database: PostgresDatabase) -> Any:
        if unreachable and unreachable.pop():
            raise psycopg.OperationalError("nobody there")
        return connect(database)

    monkeypatch.setattr(postgres, "PATIENCE_S", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Connection, "execute", breaking)
        patch.setattr(PostgresDatabase, "_connect", connecting)
        with pytest.raises(StoreError, match="line broke"):
            store.append("a", [step(2)], 1).result(20)
    assert tries == [True]
    assert [event.seq for event in store.events("a")] == [1, 2]
    store.append("a", [step(3)], 1).result(20)


def test_deadlocks_between_servers_are_repeated(
    postgres_server: PostgresServer, queued: Make
) -> None:
    url = postgres_server.new_schema()
    with open_store(url) as one, open_store(url) as two:
        for name in "ab":
            one.create(queued(name), "w", "me").result()
        both = threading.Barrier(2)
        order = {one: ("a", "b"), two: ("b", "a")}
        met = set[Store]()

        def cross(store: Store) -> Callable[[Any], None]:
            def run(database: Any) -> None:
                first, second = order[store]
                lock = "UPDATE jobs SET usd = usd + 1 WHERE id = ?"
                database.run(lock, (first,))
                if store not in met:
                    met.add(store)
                    both.wait(20)
                database.run(lock, (second,))

            return run

        tickets = [store._do(cross(store)) for store in (one, two)]
        for ticket in tickets:
            ticket.result(30)
        assert (one.job("a").usd, one.job("b").usd) == (2.0, 2.0)


def test_passwords_stay_out_of_refusals() -> None:
    with pytest.raises(StoreError) as caught:
        open_store("postgresql://ada:s3cret@127.0.0.1:1/jobs")
    assert "s3cret" not in str(caught.value.to_json()) and "127.0.0.1" in caught.value.where
