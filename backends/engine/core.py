"""Everything of an engine but its clock and its thread; real and virtual time share it.

One step is `schedule`, then the runner's `execute`, then `update`. Messages are taken between
steps. Every method that can end a request returns the events to send, in order.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gangline.backends.base import ModelRunner, Sampled, ScheduledRequest, SchedulerOutput
from gangline.ir.errors import BackendError, GanglineError, JobCancelled
from gangline.ir.specs.request import (
    Cancel,
    EngineEvent,
    EngineMessage,
    Finished,
    FirstToken,
    RequestFailed,
    Submit,
    TokenDelta,
    TokenLogprob,
    UpdateDeadline,
)

from .block_manager import BlockManager
from .config import SchedulerConfig
from .output_text import OutputText
from .scheduler import Progress, Scheduler

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Output:
    """What a request has given out so far, and what it has cost."""

    submit: Submit
    text: OutputText
    tokens: list[int] = field(default_factory=list)
    logprobs: tuple[TokenLogprob, ...] = ()  # one per token if asked for
    num_undelivered: int = 0  # tokens since the last delta
    has_first: bool = False
    prefill_busy_s: float = 0.0
    decode_busy_s: float = 0.0


class EngineCore:
    """A scheduler, a runner, and the outputs in flight. Not thread-safe.

    Args:
        deltas: whether to send `TokenDelta`; without them virtual time goes several times faster.
    """

    def __init__(
        self, runner: ModelRunner, config: SchedulerConfig, *, deltas: bool = True
    ) -> None:
        blocks = BlockManager(runner.num_blocks, runner.block_size, runner.block_root)
        self.runner = runner
        self.scheduler = Scheduler(config, blocks, runner.context)
        self._deltas = deltas
        self._outputs: dict[str, _Output] = {}

    @property
    def has_work(self) -> bool:
        """Tell whether any request is in flight."""
        return bool(self._outputs)

    def request_ids(self) -> tuple[str, ...]:
        """List what is in flight, oldest first."""
        return tuple(self._outputs)

    def handle(self, message: EngineMessage, now: float) -> list[EngineEvent]:
        """Take a message in. One about a request that is not in flight changes nothing."""
        match message:
            case Submit():
                return self._submit(message, now)
            case Cancel(request_id):
                return self.fail([request_id], JobCancelled("The request was cancelled"), now)
            case UpdateDeadline(request_id, deadline_s, remaining_s):
                self.scheduler.update_deadline(request_id, deadline_s, remaining_s)
                return []
            case _:
                error = BackendError("The engine was shut down")
                return self.fail(self.request_ids(), error, now)

    def schedule(self, now: float) -> SchedulerOutput:
        """Decide the next step; empty if nothing is in flight."""
        return self.scheduler.schedule(now)

    def update(
        self,
        output: SchedulerOutput,
        sampled: Mapping[str, Sampled],
        begin_s: float,
        ends_s: Sequence[float],
    ) -> list[EngineEvent]:
        """Take in what a step drew, or what `len(ends_s)` repetitions of it drew.

        Args:
            begin_s: when the first of them began.
            ends_s: when each of them ended.
        """
        check_sampled(output, sampled)
        self._share_time(output.scheduled, output.num_batched_tokens, begin_s, ends_s)
        progress = self.scheduler.update(output, sampled, num_steps=len(ends_s))
        if len(ends_s) == 1 or not self._deltas:
            return [
                event
                for row in progress
                for event in self._deliver(
                    row, sampled[row.request_id], row.token_ids, row.finish_reason, ends_s[-1]
                )
            ]
        return [
            event
            for index, at_s in enumerate(ends_s)
            for row in progress
            for event in self._deliver_one(row, sampled, index, len(ends_s), at_s)
        ]

    def fail(
        self, request_ids: Iterable[str], error: GanglineError, now: float
    ) -> list[EngineEvent]:
        """End requests without a result and free what they hold."""
        events: list[EngineEvent] = []
        for request_id in request_ids:
            if request_id in self._outputs:
                self._forget(request_id)
                events.append(RequestFailed(request_id, now, error.to_json()))
        return events

    # Requests ------------------------------------------------------------------------------

    def _submit(self, submit: Submit, now: float) -> list[EngineEvent]:
        if submit.request_id in self._outputs:
            return []  # delivered twice
        if not submit.arrival_s:
            submit = replace(submit, arrival_s=now)
        try:
            self.scheduler.add(submit)
            self.runner.add(submit)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this request's answer
            self.scheduler.cancel(submit.request_id)
            return [RequestFailed(submit.request_id, now, as_gangline(error).to_json())]
        text = OutputText(self.runner.decode_text, submit.sampling.stop)
        self._outputs[submit.request_id] = _Output(submit, text)
        return []

    def _forget(self, request_id: str) -> None:
        del self._outputs[request_id]
        self.scheduler.cancel(request_id)
        try:
            self.runner.remove(request_id)
        except Exception:
            logger.exception("the runner could not forget request %s", request_id)

    # Output --------------------------------------------------------------------------------

    def _share_time(
        self,
        entries: Sequence[ScheduledRequest],
        num_tokens: int,
        begin_s: float,
        ends_s: Sequence[float],
    ) -> None:
        """Charge each request its part of every step: time divided by tokens computed."""
        for entry in entries:
            out = self._outputs.get(entry.request_id)
            if out is None:
                continue
            start_s, share = begin_s, len(entry.token_ids) / num_tokens
            for end_s in ends_s:
                if out.has_first:
                    out.decode_busy_s += (end_s - start_s) * share
                else:
                    out.prefill_busy_s += (end_s - start_s) * share
                start_s = end_s

    def _deliver_one(
        self,
        row: Progress,
        sampled: Mapping[str, Sampled],
        index: int,
        num_steps: int,
        at_s: float,
    ) -> list[EngineEvent]:
        """Give the events of the `index`-th of several steps that drew one token each."""
        drawn = sampled[row.request_id]
        if drawn.logprobs:
            drawn = replace(drawn, logprobs=drawn.logprobs[index : index + 1])
        reason = row.finish_reason if index == num_steps - 1 else None
        return self._deliver(row, drawn, row.token_ids[index : index + 1], reason, at_s)

    def _deliver(
        self,
        row: Progress,
        drawn: Sampled,
        tokens: Sequence[int],
        reason: str | None,
        at_s: float,
    ) -> list[EngineEvent]:
        """Give the events that new tokens of a request cause; `reason` if they are its last."""
        out = self._outputs[row.request_id]
        events: list[EngineEvent] = []
        if not out.has_first:
            out.has_first = True
            num_prompt = len(out.submit.prompt_tokens)
            busy_s = out.prefill_busy_s
            events.append(FirstToken(row.request_id, at_s, num_prompt, row.num_cached, busy_s))
        num_before = len(out.tokens)
        text = self._feed(out, tokens)
        if drawn.logprobs:
            out.logprobs += drawn.logprobs[: len(out.tokens) - num_before]
        if out.text.stopped:
            reason = "stop"
        if reason is not None:
            text += out.text.finish()
        if text and self._deltas:
            events.append(_delta(out, text, at_s))
            out.num_undelivered = 0
        if reason is not None:
            events.append(self._finished(out, drawn, row.num_cached, reason, at_s))
            self._forget(row.request_id)
        return events

    def _feed(self, out: _Output, tokens: Sequence[int]) -> str:
        if not self._needs_text(out):
            out.tokens += tokens
            return ""
        pieces = []
        for token in tokens:
            pieces.append(out.text.feed(token))
            out.tokens.append(token)
            out.num_undelivered += 1
            if out.text.stopped:
                break  # what was drawn after a stop string is no output
        return "".join(pieces)

    def _needs_text(self, out: _Output) -> bool:
        return self._deltas or bool(out.submit.sampling.stop)

    def _finished(
        self, out: _Output, drawn: Sampled, num_cached: int, reason: str, at_s: float
    ) -> Finished:
        text = out.text.text if self._needs_text(out) else self.runner.decode_text(out.tokens)
        return Finished(
            request_id=out.submit.request_id,
            at_s=at_s,
            token_ids=tuple(out.tokens),
            text=text,
            finish_reason=reason,
            prompt_tokens=len(out.submit.prompt_tokens),
            cached_tokens=num_cached,
            prefill_busy_s=out.prefill_busy_s,
            decode_busy_s=out.decode_busy_s,
            kernels=dict(self.runner.kernels),
            logprobs=out.logprobs,
            embedding=drawn.embedding,
        )


def _delta(out: _Output, text: str, at_s: float) -> TokenDelta:
    num_tokens = out.num_undelivered
    logprobs = out.logprobs[-num_tokens:] if out.logprobs and num_tokens else ()
    return TokenDelta(out.submit.request_id, at_s, text, num_tokens, logprobs)


def check_sampled(output: SchedulerOutput, sampled: Mapping[str, Sampled]) -> None:
    """Refuse answers of a runner that would let a request stand still for ever."""
    for entry in output.scheduled:
        if not entry.sample:
            continue
        drawn = sampled.get(entry.request_id)
        if drawn is None or not (drawn.token_ids or drawn.finish_reason):
            raise BackendError(f"The runner drew nothing for request {entry.request_id!r}")


def as_gangline(error: BaseException) -> GanglineError:
    """Give an error of the tree as it is, any other as a BackendError that names it."""
    if isinstance(error, GanglineError):
        return error
    return BackendError(f"{type(error).__name__}: {error}")
