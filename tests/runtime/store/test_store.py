"""The job store: order, leases, refusals, and what survives a kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gangline.ir.errors import LeaseLost, StoreError
from gangline.ir.specs.event import Event
from gangline.runtime.store import Store, open_store
from gangline.runtime.store.schema import MIGRATIONS
from gangline.runtime.store.sqlite import SqliteDatabase


def queued(job_id: str = "a", **data: Any) -> Event:
    return Event(job_id, 1, "job.queued", 100.0, "", data)


def step(seq: int, job_id: str = "a", kind: str = "step.completed", **data: Any) -> Event:
    return Event(job_id, seq, kind, 100.0 + seq, f"s{seq}", data)


def test_events_come_back_in_order(store: Store) -> None:
    epoch = store.create(queued(inputs={"q": "ü"}), "w", "me", 30.0).result().epoch
    futures = [store.append("a", [step(seq, usd=0.25)], epoch) for seq in range(2, 50)]
    for future in futures:
        future.result()
    assert [event.seq for event in store.events("a")] == list(range(1, 50))
    assert store.events("a")[0] == queued(inputs={"q": "ü"})
    assert [event.seq for event in store.events("a", after=47)] == [48, 49]
    row = store.job("a")
    assert (row.status, row.usd, row.last_seq, row.workflow) == ("queued", 12.0, 49, "w")


def test_the_row_follows_the_events(store: Store) -> None:
    epoch = store.create(queued(), "w", "me", 30.0).result().epoch
    end = Event("a", 3, "job.completed", 107.0, "", {"output": 1, "late": True, "seconds": 6.0})
    store.append("a", [Event("a", 2, "job.started", 101.0), end], epoch).result()
    row = store.job("a")
    assert (row.status, row.late, row.seconds, row.updated_s) == ("succeeded", True, 6.0, 107.0)


def test_second_owner_fences_the_first_out(store: Store) -> None:
    first = store.create(queued(), "w", "one", 30.0).result().epoch
    with pytest.raises(LeaseLost):
        store.acquire("a", "two")
    store.unregister("one")
    second = store.acquire("a", "two")
    assert second == first + 1
    with pytest.raises(LeaseLost):
        store.append("a", [step(2)], first).result()
    store.append("a", [step(2)], second).result()
    assert [event.seq for event in store.events("a")] == [1, 2]


def test_released_job_can_be_taken_at_once(store: Store) -> None:
    epoch = store.create(queued(), "w", "one", 30.0).result().epoch
    store.release("a", epoch).result()
    assert store.acquire("a", "two") == 2


def test_one_refusal_leaves_its_neighbours_alone(store: Store) -> None:
    for name in "ab":
        store.create(queued(name), "w", "me", 30.0).result()
    bad = [store.append("a", [step(2)], 9), store.append("a", [step(5)], 1)]
    good = store.append("b", [step(2, "b")], 1)
    good.result()
    for future, kind in zip(bad, (LeaseLost, StoreError), strict=True):
        with pytest.raises(kind):
            future.result()
    assert len(store.events("a")) == 1 and len(store.events("b")) == 2


def test_pages_newest_first(store: Store) -> None:
    for name in "abcde":
        store.create(queued(name), "w", "me", 30.0).result()
    store.append("c", [Event("c", 2, "job.failed", 101.0)], 1).result()
    assert [row.id for row in store.jobs(limit=2)] == ["e", "d"]
    assert [row.id for row in store.jobs(limit=9, after="d")] == ["c", "b", "a"]
    assert [row.id for row in store.jobs(status="failed")] == ["c"]
    with pytest.raises(StoreError, match="No job status"):
        store.jobs(status="broken")


def test_resolve_takes_a_beginning_or_an_end(store: Store) -> None:
    for name in ("ab-1", "ab-2", "cd-3"):
        store.create(queued(name), "w", "me", 30.0).result()
    assert store.resolve("cd") == store.resolve("-3") == "cd-3"
    for part in ("ab", "x", "", "%"):
        with pytest.raises(StoreError):
            store.resolve(part)


def test_passwords_are_not_stored(sqlite_store: Store) -> None:
    store = sqlite_store
    url = "postgresql://shop:p4ss@wörd@db.example:5432/shop?password=other&x=1"
    epoch = store.create(queued(inputs={"db": url}), "w", "me", 30.0).result().epoch
    store.append("a", [step(2, error={"detail": f"cannot open {url}"})], epoch).result()
    store.close()
    content = b"".join(path.read_bytes() for path in store.path.parent.iterdir())
    assert b"p4ss" not in content and b"other" not in content and b"db.example" in content


def test_what_is_no_json_is_refused(store: Store) -> None:
    for value in (float("nan"), {1, 2}, "\ud800"):
        with pytest.raises(StoreError, match="JSON"):
            store.create(queued(value=value), "w", "me", 30.0)


def test_folder_and_file_are_private(sqlite_store: Store) -> None:
    store = sqlite_store
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_full_disk_is_a_store_error(sqlite_store: Store) -> None:
    store = sqlite_store
    epoch = store.create(queued(), "w", "me", 30.0).result().epoch
    assert isinstance(store.database, SqliteDatabase)
    writer = store.database._writer
    limit = writer.execute("PRAGMA page_count").fetchone()[0] + 2
    writer.execute(f"PRAGMA max_page_count = {limit}")
    with pytest.raises(StoreError, match="full") as caught:
        store.append("a", [step(2, value="x" * 100_000)], epoch).result()
    assert "GANGLINE_HOME" in caught.value.next_step
    writer.execute("PRAGMA max_page_count = 1000000")
    store.append("a", [step(2)], epoch).result()
    assert len(store.events("a")) == 2


def test_not_a_database_and_no_folder(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite").write_bytes(b"not a database, not at all" * 100)
    with pytest.raises(StoreError):
        Store(tmp_path / "jobs.sqlite")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        Store(tmp_path / "file" / "jobs.sqlite")


def test_store_of_the_future_is_refused(sqlite_store: Store) -> None:
    store = sqlite_store
    store.close()
    with sqlite3.connect(store.path) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(StoreError, match="newer gangline"):
        Store(store.path)


def test_group_commit_shares_transactions(store: Store) -> None:
    store.create(queued(), "w", "me", 30.0).result()
    before = store.commits
    futures = [store.append("a", [step(seq)], 1) for seq in range(2, 402)]
    for future in futures:
        future.result()
    assert 1 <= store.commits - before < 200


WRITER = """
import sys
from gangline.ir.specs.event import Event
from gangline.runtime.store import open_store

store = open_store(sys.argv[1])
store.create(Event("a", 1, "job.queued", 0.0), "w", "me", 30.0).result()
for seq in range(2, 100000):
    store.append("a", [Event("a", seq, "step.completed", 0.0, "s", {"usd": 1.0})], 1).result()
    sys.stdout.write(f"{seq}\\n")
    sys.stdout.flush()
"""


def test_acknowledged_events_survive_a_kill(url: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-c", WRITER, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as writer:
        assert writer.stdout is not None
        seen = [int(writer.stdout.readline()) for _ in range(20)]
        writer.send_signal(signal.SIGKILL)
        seen += [int(line) for line in writer.stdout.read().split()]
    with open_store(url) as store:
        stored = [event.seq for event in store.events("a")]
        assert stored == list(range(1, len(stored) + 1))
        assert stored[-1] >= seen[-1]
        row = store.job("a")
        assert (row.last_seq, row.usd) == (stored[-1], float(stored[-1] - 1))
