"""Prefills that begin before their prompts are known: issued once, waited for, never repeated."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from typing import Any

import pytest

import gangline as gl
from gangline.backends.fake import FakeBackend, encode
from gangline.ir.errors import StepError
from gangline.ir.specs.event import Event
from gangline.ir.specs.request import Finished
from gangline.runtime.api import run_job
from gangline.runtime.dispatch.advance import Advance
from gangline.runtime.dispatch.commands import (
    CancelRequest,
    Encode,
    Prefill,
    RunTool,
    SubmitRequest,
)
from gangline.runtime.dispatch.engine_message import submit_message
from gangline.runtime.dispatch.fork import fork
from gangline.runtime.dispatch.job import Job
from gangline.runtime.dispatch.job_run import JobRun
from gangline.runtime.dispatch.outcome import RequestOutcome
from gangline.runtime.dispatch.pricing import Pricing
from gangline.runtime.dispatch.prompt import tokens_of

BEGUN = "bp_answer.cache.prefill"


@gl.llm(model="m", max_tokens=8)
def bp_answer(text: str, question: str) -> str:
    """Text: {text} Question: {question}"""


@gl.tool(effects="read")
def bp_ask(text: str) -> list[str]:
    return ["one", "two"]


@gl.workflow
def bp_flow(text: str) -> list[str]:
    kv = bp_answer.cache(text=text)
    return gl.map(lambda item: bp_answer(question=item, cache=kv), bp_ask(text))


@gl.workflow
def bp_plain(text: str) -> list[str]:
    return gl.map(lambda item: bp_answer(text, item), bp_ask(text))


class World:
    """Carries a job's actions out, one at a time; engines know what was computed."""

    def __init__(self, run: JobRun | None = None) -> None:
        self.run = run or JobRun("j", Pricing(None))
        self.events: list[Event] = []
        self.waiting: list[Any] = []
        self.done: list[Any] = []
        self.now = 100.0

    def take(self, advance: Advance) -> None:
        self.events += advance.events
        self.waiting += advance.actions

    def begin(self) -> World:
        job = Job("bp_flow", bp_flow.program(), {"text": "a long text"})
        self.take(self.run.queue(job.to_event_data(), self.now))
        self.take(self.run.start(self.now))
        return self

    def find(self, kind: type[Any]) -> Any:
        return next(action for action in self.waiting if isinstance(action, kind))

    def kinds(self) -> list[str]:
        return [type(action).__name__ for action in self.waiting]

    def do(self, action: Any) -> None:
        self.waiting.remove(action)
        self.done.append(action)
        self.now += 1.0
        if isinstance(action, Encode):
            value: Any = tokens_of(encode, action.messages, action.open)
        elif isinstance(action, RunTool):
            value = ["one", "two"]
        else:
            self.take(self.run.finished(action, self.outcome(action), self.now))
            return
        self.take(self.run.completed(action, value, self.now, self.now - 1.0, self.now))

    def outcome(self, action: SubmitRequest | Prefill) -> RequestOutcome:
        size = len(action.prompt_tokens)
        end = Finished(
            *(action.request_id, self.now, (65,), "A", "stop"),
            prompt_tokens=size,
            cached_tokens=0,
            prefill_busy_s=2.0,
            decode_busy_s=0.5,
        )
        return RequestOutcome(end, self.now - 1.0, self.now)

    def finish(self) -> World:
        while self.waiting:
            self.do(self.waiting[0])
        return self


def test_it_begins_while_a_tool_runs_and_what_continues_it_waits() -> None:
    world = World().begin()
    assert world.kinds() == ["Encode", "RunTool"]
    world.do(world.find(Encode))
    assert world.kinds() == ["RunTool", "Prefill"]
    world.do(world.find(RunTool))
    world.do(world.find(Encode))
    world.do(world.find(Encode))
    assert world.kinds() == ["Prefill"], "no request before the beginning is computed"
    begun = world.find(Prefill)
    world.do(begun)
    first, second = world.waiting
    assert isinstance(first, SubmitRequest) and isinstance(second, SubmitRequest)
    size = len(begun.prompt_tokens)
    assert first.prompt_tokens[:size] == second.prompt_tokens[:size] == begun.prompt_tokens
    assert first.prompt_tokens != second.prompt_tokens
    world.finish()
    assert world.events[-1].data["output"] == ["A", "A"]


def test_an_engine_is_asked_for_no_more_than_a_first_token() -> None:
    world = World().begin()
    world.do(world.find(Encode))
    message = submit_message(world.find(Prefill), 1.0, "tenant", 3)
    assert (message.sampling.max_tokens, message.sampling.grammar) == (1, None)
    assert (message.cache_salt, message.priority, message.embed) == ("tenant", 3, False)


