"""The scheduler under random traffic: nothing lost, no limit broken, nobody starves.

The runner checks each step against a model of the KV memory, so a block that is shared too
early, reused too soon or written by two requests fails here.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gangline.backends.checking import CheckingRunner
from gangline.backends.engine.config import SchedulerConfig
from gangline.backends.engine.core import EngineCore
from gangline.ir.specs.request import (
    Cancel,
    Finished,
    RequestFailed,
    SamplingParams,
    Submit,
    UpdateDeadline,
)

NUM_BLOCKS, SIZE, CONTEXT = 12, 4, 44


class SchedulerMachine(RuleBasedStateMachine):
    """Requests with few distinct prefixes on a device with little memory."""

    @initialize(
        budget=st.integers(3, 24),
        seats=st.integers(1, 3),
        chunk=st.integers(1, 16),
        tokens_per_step=st.integers(1, 3),
        policy=st.sampled_from(["urgency", "fcfs"]),
    )
    def start(self, budget: int, seats: int, chunk: int, tokens_per_step: int, policy: str) -> None:
        self.config = SchedulerConfig(budget, seats, chunk, policy, patience_s=10.0)
        self.runner = CheckingRunner(
            tokens_per_step=tokens_per_step,
            num_blocks=NUM_BLOCKS,
            block_size=SIZE,
            context=CONTEXT,
        )
        self.core = EngineCore(self.runner, self.config)
        self.now = 1.0
        self.submits: dict[str, Submit] = {}
        self.ended: dict[str, Finished | RequestFailed] = {}
        self.cancelled: set[str] = set()

    @rule(
        prefix=st.sampled_from([(), (1,) * 8, (1,) * 17, (2,) * 12]),
        own=st.lists(st.integers(3, 4), min_size=1, max_size=6),
        max_tokens=st.integers(1, 20),
        deadline=st.sampled_from([0.0, 5.0, 20.0, float("inf")]),
        salt=st.sampled_from(["", "tenant"]),
    )
    def submit(
        self, prefix: tuple[int, ...], own: list[int], max_tokens: int, deadline: float, salt: str
    ) -> None:
        request = Submit(
            f"r{len(self.submits)}",
            "fake",
            (*prefix, *own),
            SamplingParams(max_tokens),
            arrival_s=self.now,
            deadline_s=self.now + deadline,
            cache_salt=salt,
        )
        self.submits[request.request_id] = request
        assert self.core.handle(request, self.now) == []
        assert self.core.handle(request, self.now) == []  # delivered twice: once is enough

    @precondition(lambda self: self.submits)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.submits)))
        events = self.core.handle(Cancel(request_id), self.now)
        assert len(events) == (request_id not in self.ended)
        for event in events:
            assert isinstance(event, RequestFailed)
            self.ended[request_id] = event
            self.cancelled.add(request_id)

    @precondition(lambda self: self.submits)
    @rule(data=st.data(), deadline=st.floats(0.0, 50.0))
    def update_deadline(self, data: st.DataObject, deadline: float) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.submits)))
        self.core.handle(UpdateDeadline(request_id, deadline), self.now)

    @rule(num_steps=st.integers(1, 5))
    def steps(self, num_steps: int) -> None:
        for _ in range(num_steps):
            self.step()

    def step(self) -> None:
        output = self.core.schedule(self.now)
        assert bool(output.scheduled) == self.core.has_work
        assert output.num_batched_tokens <= self.config.max_batched_tokens
        assert len(output.scheduled) <= self.config.max_num_seqs
        sampled = self.runner.execute(output)
        self.now += 1.0
        for event in self.core.update(output, sampled, self.now - 1.0, [self.now]):
            if isinstance(event, Finished):
                assert event.request_id not in self.ended, "ended twice"
                self.ended[event.request_id] = event

    @invariant()
    def seats_and_blocks_add_up(self) -> None:
        if not hasattr(self, "core"):
            return
        scheduler = self.core.scheduler
        assert scheduler.num_running <= self.config.max_num_seqs
        assert scheduler.num_unfinished == len(self.submits) - len(self.ended)
        if not scheduler.num_running:
            assert scheduler.blocks.num_free == NUM_BLOCKS

    def teardown(self) -> None:
        if not hasattr(self, "core"):
            return
        # Each step moves the most urgent request, so a bound on the work bounds the steps.
        left = sum(2 * CONTEXT for name in self.submits if name not in self.ended)
        while self.core.has_work:
            self.step()
            left -= 1
            assert left >= 0, "no progress"
        self.seats_and_blocks_add_up()
        assert set(self.ended) == set(self.submits)
        for request_id, event in self.ended.items():
            assert isinstance(event, Finished) == (request_id not in self.cancelled)
            if isinstance(event, Finished):
                self.check_output(event)

    def check_output(self, event: Finished) -> None:
        """Alone on a fresh device the same request gives the same tokens."""
        submit = self.submits[event.request_id]
        runner = CheckingRunner(num_blocks=NUM_BLOCKS, block_size=SIZE, context=CONTEXT)
        core = EngineCore(runner, SchedulerConfig())
        core.handle(submit, 0.0)
        while core.has_work:
            output = core.schedule(0.0)
            for alone in core.update(output, runner.execute(output), 0.0, [0.0]):
                if isinstance(alone, Finished):
                    assert alone.token_ids == event.token_ids


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
