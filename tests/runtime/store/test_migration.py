"""Stores written by older versions are brought up to date, with what they hold."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gangline.ir.errors import StoreError
from gangline.ir.specs.event import Event
from gangline.runtime.store import Store, open_store
from gangline.runtime.store.memory_rows import Write
from gangline.runtime.store.opening import open_database
from gangline.runtime.store.schema import MIGRATIONS

LOG: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "job.queued",
        {"program": {"name": "p"}, "plan": {"seconds": 2.0, "usd": 0.5}, "deadline_s": 9},
    ),
    ("job.started", {}),
    ("step.started", {"op": "prefill"}),
    ("step.completed", {"op": "prefill", "usd": 0.25, "prompt_tokens": 11}),
    ("step.completed", {"op": "decode", "usd": 0.5, "output_tokens": 7, "prompt_tokens": 11}),
)


def first_version(path: Path) -> None:
    """Write a store as version 1 did: two jobs, one done, one held by a process that is gone."""
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    for statement in MIGRATIONS[0]:
        connection.execute(statement)
    ends = {"done": "job.completed", "failed": "job.failed", "runs": ""}
    for job_id, end in ends.items():
        log = [*LOG]
        if end:
            data = {"late": True, "seconds": 3.0, "error": {"code": "timeout"}, "output": 1}
            log.append((end, data))
        status = {"job.completed": "succeeded", "job.failed": "failed", "": "running"}[end]
        connection.execute(
            "INSERT INTO jobs VALUES (?, ?, 'w', 100, ?, ?, 0.75, ?, ?, 'host:1:aa', 3, 9e9)",
            (
                job_id,
                status,
                99.0 + len(log),
                3.0 if status == "succeeded" else None,
                int(status == "succeeded"),
                len(log),
            ),
        )
        for seq, (kind, data) in enumerate(log, 1):
            values = (job_id, seq, kind, "", 99.0 + seq, json.dumps(data))
            connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", values)
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()


def undone(version: int) -> list[str]:
    """Give what takes back what migrations after a version added: indexes, then tables."""
    added = [statement.split()[1:3] for step in MIGRATIONS[version:] for statement in step]
    return [f"DROP {kind} {name}" for kind, name in sorted(added)]


def test_version_1(tmp_path: Path) -> None:
    path = tmp_path / "home" / "jobs.sqlite"
    first_version(path)
    with open_store(path) as store:
        done, failed, runs = (store.job(name) for name in ("done", "failed", "runs"))
        assert (done.status, done.late, done.seconds, done.usd) == ("succeeded", True, 3.0, 0.75)
        assert (done.steps, done.prompt_tokens, done.output_tokens) == (2, 11, 7)
        assert (done.predicted_s, done.predicted_usd, done.deadline_at_s) == (2.0, 0.5, 109.0)
        assert (done.started_s, done.ended_s, done.updated_s) == (101.0, 105.0, 105.0)
        assert (failed.error_code, failed.ended_s, done.error_code) == ("timeout", 105.0, "")
        assert (runs.status, runs.ended_s, runs.tenant, runs.priority) == (
            "running",
            None,
            "local",
            5,
        )
        assert store.events("done")[0].data["program"] == {"name": "p"}
        assert len(store.jobs(status="succeeded")) == 1
        (claimed,) = store.claim("me", 9)
        assert (claimed.job_id, claimed.epoch) == ("runs", 4)
        store.append("runs", [Event("runs", 6, "job.completed", 200.0, "", {})], 4).result()
        assert store.prune(150.0) == 2
    with Store(path) as again:
        assert [row.id for row in again.jobs()] == ["runs"]


def test_rows_that_have_all_columns_are_kept_as_they_are(tmp_path: Path) -> None:
    """Their events name plans kept once, from which a row cannot be made anew."""
    path = tmp_path / "home" / "jobs.sqlite"
    plan = {"seconds": 2.0, "usd": 0.5}
    with open_store(path) as store:
        data = {"program": {"name": "p"}, "plan": plan}
        store.create(Event("a", 1, "job.queued", 100.0, "", data), "w", "").result()
        before = store.job("a")
        assert before.predicted_s == 2.0
    with sqlite3.connect(path) as connection:  # as version 2 left it
        for statement in undone(2):
            connection.execute(statement)
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with open_store(path) as store:
        assert store.job("a") == before


def test_a_migration_that_fails_leaves_the_old_store(tmp_path: Path) -> None:
    path = tmp_path / "home" / "jobs.sqlite"
    first_version(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE events SET data = 'no json' WHERE job_id = 'runs' AND seq = 1")
    connection.close()
    with pytest.raises(StoreError, match="runs"):
        open_store(path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("SELECT lease_until_s FROM jobs").fetchone() == (9e9,)
    connection.close()


def test_a_folder_that_another_process_makes_meanwhile_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = Path.mkdir

    def late(path: Path, *args: Any, **options: Any) -> None:
        os.makedirs(path, exist_ok=True)
        mkdir(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", late)
    with open_store(tmp_path / "new" / "jobs.sqlite") as store:
        assert store.jobs() == []


def test_two_processes_open_a_new_store_at_once(url: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(open_store, [url] * 8))
    for number, store in enumerate(stores):
        store.create(Event(f"j{number}", 1, "job.queued", 1.0), "w").result()
    assert len(stores[0].jobs()) == 8
    for store in stores:
        store.close()


def test_a_store_without_memory_gets_one(url: str) -> None:
    with open_store(url) as store:
        data = {"program": {"name": "p"}}
        store.create(Event("a", 1, "job.queued", 100.0, "", data), "w", "").result()
        before = store.job("a")
    with closing(open_database(url)) as database:  # as version 3 left it
        database.begin()
        for statement in undone(3):
            database.run(statement)
        if url.startswith("sqlite"):
            database.run("PRAGMA user_version = 3")
        else:
            database.run("UPDATE schema_version SET version = 3")
        database.commit()
    with open_store(url) as store:
        assert store.job("a") == before
        assert store.memory.spaces() == []
        write = Write("a/remember", "a")
        assert store.memory.remember("t", "notes", "kept", write, 1.0, key="k").result() == "k"
        assert [row.key for row in store.memory.lookup("t", "notes", "text", "kept", 5)] == ["k"]
