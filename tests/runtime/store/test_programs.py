"""Programs and plans are stored once, and stay while a job needs them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from gangline.ir.program import Program
from gangline.ir.specs.event import Event
from gangline.ir.specs.plan import Plan
from gangline.runtime.store import Store, archive, open_store

Make = Callable[..., Event]


def programs(store: Store) -> int:
    ((number,),) = store.database.read("SELECT count(*) FROM programs")
    return int(number)


def ended(store: Store, job_id: str, at_s: float = 100.0) -> None:
    store.append(job_id, [Event(job_id, 2, "job.completed", at_s, "", {})], 1).result()


def test_equal_programs_are_stored_once_and_read_back_whole(
    store: Store, queued: Make, url: str
) -> None:
    big = {"name": "p", "text": "x" * 10_000, "where": "ü"}
    for number in range(20):
        store.create(queued(f"j{number}", program=dict(big), plan={"usd": 1.0}), "w", "me")
    store.create(queued("other", program={**big, "where": "v"}), "w", "me").result()
    assert programs(store) == 3
    for opened in (store, open_store(url)):
        events = opened.events("j7")
        assert events[0].data == {"program": big, "plan": {"usd": 1.0}}
        assert opened.events("other")[0].data["program"]["where"] == "v"
        assert len(opened.raw_events("j7")[0].data["program"]["ref"]) == 32
        if opened is not store:
            opened.close()


def test_objects_are_stored_as_their_json(store: Store, queued: Make) -> None:
    program = Program("p", (), (), (), text="text")
    plan = Plan("p", program.hash, "f", (), 2.0, 0.5)
    for name in "ab":
        store.create(queued(name, program=program, plan=plan), "w").result()
    assert programs(store) == 2
    assert Program.from_json(store.events("b")[0].data["program"]) == program
    assert store.events("b")[0].data["plan"] == plan.to_json()
    assert (store.job("a").predicted_s, store.job("a").predicted_usd) == (2.0, 0.5)


def test_a_program_is_encoded_once_for_all_its_jobs(
    store: Store, queued: Make, monkeypatch: Any
) -> None:
    encoded = list[int]()
    to_json = Program.to_json

    def counted(program: Program) -> dict[str, Any]:
        encoded.append(1)
        return to_json(program)

    monkeypatch.setattr(Program, "to_json", counted)
    program = Program("p", (), (), (), text="text")
    for number in range(50):
        store.create(queued(f"j{number}", program=program), "w").result()
    assert len(encoded) == 1 and programs(store) == 1


def test_passwords_in_programs_are_masked(store: Store, queued: Make) -> None:
    program = {"default": "postgresql://me:p4ss@host/db"}
    store.create(queued(program=program), "w").result()
    assert "p4ss" not in str(store.events("a")) and "host/db" in str(store.events("a"))


def test_programs_survive_while_a_job_needs_them(store: Store, queued: Make) -> None:
    shared, own, plan = {"n": "shared"}, {"n": "own"}, {"usd": 1.0}
    store.create(queued("old", program=shared, plan=plan), "w", "me")
    store.create(queued("alone", program=own), "w", "me")
    store.create(queued("new", program=shared, plan=plan), "w", "me")
    for name, at_s in (("old", 100.0), ("alone", 100.0), ("new", 900.0)):
        ended(store, name, at_s)
    assert programs(store) == 3
    assert store.prune(500.0) == 2
    assert [row.id for row in store.jobs()] == ["new"]
    assert store.events("new")[0].data == {"program": shared, "plan": plan}
    assert programs(store) == 2
    store.create(queued("again", program=own), "w", "me").result()
    assert store.events("again")[0].data["program"] == own
    assert store.prune(1e9) == 1 and programs(store) == 1


def test_a_plan_may_be_another_jobs_program(store: Store, queued: Make) -> None:
    same = {"seconds": 1.0}
    store.create(queued("a", program=same), "w", "me")
    store.create(queued("b", plan=same, at_s=900.0), "w", "me")
    ended(store, "a")
    assert store.prune(500.0) == 1
    assert store.events("b")[0].data["plan"] == same


def test_dropping_programs_waits_for_who_creates_jobs(url: str, queued: Make) -> None:
    """Many creations and prunings at once: no job is ever left without its program."""
    from concurrent.futures import ThreadPoolExecutor

    with open_store(url) as one, open_store(url) as two:

        def create(number: int) -> None:
            name = f"j{number}"
            program = {"n": number % 3}
            one.create(queued(name, program=program), "w", "me").result()
            if number % 4:
                ended(one, name)

        def prune(_: int) -> None:
            two.prune(1e9)

        with ThreadPoolExecutor(8) as pool:
            work = [pool.submit(create, number) for number in range(120)]
            work += [pool.submit(prune, number) for number in range(30)]
            for future in work:
                future.result()
        rows = one.jobs(1000)
        assert len(rows) >= 30
        for row in rows:
            number = int(row.id[1:])
            assert one.document(one.raw_events(row.id)[0].data["program"]["ref"]) == {
                "n": number % 3
            }


def test_a_program_is_not_dropped_under_a_job_being_created(
    url: str, queued: Make, monkeypatch: Any
) -> None:
    reached, gate = threading.Event(), threading.Event()
    with open_store(url) as one, open_store(url) as two:
        one.create(queued("old", program={"n": 1}), "w").result()
        two._do(lambda database: database.run("DELETE FROM jobs")).result()
        commit = one.database.commit

        def slow() -> None:
            reached.set()
            gate.wait(20)
            commit()

        monkeypatch.setattr(one.database, "commit", slow)
        created = one.create(queued("new", program={"n": 1}), "w")
        assert reached.wait(20)
        dropped = two._do(archive.drop_unused)
        with pytest.raises(TimeoutError):
            dropped.result(0.3)
        gate.set()
        created.result(20)
        assert dropped.result(20) == 0
        assert two.events("new")[0].data["program"] == {"n": 1}
