"""Leases: who may run a job, and that nobody else can write to it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from gangline.ir.errors import LeaseLost, StoreError
from gangline.ir.specs.event import Event
from gangline.runtime.store import NewJob, Store, open_store
from gangline.runtime.store.records import Claimed

Make = Callable[..., Event]


def lapse(store: Store, owner: str) -> None:
    """Let an owner's lease end, as if nothing had been heard of it for a long time."""
    store._do(
        lambda database: database.run(
            "UPDATE owners SET until_s = until_s - 100 WHERE name = ?", (owner,)
        )
    ).result()


def fill(store: Store, queued: Make, num_jobs: int, **fields: object) -> None:
    jobs = [NewJob(queued(f"j{number:04}"), "w", **fields) for number in range(num_jobs)]  # type: ignore[arg-type]
    store.create_many(jobs).result()


def test_two_servers_claim_each_job_once(url: str, queued: Make) -> None:
    with open_store(url) as one, open_store(url) as two:
        fill(one, queued, 500)
        claimed: list[tuple[str, Claimed]] = []

        def work(number: int) -> None:
            store, owner = (one, two)[number % 2], f"owner-{number}"
            while found := store.claim(owner, 7):
                claimed.extend((owner, job) for job in found)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert Counter(job.job_id for _, job in claimed) == {f"j{n:04}": 1 for n in range(500)}
        for owner in {owner for owner, _ in claimed}:
            mine = {job.job_id: job.epoch for name, job in claimed if name == owner}
            assert one.owned(owner) == mine


def test_most_urgent_and_then_oldest_first(store: Store, queued: Make) -> None:
    for name, at_s, priority in (("a", 3.0, 5), ("b", 1.0, 5), ("c", 2.0, 9), ("d", 0.0, 0)):
        store.create(queued(name, at_s, priority=priority), "w")
    first = store.claim("me", 3)
    assert [job.job_id for job in first] == ["c", "b", "a"]
    assert first[0] == Claimed("c", 1, "local", 9, "queued")
    assert [job.job_id for job in store.claim("me", 3)] == ["d"]
    assert store.claim("me", 3) == []


def test_no_tenant_takes_it_all(store: Store, queued: Make) -> None:
    for number in range(6):
        store.create(queued(f"loud{number}", 1.0 + number), "w", tenant="loud", priority=9)
    store.create(queued("quiet", 99.0), "w", tenant="quiet", priority=0)
    claimed = store.claim("me", 10, per_tenant=2)
    assert [job.job_id for job in claimed] == ["loud0", "loud1", "quiet"]


def test_what_is_claimed(store: Store, queued: Make) -> None:
    """Queued and running jobs, and any that is asked something; not what waits or ended."""
    ends = {"running": "job.started", "waits": "job.input_required", "done": "job.completed"}
    for name, kind in ends.items():
        epoch = store.create(queued(name), "w", "gone").result().epoch
        store.append(name, [Event(name, 2, kind, 101.0)], epoch).result()
    store.create(queued("new"), "w", "gone")
    store.unregister("gone").result()
    assert {job.job_id for job in store.claim("me", 9)} == {"running", "new"}
    store.control("waits", "resume", {"value": 1}).result()
    assert [(job.job_id, job.status) for job in store.claim("me", 9)] == [
        ("waits", "input_required")
    ]


def test_a_live_owner_keeps_its_jobs_and_a_silent_one_loses_them(
    store: Store, queued: Make
) -> None:
    store.create(queued(), "w", "one").result()
    assert store.claim("two", 9) == []
    store.heartbeat("one").result()
    lapse(store, "one")
    with pytest.raises(LeaseLost):
        store.heartbeat("one").result()
    (taken,) = store.claim("two", 9)
    assert taken.epoch == 2
    with pytest.raises(LeaseLost):
        store.append("a", [Event("a", 2, "job.started", 101.0)], 1).result()
    store.register("one").result()
    assert store.owned("one") == {} and store.owned("two") == {"a": 2}
    store.append("a", [Event("a", 2, "job.started", 101.0)], 2).result()


def test_a_heartbeat_keeps_all_jobs_of_a_process(store: Store, queued: Make) -> None:
    store.register("one", 30.0).result()
    fill(store, queued, 50, owner="one")
    before = store.commits
    store.heartbeat("one", 3600.0).result()
    assert store.commits == before + 1
    lapse(store, "one")
    assert store.claim("two", 99) == []


