"""Pruning, exporting and importing jobs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gangline.ir.errors import ConfigError
from gangline.ir.specs.event import Event
from gangline.runtime.store import ExportFilter, Imported, Store, open_store

Make = Callable[..., Event]


def add(store: Store, job_id: str, queued: Make, at_s: float, kind: str, **data: Any) -> None:
    store.create(queued(job_id, at_s, **data), "w", "me", tenant="x", priority=7)
    more = [
        Event(job_id, 2, "job.started", at_s + 1),
        Event(job_id, 3, "step.completed", at_s + 2, "s", {"usd": 0.5, "value": "ü\u0000"}),
    ]
    store.append(job_id, more, 1)
    if kind:
        store.append(job_id, [Event(job_id, 4, kind, at_s + 3, "", {})], 1)
    store.flush()


def test_pruning_takes_only_what_ended_long_ago(store: Store, queued: Make) -> None:
    add(store, "old", queued, 100.0, "job.completed")
    add(store, "failed", queued, 100.0, "job.failed")
    add(store, "waits", queued, 100.0, "job.input_required")
    add(store, "runs", queued, 100.0, "")
    add(store, "new", queued, 900.0, "job.completed")
    epoch = store.acquire("failed", "somebody")  # about to be retried
    assert store.prune(500.0) == 1
    assert {row.id for row in store.jobs()} == {"failed", "waits", "runs", "new"}
    assert store.events("old") == []
    store.release("failed", epoch)
    assert store.prune(500.0, ["succeeded"]) == 0
    assert store.prune(500.0, ["failed", "input_required"], limit=1) == 1
    assert store.prune(103.5) <= 1  # an end counts, not a beginning


def test_a_late_end_keeps_a_job(store: Store, queued: Make) -> None:
    add(store, "a", queued, 100.0, "job.completed")
    assert store.prune(102.0) == 0
    assert store.prune(103.5) == 1


def test_pruning_frees_the_idempotency_key(store: Store, queued: Make) -> None:
    store.create(queued("a"), "w", "me", idempotency=("k", "h")).result()
    store.append("a", [Event("a", 2, "job.completed", 101.0, "", {})], 1)
    store.prune(1e9)
    assert store.create(queued("b"), "w", idempotency=("k", "h")).result().job_id == "b"


def test_a_job_stays_until_its_webhook_message_went_or_was_given_up(
    store: Store, queued: Make
) -> None:
    for name in ("a", "b"):
        hook = {"url": "https://hooks.example/"}
        epoch = store.create(queued(name, 100.0), "w", "me", webhook=hook).result().epoch
        store.append(name, [Event(name, 2, "job.completed", 101.0)], epoch).result()
    one, two = sorted(store.deliveries(200.0), key=lambda found: found.job_id)
    assert store.prune(500.0) == 0
    store.delivered(one.id).result()
    assert store.prune(500.0) == 1 and store.find("a") is None
    store.dropped(two.id).result()
    assert store.prune(500.0) == 1


def test_an_export_comes_back_equal(url: str, tmp_path: Path, queued: Make) -> None:
    target = tmp_path / "other" / "jobs.sqlite"
    with open_store(url) as store, open_store(target) as other:
        for number in range(230):  # more than two pages
            add(store, f"j{number:03}", queued, 100.0 + number, "job.completed", program={"n": 1})
        add(store, "failed", queued, 50.0, "job.failed", plan={"usd": 1.0, "seconds": 2.0})
        add(store, "runs", queued, 60.0, "")
        lines = list(store.export())
        assert sum(json.loads(line)["kind"] == "document" for line in lines) == 2
        assert other.import_(lines) == Imported(jobs=231, present=0, unfinished=1)
        assert other.import_(lines) == Imported(jobs=0, present=231, unfinished=1)
        for row in store.jobs(500):
            if row.id == "runs":
                continue
            assert other.events(row.id) == store.events(row.id)
            assert replace(other.job(row.id), epoch=0) == replace(row, epoch=0)
        assert other.import_(lines, unfinished=True).jobs == 1
        assert [job.job_id for job in other.claim("me", 9)] == ["runs"]


def test_an_export_is_narrowed(store: Store, queued: Make) -> None:
    add(store, "a", queued, 100.0, "job.completed")
    add(store, "b", queued, 200.0, "job.failed")
    add(store, "c", queued, 300.0, "job.failed")

    def exported(**narrowed: Any) -> list[str]:
        lines = map(json.loads, store.export(ExportFilter(**narrowed)))
        return [line["job"]["id"] for line in lines if line["kind"] == "job"]

    assert exported() == ["c", "b", "a"]
    assert exported(statuses=["failed"]) == ["c", "b"]
    assert exported(before_s=250.0) == ["b", "a"]
    assert exported(tenant="nobody") == []


def test_a_long_job_goes_in_pieces(store: Store, tmp_path: Path, queued: Make) -> None:
    store.create(queued(), "w", "me")
    events = [Event("a", n, "step.completed", 1.0, "s", {"v": "x" * 100}) for n in range(2, 5002)]
    store.append("a", [*events, Event("a", 5002, "job.completed", 2.0, "", {})], 1).result()
    lines = list(store.export())
    assert max(map(len, lines)) < 200_000
    with open_store(tmp_path / "o" / "jobs.sqlite") as other:
        other.import_(lines)
        assert other.events("a") == store.events("a")
        assert replace(other.job("a"), epoch=0) == replace(store.job("a"), epoch=0)
    pages, after = list[Event](), 0
    while page := store.events("a", after, 999):
        assert len(page) <= 999
        pages += page
        after = page[-1].seq
    assert pages == store.events("a")


@pytest.mark.parametrize("spoil", ["cut", "header", "newer", "text", "shape"])
def test_a_damaged_export_is_refused(
    store: Store, tmp_path: Path, queued: Make, spoil: str
) -> None:
    add(store, "a", queued, 100.0, "job.completed")
    lines = list(store.export())
    spoiled = {
        "cut": lines[:-1],
        "header": lines[1:],
        "newer": [lines[0].replace('"version":1', '"version":2'), *lines[1:]],
        "text": [*lines[:2], "{", *lines[2:]],
        "shape": [*lines[:2], "[]", *lines[2:]],
    }[spoil]
    with (
        open_store(tmp_path / "o" / "jobs.sqlite") as other,
        pytest.raises(ConfigError, match="no whole export"),
    ):
        other.import_(spoiled)
