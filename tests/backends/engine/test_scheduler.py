"""The scheduler, driven by hand: what each step holds, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Any

import pytest

from gangline.backends.base import Sampled, SchedulerOutput
from gangline.backends.checking import CheckingRunner
from gangline.backends.engine.block_manager import BlockManager
from gangline.backends.engine.config import SchedulerConfig
from gangline.backends.engine.policy import Urgency
from gangline.backends.engine.request import Request
from gangline.backends.engine.scheduler import Progress, Scheduler
from gangline.ir.errors import BackendError, ConfigError, InputError
from gangline.ir.specs.request import Submit

MakeSubmit = Callable[..., Submit]


class Driver:
    """A scheduler and a runner that checks what it is told; never ends outputs by itself."""

    def __init__(
        self, *, num_blocks: int = 256, block_size: int = 16, context: int = 4096, **config: Any
    ) -> None:
        self.runner = CheckingRunner(
            num_output_tokens=lambda request: 10**9, num_blocks=num_blocks, block_size=block_size
        )
        self.blocks = BlockManager(num_blocks, block_size)
        self.scheduler = Scheduler(SchedulerConfig(**config), self.blocks, context)
        self.progress: list[Progress] = []

    def add(self, *requests: Submit) -> None:
        for request in requests:
            self.scheduler.add(request)
            self.runner.add(request)

    def step(self) -> SchedulerOutput:
        output = self.scheduler.schedule(0.0)
        sampled = self.runner.execute(output)
        self.progress += self.scheduler.update(output, sampled)
        return output

    def run(self) -> list[SchedulerOutput]:
        outputs = []
        while self.scheduler.num_unfinished:
            outputs.append(self.step())
            assert outputs[-1].scheduled, "requests in flight, none scheduled"
        return outputs

    def finished(self) -> list[str]:
        return [row.request_id for row in self.progress if row.finish_reason]


def sizes(output: SchedulerOutput) -> dict[str, int]:
    return {entry.request_id: len(entry.token_ids) for entry in output.scheduled}


def test_a_prompt_then_one_token_a_step_until_max_tokens(make_submit: MakeSubmit) -> None:
    driver = Driver()
    driver.add(make_submit("a", 20, max_tokens=3))
    assert [sizes(output)["a"] for output in driver.run()] == [20, 1, 1]
    assert [len(row.token_ids) for row in driver.progress] == [1, 1, 1]
    assert [row.finish_reason for row in driver.progress] == [None, None, "length"]
    assert driver.blocks.num_free == driver.blocks.num_blocks


def test_a_long_prompt_comes_in_chunks_and_draws_only_at_its_end(make_submit: MakeSubmit) -> None:
    driver = Driver(max_batched_tokens=64)
    driver.add(make_submit("a", 150, max_tokens=1))
    outputs = driver.run()
    assert [sizes(output)["a"] for output in outputs] == [64, 64, 22]
    assert [output.scheduled[0].sample for output in outputs] == [False, False, True]


def test_decodes_go_first_and_a_long_prompt_stalls_them_by_one_chunk_at_most(
    make_submit: MakeSubmit,
) -> None:
    driver = Driver(max_batched_tokens=128, chunk_tokens=48)
    driver.add(make_submit("a", 8, max_tokens=20), make_submit("b", 8, max_tokens=20))
    driver.step()
    driver.add(make_submit("long", 2000, max_tokens=1, deadline_s=1.0))
    while driver.scheduler.num_unfinished == 3:
        output = driver.step()
        # The gap between two tokens of a decode is one step: its token, the other's, a chunk.
        assert sizes(output)["a"] == sizes(output)["b"] == 1
        assert output.num_batched_tokens <= 2 + 48
    assert set(driver.finished()) == {"a", "b"}
    assert sizes(driver.step()) == {"long": 128}  # nobody to stall: the whole budget


def test_three_identical_prompts_submitted_together_compute_the_prompt_once(
    make_submit: MakeSubmit,
) -> None:
    prompt = range(500)
    driver = Driver(max_batched_tokens=128, chunk_tokens=128)
    driver.add(
        *(make_submit(name, prompt, max_tokens=4, seed=seed) for seed, name in enumerate("abc"))
    )
    driver.run()
    computed = driver.runner.num_computed_tokens
    # The last 500 % 16 tokens fill no block, so they cannot be shared; 3 tokens are decoded.
    assert sorted(computed.values()) == [4 + 3, 4 + 3, 500 + 3]
    cached = {row.request_id: row.num_cached for row in driver.progress}
    assert sorted(cached.values()) == [0, 496, 496]


def test_a_shorter_prefix_is_waited_for_no_longer_than_it_takes(make_submit: MakeSubmit) -> None:
    driver = Driver(max_batched_tokens=64, chunk_tokens=64)
    long = make_submit("long", range(320), max_tokens=1, deadline_s=1.0)
    driver.add(long, make_submit("short", [*range(64), 7, 8, 9], max_tokens=1))
    assert sizes(driver.step()) == {"long": 64}
    driver.step()
    driver.run()
    assert driver.runner.num_computed_tokens["short"] == 3


def test_the_last_prompt_token_is_always_computed(make_submit: MakeSubmit) -> None:
    driver = Driver()
    driver.add(make_submit("a", range(64), max_tokens=1))
    driver.run()
    driver.add(make_submit("b", range(64), max_tokens=1))
    assert sizes(driver.step()) == {"b": 16}


def test_tenants_with_different_salts_share_nothing(make_submit: MakeSubmit) -> None:
    driver = Driver()
    for salt in ("", "x", "y"):
        driver.add(make_submit(f"a{salt}", range(64), max_tokens=1, cache_salt=salt))
        driver.run()
    assert set(driver.runner.num_computed_tokens.values()) == {64}


def test_who_computes_a_prefix_inherits_the_urgency_of_who_waits_for_it(
    make_submit: MakeSubmit,
) -> None:
    driver = Driver(max_batched_tokens=32)
    driver.add(make_submit("owner", range(320), max_tokens=1))
    driver.step()
    driver.add(make_submit("urgent", range(320), max_tokens=1, deadline_s=2.0))
    driver.step()
    driver.add(make_submit("other", 640, max_tokens=1, deadline_s=20.0))
    driver.run()
    assert driver.finished() == ["owner", "urgent", "other"]


def test_admission_leaves_a_block_for_every_request_that_runs(make_submit: MakeSubmit) -> None:
    driver = Driver(num_blocks=6, block_size=4)
    driver.add(make_submit("running", 16, max_tokens=4))
    driver.step()
    driver.add(make_submit("two blocks", 8, max_tokens=1, deadline_s=5.0))
    assert "two blocks" not in sizes(driver.step())
    driver.scheduler.cancel("two blocks")
    driver.add(make_submit("one block", 4, max_tokens=1))
    assert "one block" not in sizes(driver.step())  # the running one took its block
    driver = Driver(num_blocks=6, block_size=4)
    driver.add(make_submit("running", 15, max_tokens=4))
    driver.step()
    driver.add(make_submit("one block", 4, max_tokens=1))
    assert "one block" in sizes(driver.step())


@pytest.mark.parametrize("how", ["cancelled", "pre-empted"])
def test_who_waits_for_a_prefix_goes_on_when_its_owner_does_not(
    make_submit: MakeSubmit, how: str
) -> None:
    driver = Driver(max_batched_tokens=32, chunk_tokens=32)
    driver.add(make_submit("owner", range(320), max_tokens=1, deadline_s=1.0))
    driver.add(make_submit("held", range(320), max_tokens=1))
    driver.step()
    if how == "cancelled":
        assert driver.scheduler.cancel("owner")
    else:
        driver.scheduler._preempt(driver.scheduler._running["owner"])
    driver.run()
    assert "held" in driver.finished()


def test_a_cancelled_request_leaves_nothing_behind(make_submit: MakeSubmit) -> None:
    driver = Driver(max_num_seqs=2)
    driver.add(*(make_submit(name, 40) for name in ("running", "held-up", "waiting")))
    driver.step()
    for name in ("running", "held-up", "waiting"):
        assert driver.scheduler.cancel(name)
        assert not driver.scheduler.cancel(name)
    assert driver.scheduler.schedule(0.0) == SchedulerOutput()
    assert driver.blocks.num_free == driver.blocks.num_blocks


def test_an_urgent_prompt_overtakes_a_long_one_that_runs_already(make_submit: MakeSubmit) -> None:
    driver = Driver(max_batched_tokens=64)
    driver.add(make_submit("long", 640, max_tokens=1, deadline_s=30.0))
    driver.step()
    driver.add(make_submit("urgent", 32, max_tokens=1, deadline_s=2.0))
    assert sizes(driver.step()) == {"urgent": 32, "long": 32}


def test_urgency_is_the_latest_start_and_fcfs_ignores_it(make_submit: MakeSubmit) -> None:
    requests = [
        make_submit("late deadline", 8, max_tokens=1, deadline_s=20.0),
        make_submit("much to do after", 8, max_tokens=1, deadline_s=25.0, remaining_s=20.0),
        make_submit("much to do itself", 8, max_tokens=300, deadline_s=25.0),
        make_submit("no deadline", 8, max_tokens=1),
    ]
    orders = {}
    for policy in ("urgency", "fcfs"):
        driver = Driver(max_num_seqs=4, policy=policy, decode_s_per_token=0.05)
        driver.add(*requests)
        orders[policy] = list(sizes(driver.step()))
    names = [request.request_id for request in requests]
    assert orders["fcfs"] == names
    assert orders["urgency"] == [names[1], names[2], names[0], names[3]]


def test_update_deadline_moves_a_waiting_request(make_submit: MakeSubmit) -> None:
    driver = Driver(max_num_seqs=1)
    driver.add(make_submit("running", 8, max_tokens=2))
    driver.step()
    for name in ("first", "second", "third"):
        driver.add(make_submit(name, 8, max_tokens=1, deadline_s=20.0))
    driver.scheduler.update_deadline("third", 5.0)
    driver.scheduler.update_deadline("first", inf)
    driver.scheduler.update_deadline("gone", 5.0)
    driver.run()
    assert driver.finished() == ["running", "third", "second", "first"]


def test_a_request_without_deadline_waits_for_arrivals_within_patience_only(
    make_submit: MakeSubmit,
) -> None:
    """The bound: whatever arrives more than patience_s later cannot go before it."""
    driver = Driver(max_num_seqs=1, patience_s=5.0)
    driver.add(make_submit("first", 4, max_tokens=1), make_submit("patient", 4, max_tokens=1))
    arrival_s = 1.0
    while "patient" not in driver.finished():
        arrival_s += 1.0
        # Late already and with hours to do: as urgent as can be, and one more in every step.
        name = f"urgent {arrival_s}"
        driver.add(
            make_submit(
                name, 4, max_tokens=1, arrival_s=arrival_s, deadline_s=0.0, remaining_s=9999.0
            )
        )
        driver.step()
        assert arrival_s < 20.0
    ahead = driver.finished()[: driver.finished().index("patient")]
    assert max(float(name.split()[1]) for name in ahead if " " in name) <= 1.0 + 5.0


def test_the_least_urgent_is_preempted_and_finishes_later_all_the_same(
    make_submit: MakeSubmit,
) -> None:
    driver = Driver(num_blocks=8, block_size=4)
    names = {"urgent": 5.0, "relaxed": 50.0}
    driver.add(*(make_submit(n, 10, max_tokens=20, deadline_s=d) for n, d in names.items()))
    outputs = driver.run()
    assert [name for output in outputs for name in output.preempted] == ["relaxed"]
    assert driver.finished() == ["urgent", "relaxed"]
    assert sum(len(row.token_ids) for row in driver.progress) == 40


def test_a_large_request_is_not_passed_by_small_ones_for_ever(make_submit: MakeSubmit) -> None:
    driver = Driver(num_blocks=10, block_size=4)
    driver.add(make_submit("running", 20, max_tokens=12, deadline_s=2.0))
    driver.step()
    driver.add(make_submit("large", 32, max_tokens=1, deadline_s=10.0))
    driver.add(*(make_submit(f"small {i}", 4, max_tokens=1, deadline_s=20.0) for i in range(3)))
    driver.run()
    assert driver.finished()[:2] == ["running", "large"]


def test_forced_tokens_are_computed_in_one_go_and_cut_at_max_tokens(
    make_submit: MakeSubmit,
) -> None:
    driver = Driver()
    driver.add(make_submit("a", 4, max_tokens=10))
    widths = []
    for _ in range(3):
        output = driver.scheduler.schedule(0.0)
        widths.append(sizes(output)["a"])
        driver.progress += driver.scheduler.update(output, {"a": Sampled((5, 6, 7, 8))})
    assert widths == [4, 4, 4]
    assert [row.token_ids for row in driver.progress] == [(5, 6, 7, 8), (5, 6, 7, 8), (5, 6)]
    assert driver.progress[-1].finish_reason == "length"


def test_forced_tokens_of_one_cannot_take_the_token_of_another(make_submit: MakeSubmit) -> None:
    driver = Driver(max_batched_tokens=8, max_num_seqs=4)
    driver.add(*(make_submit(name, 2, max_tokens=30) for name in "abcd"))
    output = driver.scheduler.schedule(0.0)
    forced = Sampled(tuple(range(9)))
    driver.scheduler.update(output, dict.fromkeys("abcd", forced))
    output = driver.scheduler.schedule(0.0)
    assert sizes(output) == {"a": 5, "b": 1, "c": 1, "d": 1}
    assert not any(entry.sample for entry in output.scheduled)


def test_the_runners_reason_counts_unless_its_tokens_were_cut(make_submit: MakeSubmit) -> None:
    for tokens, reason in (((1, 2), "grammar"), ((1, 2, 3), "length"), ((), "grammar")):
        driver = Driver()
        driver.add(make_submit("a", 4, max_tokens=2))
        output = driver.scheduler.schedule(0.0)
        (row,) = driver.scheduler.update(output, {"a": Sampled(tokens, "grammar")})
        assert (row.token_ids, row.finish_reason) == (tokens[:2], reason)


@pytest.mark.parametrize(
    ("prompt", "max_tokens", "says"),
    [
        (0, 4, "0 prompt tokens"),
        (4, 0, "wants 0 output tokens"),
        (100, 30, "context of 128"),
        (60, 22, "80 tokens this device has KV memory for"),
    ],
)
def test_what_can_never_run_is_refused_at_once(
    make_submit: MakeSubmit, prompt: int, max_tokens: int, says: str
) -> None:
    driver = Driver(num_blocks=5, block_size=16, context=128)
    with pytest.raises(InputError, match=says) as caught:
        driver.add(make_submit("a", prompt, max_tokens=max_tokens))
    assert caught.value.next_step
    driver.add(make_submit("fits", 60, max_tokens=21))
    driver.run()
    assert driver.finished() == ["fits"]


def test_an_id_in_flight_and_a_wrong_configuration_are_refused(make_submit: MakeSubmit) -> None:
    driver = Driver()
    driver.add(make_submit("a"))
    with pytest.raises(BackendError, match="in flight already"):
        driver.add(make_submit("a"))
    for wrong in ({"policy": "luck"}, {"chunk_tokens": 0}, {"max_num_seqs": 513}):
        with pytest.raises(ConfigError):
            replace(SchedulerConfig(), **wrong)


def test_a_step_costs_what_it_schedules_not_what_waits(
    make_submit: MakeSubmit, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(max_num_seqs=4, num_blocks=40)
    driver.add(*(make_submit(f"r{i}", 32, max_tokens=50) for i in range(500)))
    looks = 0
    match_prefix = driver.blocks.match_prefix

    def counted(keys: list[bytes]) -> list[int]:
        nonlocal looks
        looks += 1
        return match_prefix(keys)

    monkeypatch.setattr(driver.blocks, "match_prefix", counted)
    for _ in range(20):
        driver.step()
    assert looks <= 4 + 20


def test_repeat_counts_the_steps_until_something_is_decided(make_submit: MakeSubmit) -> None:
    driver = Driver(max_num_seqs=2)
    driver.add(make_submit("a", 8, max_tokens=10), make_submit("b", 8, max_tokens=30))
    assert driver.step().repeat == 1  # prompts
    assert driver.step().repeat == 9  # then a has its 10 tokens
    driver.add(make_submit("waits for a seat", 8, max_tokens=10))
    assert driver.step().repeat == 8
    driver.scheduler.cancel("a")
    assert driver.step().repeat == 1  # lets the waiting one in


def test_a_stop_string_or_a_lack_of_blocks_ends_the_repetition(make_submit: MakeSubmit) -> None:
    driver = Driver()
    driver.add(make_submit("a", 8, max_tokens=10, stop=("x",)))
    driver.step()
    assert driver.step().repeat == 1
    driver = Driver(num_blocks=6, block_size=4)
    driver.add(make_submit("a", 8, max_tokens=16), make_submit("b", 8, max_tokens=16))
    driver.step()
    # Six blocks hold 12 tokens each; 8 are computed, so there are steps 9, 10, 11 and 12.
    assert driver.step().repeat == 4


def test_a_head_without_blocks_is_looked_at_again_when_a_block_fills_up(
    make_submit: MakeSubmit,
) -> None:
    driver = Driver(num_blocks=12, block_size=8)
    driver.add(make_submit("a", 20, max_tokens=40))
    driver.step()
    driver.add(make_submit("large", 80, max_tokens=1))
    repeats = [driver.step().repeat for _ in range(4)]
    assert repeats == [4, 3, 2, 1]  # 20 computed tokens, the block is full with 24


def test_a_lower_priority_number_goes_first_within_the_patience(
    make_submit: MakeSubmit,
) -> None:
    policy = Urgency(0.0, 0.0, patience_s=60.0)

    def key(arrival_s: float, priority: int, deadline_s: float = inf) -> float:
        submit = make_submit("a", arrival_s=arrival_s, priority=priority, deadline_s=deadline_s)
        return policy.key(Request(submit, 0, b"", [1], submit.deadline_s, 0.0))

    assert key(59.0, -1) < key(0.5, 0) < key(0.5, 1)
    assert key(1.0, 1) < key(62.0, 0)  # it waits, but not for ever
    assert key(1.0, 0, deadline_s=3.0) < key(1.0, 1, deadline_s=2.0)
