"""The row of a job equals the fold of its events, however they came in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import count
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from gangline.ir.specs.event import Event
from gangline.runtime.store import NewJob, Store
from gangline.runtime.store import batch as batches
from gangline.runtime.store.job_row import RowChange, changed, fresh_row
from gangline.runtime.store.operations import Operation, queued_values

_numbers = count()

amounts = st.sampled_from([0.0, 0.25, 1.5])
tokens = st.sampled_from([0, 3, 70])
errors = st.sampled_from([None, {"code": "timeout"}, {"code": "budget"}])
optional = st.sampled_from([None, 1.0, 4.5])

KINDS: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.one_of(
    st.tuples(
        st.sampled_from(["step.completed", "step.failed"]),
        st.fixed_dictionaries(
            {
                "op": st.sampled_from(["tool", "prefill", "decode", "tokenize"]),
                "usd": st.one_of(st.none(), amounts),
                "prompt_tokens": tokens,
                "output_tokens": tokens,
            }
        ),
    ),
    st.tuples(st.sampled_from(["step.started", "step.retrying"]), st.just({"op": "tool"})),
    st.tuples(
        st.just("job.started"),
        st.fixed_dictionaries({"deadline_s": optional, "budget_usd": optional}),
    ),
    st.tuples(
        st.just("job.completed"),
        st.fixed_dictionaries({"late": st.booleans(), "seconds": amounts}),
    ),
    st.tuples(
        st.sampled_from(["job.failed", "job.cancelled", "job.expired", "job.input_required"]),
        st.fixed_dictionaries({"error": errors}),
    ),
    st.tuples(
        st.sampled_from(["job.planned", "job.replanned"]),
        st.fixed_dictionaries(
            {
                "plan": st.sampled_from([None, {"seconds": 2.0, "usd": 0.5}]),
                "deadline_s": optional,
            }
        ),
    ),
)
LOGS = st.lists(st.lists(KINDS, min_size=1, max_size=4), max_size=8)


def fold(events: list[Event]) -> dict[str, Any]:
    values = queued_values(events[0], "w")
    for event in events[1:]:
        change = RowChange()
        change.add(event)
        changed(values, change)
    return values


def logged(job_id: str, log: list[list[tuple[str, dict[str, Any]]]]) -> list[list[Event]]:
    first = Event(job_id, 1, "job.queued", 100.0, "", {"deadline_s": 9.0, "plan": None})
    seqs = count(2)
    appends = [[event_of(job_id, next(seqs), *draft) for draft in drafts] for drafts in log]
    return [[first], *appends]


def event_of(job_id: str, seq: int, kind: str, data: dict[str, Any]) -> Event:
    return Event(job_id, seq, kind, 100.0 + seq, "s" if kind.startswith("step.") else "", data)


@pytest.mark.parametrize("how", ["one by one", "at once", "careful", "as a fork"])
@given(log=LOGS)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_the_row_is_the_fold_of_the_events(
    store: Store, how: str, log: list[list[tuple[str, dict[str, Any]]]]
) -> None:
    if how == "careful":
        go_carefully(store)
    job_id = f"job-{next(_numbers)}"
    first, *appends = logged(job_id, log)
    events = [event for some in [first, *appends] for event in some]
    if how == "as a fork":
        store.create(first[0], "w", "me", more=events[1:]).result()
    else:
        tickets: list[Any] = [store.create(first[0], "w", "me")]
        for some in appends:
            tickets.append(store.append(job_id, some, 1))
            if how == "one by one":
                tickets[-1].result()
        for ticket in tickets:
            ticket.result()
    row, expected = asdict(store.job(job_id)), fold(events)
    names = set(row) & set(expected) - {"owner", "epoch", "metadata", "late"}
    assert {name: row[name] for name in names} == {name: expected[name] for name in names}
    assert row["late"] == bool(expected["late"])
    stopped = any(event.type in STOPS for event in events)
    assert row["owner"] == ("me" if how == "as a fork" or not stopped else "")
    assert store.events(job_id) == events


def go_carefully(store: Store) -> None:
    """Let every operation go alone, as after a refusal."""
    writer = store._writer

    def alone(batch: list[Operation]) -> list[batches.Outcome]:
        return writer._transaction(lambda: [batches.run_alone(store.database, op) for op in batch])

    writer._try = alone  # type: ignore[method-assign]


STOPS = ("job.completed", "job.failed", "job.cancelled", "job.expired", "job.input_required")


def test_the_fast_way_is_taken(
    store: Store, queued: Callable[..., Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the property above would hold of one way only."""
    refused = list[str]()
    run_together = batches.run_together

    def watched(*given: Any) -> Any:
        try:
            return run_together(*given)
        except Exception:
            refused.append("")
            raise

    monkeypatch.setattr("gangline.runtime.store.writer.run_together", watched)
    jobs = [NewJob(queued(f"j{n}", plan={"usd": n}), "w", "me") for n in range(300)]
    store.create_many(jobs).result()
    for number in range(300):
        name = f"j{number}"
        started = Event(name, 2, "job.started", 101.0)
        store.append(name, [started], 1)
        store.append(name, [Event(name, 3, "job.completed", 102.0, "", {"seconds": 1.0})], 1)
        store.release(name, 1)
    store.flush()
    key = ("key", "hash")
    for name in ("first", "again", "and again"):
        store.create(queued(name), "w", idempotency=key)
    assert store.create(queued("later"), "w", idempotency=key).result().replayed
    assert refused == []
    assert store.counts() == {"succeeded": 300, "queued": 1}
    store.append("j0", [Event("j0", 9, "job.started", 103.0)], 1).exception()
    assert refused == [""]


def test_many_jobs_many_rows(store: Store, queued: Callable[..., Event]) -> None:
    """Sizes around those of statements: 31 to 33, 255 to 257, and several in one batch."""
    for size in (1, 2, 31, 32, 33, 255, 256, 257, 600):
        names = [f"{size}-{number}" for number in range(size)]
        store.create_many([NewJob(queued(name), "w", "me") for name in names]).result()
        events = [Event(names[0], seq, "step.completed", 1.0, "s") for seq in range(2, size + 2)]
        store.append(names[0], events, 1).result()
        for name in names[1:]:
            store.append(name, [Event(name, 2, "job.started", 101.0)], 1)
        store.flush()
        assert len(store.events(names[0])) == size + 1
        assert all(store.job(name).status == "running" for name in names[1:])


@pytest.mark.parametrize("deadline_s", [None, 9.0])
@pytest.mark.parametrize("plan", [None, {"seconds": 2.0, "usd": 0.5}])
def test_a_fresh_row_is_what_the_store_has(
    store: Store, queued: Callable[..., Event], deadline_s: float | None, plan: Any
) -> None:
    """Who has just stored a job knows its row without reading it."""
    first = queued(
        "a",
        workflow="w",
        plan=plan,
        deadline_s=deadline_s,
        budget_usd=0.25,
        tenant="anna",
        priority=7,
        on_deadline="expire",
        metadata={"team": "x"},
        forked_from="b",
    )
    made = store.create(first, "w", "me").result()
    assert replace(store.job("a"), owner="") == fresh_row(first, made.epoch)
