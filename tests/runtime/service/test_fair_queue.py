"""The fair queue: shares between tenants, order within one, suspects, expiry."""

from __future__ import annotations

import random
from collections import Counter

from gangline.runtime.service.fair_queue import FairQueue, Waiting


def job(name: str, tenant: str = "a", priority: int = 5, since_s: float = 0.0) -> Waiting:
    return Waiting(name, tenant, priority, since_s)


def drain(queue: FairQueue, now: float = 0.0) -> list[str]:
    """Give the order in which jobs come, each ending before the next one starts."""
    order = []
    while (found := queue.take(now)) is not None:
        order.append(found.job_id)
        queue.end(found.job_id, now)
    return order


def test_ten_thousand_jobs_of_one_tenant_delay_another_s_by_one_turn() -> None:
    queue = FairQueue(max_running=4)
    for number in range(10_000):
        queue.push(job(f"a{number}", "a"), 0.0)
    running = [queue.take(0.0) for _ in range(4)]
    assert all(running)
    queue.push(job("b", "b", since_s=5.0), 5.0)
    assert queue.take(5.0) is None  # no slot is free
    assert running[0] is not None
    queue.end(running[0].job_id, 6.0)
    found = queue.take(6.0)
    assert found is not None and found.job_id == "b"


def test_one_slot_goes_back_and_forth_though_one_tenant_came_first() -> None:
    queue = FairQueue(max_running=1)
    for number in range(50):
        queue.push(job(f"a{number}", "a"), 0.0)
    for number in range(5):
        queue.push(job(f"b{number}", "b"), 0.0)
    order = drain(queue)
    assert Counter(name[0] for name in order[:10]) == {"a": 5, "b": 5}
    assert len(order) == 55


def test_shares_follow_weights_in_slot_time() -> None:
    queue, now = FairQueue(max_running=8), 0.0
    for number in range(4000):
        queue.push(job(f"a{number}", "a"), 0.0, weight=3.0)
        queue.push(job(f"b{number}", "b"), 0.0, weight=1.0)
    rng, held = random.Random(1), Counter[str]()
    ends: list[tuple[float, Waiting]] = []
    for _ in range(2000):
        while (found := queue.take(now)) is not None:
            # b's jobs are four times as long: it must get fewer of them, not more time.
            length = rng.uniform(0.5, 1.5) * (4.0 if found.tenant == "b" else 1.0)
            ends.append((now + length, found))
        ends.sort(key=lambda end: -end[0])
        at, ended = ends.pop()
        for running in [*(row for _, row in ends), ended]:
            held[running.tenant] += int(1e6 * (at - now))
        now = at
        queue.end(ended.job_id, now)
    assert 2.6 < held["a"] / held["b"] < 3.4


def test_jobs_of_no_length_take_turns_by_weight_too() -> None:
    queue = FairQueue(max_running=1)
    for number in range(100):
        queue.push(job(f"a{number}", "a"), 0.0, weight=3.0)
        queue.push(job(f"b{number}", "b"), 0.0, weight=1.0)
    assert 29 <= sum(name.startswith("a") for name in drain(queue)[:40]) <= 31


def test_an_idle_tenant_saves_nothing_up() -> None:
    queue, now = FairQueue(max_running=1), 0.0
    queue.push(job("b-first", "b"), 0.0)
    for number in range(200):
        queue.push(job(f"a{number}", "a"), 0.0)
    order = []
    for number in range(40):
        if number == 20:
            for late in range(20):
                queue.push(job(f"b{late}", "b", since_s=now), now)
        found = queue.take(now)
        assert found is not None
        order.append(found.tenant)
        now += 1.0
        queue.end(found.job_id, now)
    # After 18 s of a alone, b does not get 18 turns in a row.
    assert 9 <= order[20:].count("b") <= 11


def test_a_tenant_with_long_jobs_does_not_take_every_slot_that_frees() -> None:
    queue = FairQueue(max_running=4)
    for number in range(100):
        queue.push(job(f"long{number}", "long"), 0.0)
    held = [queue.take(0.0) for _ in range(3)]
    assert all(held)
    for number in range(100):
        queue.push(job(f"short{number}", "short"), 10.0)
    order = []
    for turn in range(12):
        found = queue.take(10.0 + turn)
        assert found is not None
        order.append(found.tenant)
        queue.end(found.job_id, 11.0 + turn)
    assert order.count("short") == 12  # three slots are held by `long` all the while