def test_the_record_says_what_it_took_and_what_came_of_it() -> None:
    world = World().begin().finish()
    ends = {event.step_id: event.data for event in world.events if event.type == "step.completed"}
    begun = ends[BEGUN]
    assert (begun["op"], begun["busy_s"], begun["cached_tokens"]) == ("prefill", 2.5, 0)
    assert begun["prompt_tokens"] == len(world.done[2].prompt_tokens)
    assert set(ends["map[0]/bp_answer.prefill"]["parents"]) == {
        "map[0]/bp_answer.tokenize",
        BEGUN,
    }
    started = [event.step_id for event in world.events if event.type == "step.started"]
    assert len(started) == len(set(started)) and BEGUN in started


@pytest.mark.parametrize("crash", range(2, 18))
def test_after_a_crash_at_any_event_nothing_recorded_runs_again(crash: int) -> None:
    whole = World().begin().finish()
    assert len(whole.events) > 18
    log = whole.events[:crash]
    run = JobRun("j", Pricing(None))
    run.replay(log)
    again = World(run)
    again.take(run.start(200.0, {"resumed": True}))
    again.finish()
    ended = {event.step_id for event in log if event.type == "step.completed"}
    assert not ended & {action.step.id for action in again.done}
    assert again.events[-1].data["output"] == ["A", "A"]
    begun = [event for event in [*log, *again.events] if event.step_id == BEGUN]
    assert [event.type for event in begun].count("step.completed") == 1


def test_a_job_that_is_cancelled_tells_the_engine() -> None:
    world = World().begin()
    world.do(world.find(Encode))
    begun = world.find(Prefill)
    advance = world.run.cancel(105.0)
    told = [action for action in advance.actions if isinstance(action, CancelRequest)]
    assert [action.request_id for action in told] == [begun.request_id]


def test_a_failure_names_the_step() -> None:
    world = World().begin()
    world.do(world.find(Encode))
    world.take(world.run.failed(world.find(Prefill).step, StepError("no memory"), 103.0))
    last = world.events[-1]
    assert (last.type, last.step_id) == ("job.failed", BEGUN)


def test_a_fork_keeps_what_was_begun() -> None:
    world = World().begin().finish()
    log = fork(world.events, "map[1]/bp_answer.decode", job_id="k", now=300.0)
    kept = {event.step_id for event in log[1:]}
    assert BEGUN in kept and "map[0]/bp_answer.decode" in kept
    assert "map[1]/bp_answer.decode" not in kept
    run = JobRun("k", Pricing(None))
    run.replay(log)
    again = World(run)
    again.take(run.start(301.0))
    again.finish()
    assert [action.step.id for action in again.done] == ["map[1]/bp_answer.decode"]
    assert again.events[-1].data["output"] == ["A", "A"]


def test_a_fork_at_the_beginning_computes_all_that_continues_it() -> None:
    world = World().begin().finish()
    log = fork(world.events, BEGUN, job_id="k", now=300.0)
    kept = {event.step_id for event in log[1:]}
    assert kept == {
        "bp_answer.cache.tokenize",
        "bp_ask",
        "map[0]/bp_answer.tokenize",
        "map[1]/bp_answer.tokenize",
    }


def test_a_beginning_without_a_token_is_not_asked_for() -> None:
    world = World().begin()
    first = world.find(Encode)
    world.waiting.remove(first)
    world.take(world.run.completed(first, [], 101.0, 100.0, 101.0))
    world.finish()
    assert not [action for action in world.done if isinstance(action, Prefill)]
    assert world.events[-1].data["output"] == ["A", "A"]


@pytest.mark.parametrize("workflow", [bp_flow, bp_plain])
def test_a_fake_model_answers_as_without_a_cache(workflow: Any) -> None:
    prompts: list[str] = []

    def reply(prompt: str) -> str:
        prompts.append(prompt)
        return prompt[::-1]

    shown: list[Event] = []
    result = run_job(
        workflow, {"text": "abc"}, backends={"cpu/0": FakeBackend(reply)}, on_event=shown.append
    )
    assert result.output == ["eno :noi", "owt :noi"]
    told = {event.step_id for event in shown if event.type == "step.delta"}
    assert told <= {"map[0]/bp_answer.decode", "map[1]/bp_answer.decode"}, "no text of a beginning"
    assert len(prompts) == (3 if workflow is bp_flow else 2)
