"""The engine scheduler: which request computes which tokens in the next step. Pure.

There is no prefill phase and no decode phase. A request has tokens it knows and tokens it has
computed; every step lets some requests catch up, within one token budget. A new prompt, a
chunk of a long one, a decode step, a prefix found in the cache, several grammar-forced tokens
and a recomputation after pre-emption are all the same thing: known tokens not yet computed.

Order within a step: requests that decode go first, one token each at least, so that no prompt
can stall them; what is left of the budget goes to prompts, most urgent first, whether they
run already or wait. A request is admitted only when blocks for all tokens it knows are free,
so a running prefill never lacks blocks; a decode that does takes those of the least urgent
running request, which starts over later (mostly from the prefix cache).

Why something always moves: the most urgent decode can take every other block, and a request
that would not fit alone is refused at `add`; without any decode the running prefills own
their blocks already; without any running request the head of the queue fits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from gangline.backends.base import Sampled, ScheduledRequest, SchedulerOutput
from gangline.ir.errors import BackendError, InputError
from gangline.ir.specs.request import Submit

from .block_manager import BlockManager, extend_keys, root_key
from .config import SchedulerConfig
from .repeat import num_repeats
from .request import Request, RequestStatus
from .waiting import Claims, WaitingQueue


@dataclass(frozen=True, slots=True)
class Progress:
    """What one request got out of a step that drew for it.

    `num_cached` counts the prompt tokens it did not have to compute.
    """

    request_id: str
    token_ids: tuple[int, ...]
    finish_reason: str | None
    num_cached: int


@dataclass(slots=True)
class _Step:
    """A step while it is put together; `left` is what remains of the token budget."""

    left: int
    scheduled: list[ScheduledRequest] = field(default_factory=list)
    preempted: list[str] = field(default_factory=list)


def _rank(request: Request) -> tuple[float, int]:
    return (request.urgency, request.order)


class Scheduler:
    """Packs engine steps. Not thread-safe: one engine owns it.

    Args:
        context: most tokens one request may have; None for no limit.
    """

    def __init__(
        self, config: SchedulerConfig, blocks: BlockManager, context: int | None = None
    ) -> None:
        self.config = config
        self.blocks = blocks
        self._context = context
        self._policy = config.make_policy()
        self._requests: dict[str, Request] = {}
        self._running: dict[str, Request] = {}
        self._waiting = WaitingQueue()
        self._claims = Claims()
        self._num_added = 0

    @property
    def num_unfinished(self) -> int:
        """Requests that were added and have not ended."""
        return len(self._requests)

    @property
    def num_running(self) -> int:
        """Requests that hold blocks."""
        return len(self._running)

    def add(self, submit: Submit) -> None:
        """Queue a request.

        Raises:
            InputError: it could never run here (empty, too long, no output wanted).
            BackendError: a request with this id is in flight.
        """
        self._check(submit)
        request = Request(
            submit,
            order=self._num_added,
            root=root_key(self.blocks.block_root, submit.cache_salt),
            tokens=list(submit.prompt_tokens),
            deadline_s=submit.deadline_s,
            remaining_s=submit.remaining_s,
        )
        if not submit.embed:  # which needs every hidden state: nothing found, nothing shared
            self._extend_keys(request, len(request.tokens))
        self._num_added += 1
        self._requests[submit.request_id] = request
        self._enqueue(request)

    def cancel(self, request_id: str) -> bool:
        """Drop a request and free its blocks; say whether it was in flight."""
        request = self._requests.get(request_id)
        if request is None:
            return False
        self._end(request)
        return True

    def update_deadline(self, request_id: str, deadline_s: float, remaining_s: float = 0.0) -> None:
        """Change how urgent a request is; one that has ended is ignored."""
        request = self._requests.get(request_id)
        if request is None:
            return
        request.deadline_s, request.remaining_s = deadline_s, remaining_s
        request.urgency = self._policy.key(request)
        if request.status is RequestStatus.WAITING:
            self._waiting.push(request)

    def schedule(self, now: float) -> SchedulerOutput:
        """Decide the next step; empty only if there is nothing in flight."""
        step = _Step(left=self.config.max_batched_tokens)
        order = sorted(self._running.values(), key=_rank)
        self._schedule_decodes(step, order)
        self._schedule_prefills(step, order, now)
        num_tokens = self.config.max_batched_tokens - step.left
        seats_left = len(self._running) < self.config.max_num_seqs
        blocked = seats_left and self._waiting.head() is not None
        repeat = num_repeats(list(self._running.values()), self.blocks, blocked)
        return SchedulerOutput(tuple(step.scheduled), tuple(step.preempted), num_tokens, repeat)

    def update(
        self,
        output: SchedulerOutput,
        sampled: Mapping[str, Sampled],
        num_steps: int = 1,
    ) -> list[Progress]:
        """Take in what a step computed and drew; give the requests that got somewhere.

        With `num_steps` (at most `output.repeat`) the step stands for that many in a row, and
        `sampled` holds what all of them drew.
        """
        going = [
            (self._running[entry.request_id], entry)
            for entry in output.scheduled
            if entry.request_id in self._running
        ]
        reasons = [
            self._append_drawn(request, sampled[entry.request_id]) if entry.sample else None
            for request, entry in going
        ]
        if num_steps > 1:
            self._repeat_in_turn([request for request, _ in going], num_steps)
        progress = []
        for (request, entry), reason in zip(going, reasons, strict=True):
            self._computed(request, entry.num_computed + len(entry.token_ids) + num_steps - 1)
            if reason is not None:
                self._end(request)
            if entry.sample:
                tokens = tuple(request.tokens[entry.num_computed + len(entry.token_ids) :])
                cached = request.num_cached or 0
                progress.append(Progress(entry.request_id, tokens, reason, cached))
        return progress

    # Admission and queue -------------------------------------------------------------------

    def _check(self, submit: Submit) -> None:
        if submit.request_id in self._requests:
            raise BackendError(f"A request {submit.request_id!r} is in flight already")
        num_prompt, max_tokens = len(submit.prompt_tokens), submit.sampling.max_tokens
        if num_prompt < 1 or max_tokens < 1:
            raise InputError(
                f"A request has {num_prompt} prompt tokens and wants {max_tokens} output tokens",
                where=f"request {submit.request_id}",
                next_step="Give a prompt and a max_tokens of at least one token.",
            )
        total = num_prompt + (0 if submit.embed else max_tokens)
        if self._context is not None and total > self._context:
            self._refuse(submit, f"the model's context of {self._context}")
        # The last token drawn is never computed, so it needs no place in a block.
        if self.blocks.blocks_for(max(num_prompt, total - 1)) > self.blocks.num_blocks:
            capacity = self.blocks.num_blocks * self.blocks.block_size
            self._refuse(submit, f"the {capacity} tokens this device has KV memory for")

    def _refuse(self, submit: Submit, limit: str) -> None:
        wanted = f" and max_tokens={submit.sampling.max_tokens} together"
        raise InputError(
            f"{len(submit.prompt_tokens)} prompt tokens{'' if submit.embed else wanted} "
            f"exceed {limit}",
            where=f"request {submit.request_id}, model {submit.model}",
            next_step="Shorten the prompt, lower max_tokens, or use a larger model or device.",
        )

    def _enqueue(self, request: Request) -> None:
        request.urgency = self._policy.key(request)
        self._waiting.push(request)

    def _extend_keys(self, request: Request, num_tokens: int) -> None:
        size = self.blocks.block_size
        extend_keys(request.keys, request.root, request.tokens, size, num_tokens // size)

    def _admit_before(self, other: Request | None, now: float) -> Request | None:
        """Admit the head of the queue if it goes before `other` and may run now."""
        # Invariant: everything ahead of `head` is held for a request that runs. A head that
        # does not fit blocks those behind it, so that a large request is not passed for ever.
        while (head := self._waiting.head()) is not None:
            if other is not None and _rank(other) < _rank(head):
                return None
            if len(self._running) >= self.config.max_num_seqs:
                return None
            # At least the last token is computed: its logits are what sampling needs.
            keys = head.keys[: (len(head.tokens) - 1) // self.blocks.block_size]
            matched = self.blocks.match_prefix(keys)
            if self._claims.hold(head, keys[len(matched) :]):
                self._waiting.pop()
            elif self._fits(head, matched):
                self._start(self._waiting.pop(), matched, now)
                return head
            else:
                return None
        return None

    def _fits(self, request: Request, matched: list[int]) -> bool:
        """Say whether all known tokens get blocks, and each running request one more."""
        own = self.blocks.blocks_for(len(request.tokens)) - len(matched)
        wanted = own + self.blocks.num_taken(matched)
        return wanted + len(self._running) <= self.blocks.num_free

    def _start(self, request: Request, matched: list[int], now: float) -> None:
        self.blocks.allocate(request.request_id, matched, len(request.tokens))
        request.status = RequestStatus.RUNNING
        request.num_computed = len(matched) * self.blocks.block_size
        request.num_published = len(matched)
        request.prefill_end = len(request.tokens)
        if request.num_cached is None:
            request.num_cached = min(request.num_computed, request.num_prompt)
            request.admitted_s = now
        self._running[request.request_id] = request
        self._claims.claim(request, request.keys[len(matched) :])

    # One step ------------------------------------------------------------------------------

    def _schedule_decodes(self, step: _Step, order: list[Request]) -> None:
        """Give every decoding request a token at least; pre-empt where blocks run out."""
        decodes = [request for request in order if not request.is_prefilling]
        # Invariant: step.left >= the decodes still to come, as max_num_seqs <= the budget.
        for later, request in zip(range(len(decodes) - 1, -1, -1), decodes, strict=True):
            if request.status is not RequestStatus.RUNNING:
                continue  # pre-empted just now
            num_tokens = min(request.num_pending, step.left - later)
            if self._make_room(step, request, num_tokens, order):
                self._schedule(step, request, num_tokens)

    def _make_room(
        self, step: _Step, request: Request, num_tokens: int, order: list[Request]
    ) -> bool:
        """Get the blocks for `num_tokens` more, at the cost of the least urgent.

        A victim does not come back in the same step: fewer blocks stay free than it had.
        """
        num_tokens += request.num_computed
        # Invariant: `order` ends with requests not scheduled in this step: decodes are taken
        # from its front, and `request` itself stops the loop before it reaches one of those.
        while self.blocks.num_missing(request.request_id, num_tokens) > self.blocks.num_free:
            victim = order.pop()
            self._preempt(victim)
            step.preempted.append(victim.request_id)
            if victim is request:
                return False
        self.blocks.append(request.request_id, num_tokens)
        return True

    def _schedule_prefills(self, step: _Step, order: list[Request], now: float) -> None:
        prefills = deque(request for request in order if request.is_prefilling)
        chunk = self.config.chunk_tokens if step.scheduled else step.left
        left = min(step.left, chunk)
        while left > 0:
            first = prefills[0] if prefills else None
            request = self._admit_before(first, now)
            if request is None:
                if first is None:
                    return
                request = prefills.popleft()
            num_tokens = min(request.num_pending, left)
            left -= num_tokens
            self._schedule(step, request, num_tokens)

    def _schedule(self, step: _Step, request: Request, num_tokens: int) -> None:
        start, end = request.num_computed, request.num_computed + num_tokens
        table = self.blocks.table(request.request_id)[: self.blocks.blocks_for(end)]
        entry = ScheduledRequest(
            request.request_id,
            tuple(request.tokens[start:end]),
            start,
            tuple(table),
            sample=end == len(request.tokens),
        )
        step.scheduled.append(entry)
        step.left -= num_tokens

    def _preempt(self, request: Request) -> None:
        self._stop_running(request)
        request.num_computed = 0
        self._enqueue(request)

    # Progress ------------------------------------------------------------------------------

    def _repeat_in_turn(self, requests: list[Request], num_steps: int) -> None:
        """Take and publish blocks in the order in which so many single decode steps would.

        Which cached block makes room for which depends on that order. Only steps in which some
        request begins or fills a block are gone through.
        """
        size = self.blocks.block_size
        starts = [request.num_computed for request in requests]
        borders = {
            step
            for start in starts
            for full in range(start // size, (start + num_steps) // size + 1)
            for step in (full * size - start, full * size - start + 1)
            if 0 < step < num_steps
        }
        for step in (*sorted(borders), num_steps):
            for request, start in zip(requests, starts, strict=True):
                self.blocks.append(request.request_id, start + step)
            for request, start in zip(requests, starts, strict=True):
                self._computed(request, start + step)

    def _computed(self, request: Request, num_tokens: int) -> None:
        """Note how many tokens are computed by now; full blocks of them become shareable."""
        request.num_computed = num_tokens
        self.blocks.append(request.request_id, num_tokens)
        self._publish(request)

    def _append_drawn(self, request: Request, drawn: Sampled) -> str | None:
        room = request.num_left
        request.tokens += drawn.token_ids[:room]
        if len(drawn.token_ids) > room or (drawn.finish_reason is None and not request.num_left):
            return "length"
        return drawn.finish_reason

    def _publish(self, request: Request) -> None:
        """Make every block that is full of computed tokens shareable."""
        if request.submit.embed:
            return
        full = request.num_computed // self.blocks.block_size
        self._extend_keys(request, full * self.blocks.block_size)
        fresh = range(request.num_published, full)
        for index in fresh:
            self.blocks.publish(request.request_id, index, request.keys[index])
        self._release(request, request.keys[fresh.start : fresh.stop])
        request.num_published = max(full, request.num_published)

    def _release(self, owner: Request, keys: list[bytes]) -> None:
        for request in self._claims.release(owner, keys):
            self._waiting.push(request)

    def _stop_running(self, request: Request) -> None:
        del self._running[request.request_id]
        self.blocks.free(request.request_id)
        self._release(request, request.keys[request.num_published :])

    def _end(self, request: Request) -> None:
        if request.status is RequestStatus.RUNNING:
            self._stop_running(request)
        request.status = RequestStatus.ENDED
        del self._requests[request.request_id]
