"""Creating jobs: idempotency, ids in use, many at once, forks, webhooks, usage."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from gangline.ir.errors import ConflictError, IdempotencyError, StoreError
from gangline.ir.specs.event import Event
from gangline.runtime.store import Created, NewJob, Store, Usage, open_store

Make = Callable[..., Event]


def test_64_callers_with_one_key_make_one_job(url: str, queued: Make) -> None:
    with open_store(url) as one, open_store(url) as two:

        def call(number: int) -> Created:
            store = (one, two)[number % 2]
            key = ("key", "hash")
            return store.create(queued(f"j{number}"), "w", idempotency=key).result(60)

        with ThreadPoolExecutor(64) as pool:
            answers = list(pool.map(call, range(64)))
        assert len({answer.job_id for answer in answers}) == 1
        assert sorted(answer.replayed for answer in answers) == [False] + [True] * 63
        assert len(one.jobs(100)) == 1
        assert len(one.events(answers[0].job_id)) == 1


def test_a_key_with_another_body_is_refused(store: Store, queued: Make) -> None:
    first = store.create(queued("a"), "w", "me", idempotency=("key", "one")).result()
    assert first == Created("a", 1)
    with pytest.raises(IdempotencyError):
        store.create(queued("b"), "w", idempotency=("key", "two")).result()
    again = store.create(queued("c"), "w", "me", idempotency=("key", "one")).result()
    assert again == Created("a", 0, replayed=True)
    other = store.create(queued("d"), "w", tenant="other", idempotency=("key", "two")).result()
    assert other == Created("d", 0)
    for name in ("e", "f"):  # none is not a key
        assert not store.create(queued(name), "w").result().replayed


def test_one_key_twice_in_a_batch(store: Store, queued: Make) -> None:
    jobs = [
        NewJob(queued("a"), "w", idempotency=("key", "one")),
        NewJob(queued("b"), "w", idempotency=("key", "one")),
        NewJob(queued("c"), "w", idempotency=("key", "two")),
        NewJob(queued("d"), "w"),
        NewJob(queued("d"), "w"),
    ]
    answers = store.create_many(jobs).result()
    assert answers[:2] == [Created("a", 0), Created("a", 0, replayed=True)]
    assert isinstance(answers[2], IdempotencyError)
    assert answers[3] == Created("d", 0) and isinstance(answers[4], ConflictError)
    assert [row.id for row in store.jobs()] == ["d", "a"]
    assert store.create_many([]).result() == []


def test_an_id_in_use_is_refused_and_harms_nobody(store: Store, queued: Make) -> None:
    store.create(queued("a", inputs={"x": 1}), "w").result()
    tickets = [store.create(queued(name, inputs={"x": 2}), "w") for name in ("b", "a", "c")]
    assert [ticket.exception() is None for ticket in tickets] == [True, False, True]
    assert isinstance(tickets[1].exception(), ConflictError)
    assert store.events("a")[0].data == {"inputs": {"x": 1}}


def test_what_a_job_is_created_with(store: Store, queued: Make) -> None:
    data = {
        "tenant": "from data",
        "priority": 2,
        "deadline_s": 5.0,
        "on_deadline": "expire",
        "budget_usd": 0.5,
        "metadata": {"team": "ü"},
        "plan": {"seconds": 2.5, "usd": 0.01},
        "forked_from": "x",
    }
    store.create(queued("a", 100.0, **data), "w", tenant="given", priority=9)
    store.create(queued("b", 100.0, **data), "w").result()
    row = store.job("a")
    assert (row.tenant, row.priority, row.forked_from) == ("given", 9, "x")
    assert (row.deadline_at_s, row.on_deadline, row.budget_usd) == (105.0, "expire", 0.5)
    assert (row.predicted_s, row.predicted_usd, row.metadata) == (2.5, 0.01, {"team": "ü"})
    assert (store.job("b").tenant, store.job("b").priority) == ("from data", 2)


def test_a_fork_is_stored_whole_or_not_at_all(store: Store, queued: Make) -> None:
    more = [
        Event("a", 2, "step.completed", 90.0, "s", {"usd": 0.5}),
        Event("a", 3, "job.failed", 91.0),
        Event("a", 4, "step.completed", 92.0, "t"),
    ]
    created = store.create(queued(), "w", "me", more=more).result()
    row = store.job("a")
    assert (row.last_seq, row.usd, row.steps, row.owner) == (4, 0.5, 2, "me")
    store.append("a", [Event("a", 5, "job.started", 101.0)], created.epoch).result()
    assert [event.seq for event in store.events("a")] == [1, 2, 3, 4, 5]
    assert isinstance(store.create(queued(), "w", more=more[:1]).exception(), ConflictError), (
        "and its events are not added to the other's"
    )
    assert len(store.events("a")) == 5


def test_a_webhook_is_told_with_the_event(store: Store, queued: Make) -> None:
    hook = {"url": "https://example.org", "secret": "s" * 16, "events": None}
    epoch = store.create(queued(), "w", "me", webhook=hook).result().epoch
    store.create(queued("silent"), "w", "me").result()
    store.append("a", [Event("a", 2, "job.started", 101.0)], epoch).result()
    assert store.deliveries(1e9) == []
    stop = Event("a", 3, "job.input_required", 102.0)
    store.append("a", [stop], epoch).result()
    store.append("silent", [Event("silent", 2, "job.failed", 102.0)], 1).result()
    assert store.deliveries(101.0) == []
    (message,) = store.deliveries(103.0)
    assert (message.id, message.event, message.webhook) == ("a:3", "job.input_required", hook)
    assert store.deliveries(104.0) == []  # hidden while somebody sends it
    store.postpone("a:3", 1, 200.0, "no answer").result()
    assert store.deliveries(199.0) == []
    (again,) = store.deliveries(200.0)
    assert (again.id, again.attempts, again.error) == ("a:3", 1, "no answer")
    store.delivered("a:3").result()
    assert store.deliveries(1e9) == []
    epoch = store.acquire("a", "me")
    store.append("a", [Event("a", 4, "job.started", 300.0)], epoch)
    store.append("a", [Event("a", 5, "job.completed", 301.0)], epoch).result()
    assert [message.id for message in store.deliveries(1e9)] == ["a:5"]
    store.dropped("a:5").result()
    assert store.deliveries(1e12) == []


def test_two_senders_never_get_one_message(url: str, queued: Make) -> None:
    with open_store(url) as one, open_store(url) as two:
        for number in range(40):
            name = f"j{number}"
            one.create(queued(name), "w", "me", webhook={"url": "u"})
            one.append(name, [Event(name, 2, "job.failed", 101.0)], 1)
        one.flush()

        def send(number: int) -> list[str]:
            store = (one, two)[number % 2]
            return [message.id for message in store.deliveries(200.0, 5)]

        with ThreadPoolExecutor(8) as pool:
            sent = [name for names in pool.map(send, range(16)) for name in names]
        assert len(sent) == len(set(sent)) == 40


def test_usage_is_summed_per_tenant(store: Store, queued: Make) -> None:
    day = 86_400.0 * 20_000
    for name, tenant in (("a", "x"), ("b", "x"), ("c", "y")):
        store.create(queued(name, day - 100.0), "w", "me", tenant=tenant).result()
    prefill = {"op": "prefill", "usd": 0.25, "prompt_tokens": 100}
    decode = {"op": "decode", "usd": 0.5, "prompt_tokens": 100, "output_tokens": 7}
    for name in ("a", "b", "c"):
        store.append(name, [Event(name, 2, "step.completed", day - 50, "p", prefill)], 1)
        store.append(name, [Event(name, 3, "step.completed", day + 50, "d", decode)], 1)
    store.append("b", [Event("b", 4, "job.completed", day + 51, "", {})], 1).result()
    assert store.usage("x", day) == Usage(usd=1.0, tokens=14, in_flight=1)
    assert store.usage("x", day - 86_400) == Usage(usd=1.5, tokens=214, in_flight=1)
    assert store.usage("x", day + 45) == Usage(usd=1.0, tokens=14, in_flight=1)
    assert store.usage("x", day - 55) == Usage(usd=1.5, tokens=214, in_flight=1)
    assert store.usage("x", day + 60) == Usage(0.0, 0, 1)
    assert store.usage("nobody", day) == Usage()
    assert store.counts("x") == {"queued": 1, "succeeded": 1}
    assert store.counts() == {"queued": 2, "succeeded": 1}


def test_what_running_jobs_spend_is_summed_soon_and_at_the_latest_at_the_end(
    url: str, queued: Make
) -> None:
    spent = {"op": "decode", "usd": 1.0, "output_tokens": 5}
    with open_store(url) as store:
        for name in "ab":
            store.create(queued(name), "w", "me").result()
        for seq in range(2, 12):
            store.append("a", [Event("a", seq, "step.completed", 100.0, "s", spent)], 1).result()
        end = time.monotonic() + 30.0
        while store.usage("local", 0.0).usd < 10.0:  # any commit will do, a heartbeat's too
            assert time.monotonic() < end
            store.heartbeat("me").result()
        store.append("b", [Event("b", 2, "step.completed", 100.0, "s", spent)], 1).result()
        more = Event("b", 3, "step.completed", 100.0, "s", spent)
        store.append("b", [more], 1).result()
        store.append("b", [more], 1).exception()  # refused, and so not counted
    with open_store(url) as store:
        assert store.usage("local", 0.0) == Usage(12.0, 60, 2)


def test_a_closed_store_says_so(store: Store, queued: Make) -> None:
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.create(queued(), "w")
    store.close()