def test_the_wall_clock_frees_nothing_and_holds_nothing(
    store: Store, queued: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create(queued("held"), "w", "one").result()
    store.create(queued("lapsed"), "w", "two").result()
    lapse(store, "two")
    for jump_s in (1e7, -1e7):
        now = time.time() + jump_s
        monkeypatch.setattr(time, "time", lambda now=now: now)
        with pytest.raises(LeaseLost):
            store.acquire("held", "three")
        store.acquire("lapsed", "three")


def test_leases_of_another_boot_are_over(sqlite_store: Store, queued: Make) -> None:
    """The clock of leases starts anew with the machine: what it said before means nothing."""
    store = sqlite_store
    store.create(queued(), "w", "one").result()
    store._do(lambda database: database.run("UPDATE owners SET era = 'another boot'")).result()
    assert [job.job_id for job in store.claim("two", 9)] == ["a"]


def test_a_lease_beyond_all_bounds_is_none(store: Store, queued: Make) -> None:
    store.create(queued(), "w", "one").result()
    store._do(lambda database: database.run("UPDATE owners SET until_s = until_s + 1e6")).result()
    assert [job.job_id for job in store.claim("two", 9)] == ["a"]


def test_a_killed_process_holds_nothing(store: Store, queued: Make) -> None:
    from gangline.runtime.store.owner import owner_name

    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    dead = owner_name().replace(f":{os.getpid()}:", f":{process.pid}:")
    store.create(queued(), "w", dead).result()
    assert [job.job_id for job in store.claim("me", 9)] == ["a"]


def test_the_end_of_a_job_ends_its_lease(store: Store, queued: Make) -> None:
    epoch = store.create(queued(), "w", "me").result().epoch
    store.append("a", [Event("a", 2, "job.started", 101.0)], epoch).result()
    assert store.job("a").owner == "me"
    store.append("a", [Event("a", 3, "job.failed", 102.0)], epoch).result()
    assert store.job("a").owner == "" and store.acquire("a", "you") == epoch + 1


def test_requests_reach_who_runs_the_job_once(store: Store, queued: Make) -> None:
    epoch = store.create(queued(), "w", "one").result().epoch
    store.control("a", "cancel", {"why": "ü"}).result()
    store.control("a", "resume").result()
    assert store.job("a").control == "resume"
    assert store.controls("two") == []
    (cancel, resume) = store.controls("one")
    assert (cancel.job_id, cancel.epoch, cancel.kind, cancel.data) == (
        "a",
        epoch,
        "cancel",
        {"why": "ü"},
    )
    assert resume.kind == "resume" and store.controls("one") == []
    with pytest.raises(StoreError, match="No job"):
        store.control("nobody", "cancel").result()


def test_a_request_survives_the_death_of_who_took_it(store: Store, queued: Make) -> None:
    store.create(queued(), "w", "one").result()
    store.control("a", "cancel").result()
    assert [asked.kind for asked in store.controls("one")] == ["cancel"]
    lapse(store, "one")
    (claimed,) = store.claim("two", 9)
    assert [(asked.kind, asked.epoch) for asked in store.controls("two")] == [("cancel", 2)]
    store.append("a", [Event("a", 2, "job.cancelled", 101.0)], claimed.epoch).result()
    assert store.job("a").control == ""
    assert store.claim("three", 9) == []


def test_a_request_made_while_the_job_stops_is_not_lost(store: Store, queued: Make) -> None:
    epoch = store.create(queued(), "w", "one").result().epoch
    store.control("a", "resume").result()
    store.append("a", [Event("a", 2, "job.input_required", 101.0)], epoch).result()
    assert [job.job_id for job in store.claim("two", 9)] == ["a"]
    assert [asked.kind for asked in store.controls("two")] == ["resume"]


def test_owners_of_one_process_write_beside_each_other(url: str, queued: Make) -> None:
    """Fencing under load: of two owners of one job only the later one's appends are stored."""
    with open_store(url) as one, open_store(url) as two:
        one.create(queued(), "w", "one").result()
        stop, written = threading.Event(), list[int]()

        def write() -> None:
            seq = 2
            while not stop.is_set():
                event = Event("a", seq, "step.completed", 100.0, "s", {"by": "one"})
                if one.append("a", [event], 1).exception(10) is not None:
                    return
                written.append(seq)
                seq += 1

        thread = threading.Thread(target=write)
        thread.start()
        while not written:
            time.sleep(0.001)
        lapse(two, "one")
        epoch = two.acquire("a", "two")
        last = two.job("a").last_seq
        events = [Event("a", last + 1, "step.completed", 100.0, "s", {"by": "two"})]
        two.append("a", events, epoch).result()
        thread.join(10)
        assert not thread.is_alive()
        stop.set()
        stored = two.events("a")
        assert [event.seq for event in stored] == list(range(1, last + 2))
        assert len(written) == last - 1
        assert [event.data.get("by") for event in stored[1:]] == ["one"] * (last - 1) + ["two"]


def test_jobs_that_rest_past_a_hard_deadline_are_taken_once(store: Store, queued: Make) -> None:
    hard = {"deadline_s": 10.0, "on_deadline": "expire"}
    for name, owner, data in (
        ("waits", "", hard),
        ("held", "other", hard),
        ("asks", "other", hard),
        ("soft", "", {"deadline_s": 10.0}),
        ("runs", "other", hard),
    ):
        store.create(queued(name, 100.0, **data), "w", owner).result()
    store.append("asks", [Event("asks", 2, "job.input_required", 101.0)], 1)
    store.append("runs", [Event("runs", 2, "job.started", 101.0)], 1)
    store.release("runs", 1)
    store.flush()
    assert store.claim_overdue("me", 109.0) == []
    taken = store.claim_overdue("me", 110.0)
    assert {(found.job_id, found.status) for found in taken} == {
        ("waits", "queued"),
        ("asks", "input_required"),
    }
    assert store.claim_overdue("you", 110.0) == []