def test_priority_goes_first_and_waiting_makes_up_for_it() -> None:
    queue = FairQueue(max_running=1, aging_s=30.0)
    queue.push(job("old-low", priority=0, since_s=0.0), 0.0)
    queue.push(job("high", priority=9, since_s=100.0), 100.0)
    queue.push(job("middle", priority=5, since_s=100.0), 100.0)
    queue.push(job("late-high", priority=9, since_s=280.0), 280.0)
    # 9 priorities are 270 s of waiting: old-low was there 280 s before late-high.
    assert drain(queue, 280.0) == ["high", "middle", "old-low", "late-high"]


def test_equal_jobs_come_in_the_order_they_were_given() -> None:
    queue = FairQueue(max_running=1)
    for number in range(20):
        queue.push(job(f"{number:02}"), 0.0)
    assert drain(queue) == [f"{number:02}" for number in range(20)]


def test_suspects_run_one_at_a_time_and_hold_up_nobody_else() -> None:
    queue = FairQueue(max_running=4)
    for name in ("s1", "s2"):
        queue.push(Waiting(name, "a", 9, 0.0, solo=True), 0.0)
    queue.push(job("plain", priority=0), 0.0)
    taken = [found.job_id for _ in range(4) if (found := queue.take(0.0)) is not None]
    assert taken == ["s1", "plain"]
    queue.end("s1", 1.0)
    found = queue.take(1.0)
    assert found is not None and found.job_id == "s2"


def test_suspects_of_one_tenant_let_the_next_tenant_run() -> None:
    queue = FairQueue(max_running=4)
    queue.push(Waiting("s1", "a", 5, 0.0, solo=True), 0.0)
    queue.push(Waiting("s2", "b", 5, 0.0, solo=True), 0.0)
    queue.push(job("c", "c"), 0.0)
    assert {found.job_id for _ in range(4) if (found := queue.take(0.0))} == {"s1", "c"}


def test_removed_jobs_do_not_come_and_positions_count_one_s_own_only() -> None:
    queue = FairQueue(max_running=1)
    for number in range(4):
        queue.push(job(f"a{number}", "a"), 0.0)
        queue.push(job(f"b{number}", "b"), 0.0)
    assert queue.remove("a1") is not None and queue.remove("a1") is None
    assert [queue.position(f"a{n}") for n in range(4)] == [0, None, 1, 2]
    assert "a1" not in drain(queue)


def test_expired_jobs_are_handed_out_without_a_slot() -> None:
    queue = FairQueue(max_running=1)
    queue.push(job("running"), 0.0)
    assert queue.take(0.0) is not None
    queue.push(Waiting("soon", "a", 5, 0.0, expires_s=10.0), 0.0)
    queue.push(Waiting("later", "a", 5, 0.0, expires_s=20.0), 0.0)
    assert queue.expired(9.9) == []
    assert [found.job_id for found in queue.expired(10.0)] == ["soon"]
    assert queue.num_running == 1 and len(queue) == 1


def test_a_job_is_in_once_and_what_ended_is_forgotten() -> None:
    queue = FairQueue(max_running=2)
    queue.push(job("a"), 0.0)
    queue.push(job("a"), 0.0)
    assert len(queue) == 1
    assert queue.take(0.0) is not None
    queue.push(job("a"), 0.0)  # it runs
    assert queue.take(0.0) is None
    queue.end("a", 1.0)
    queue.end("a", 1.0)
    assert queue.num_running == 0 and list(queue.tenants()) == []


def test_memory_does_not_grow_with_jobs_that_have_gone() -> None:
    queue = FairQueue(max_running=1)
    queue.push(job("stays", priority=0, since_s=1e9), 0.0)
    for number in range(5000):
        queue.push(Waiting(f"j{number}", "a", 5, 0.0, expires_s=1e9), 0.0)
        assert queue.remove(f"j{number}") is not None
    (share,) = queue.tenants()
    assert len(share.line) == 1 and len(queue._expiring) < 200
