"""A fake runner that checks every step it is told to do, for tests of schedulers and policies.

It keeps, per KV slot, a digest of all tokens up to the one the slot belongs to, tenant
included. A block that is shared wrongly, overwritten while in use, reused too soon or never
computed shows up as a slot with the wrong digest.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from gangline.backends.base import Sampled, ScheduledRequest, SchedulerOutput
from gangline.backends.fake import FakeRunner
from gangline.ir.errors import BackendError
from gangline.ir.specs.request import Submit


@dataclass(slots=True)
class _Known:
    """The tokens of a request and the digest of every prefix of them."""

    tokens: list[int]
    digests: list[bytes] = field(default_factory=list)

    def append(self, tokens: tuple[int, ...], root: bytes) -> None:
        self.tokens += tokens
        for token in self.tokens[len(self.digests) :]:
            parent = self.digests[-1] if self.digests else root
            digest = hashlib.blake2b(parent + token.to_bytes(8, "little"), digest_size=8)
            self.digests.append(digest.digest())


class CheckingRunner(FakeRunner):
    """A `FakeRunner` that raises BackendError for a step no real runner could do right.

    `num_computed_tokens` counts the tokens computed so far, by request.
    """

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]  # same as FakeRunner
        self._known: dict[str, _Known] = {}
        self._slots: dict[int, bytes] = {}
        self.num_computed_tokens: Counter[str] = Counter()

    def add(self, request: Submit) -> None:
        super().add(request)
        self._known[request.request_id] = known = _Known([])
        known.append(request.prompt_tokens, request.cache_salt.encode())

    def num_repeats(self, output: SchedulerOutput) -> int:
        """Never skip: every step is checked."""
        return 1

    def remove(self, request_id: str) -> None:
        super().remove(request_id)
        self._known.pop(request_id, None)

    def execute(self, output: SchedulerOutput, num_steps: int = 1) -> Mapping[str, Sampled]:
        """Check the step, then do it."""
        _check(num_steps == 1, "a checked step was repeated")
        entries = output.scheduled
        total = sum(len(entry.token_ids) for entry in entries)
        _check(total == output.num_batched_tokens, "num_batched_tokens is wrong")
        ids = {entry.request_id for entry in entries}
        _check(len(ids) == len(entries), "a request is scheduled twice")
        for entry in entries:
            self._check_tokens(entry)
            self._check_past(entry)
        for entry in entries:
            self._write(entry)
        # Only after all have written: one request may not have spoilt what another wrote.
        for entry in entries:
            self._check_written(entry)
        sampled = super().execute(output)
        for request_id, drawn in sampled.items():
            self._known[request_id].append(drawn.token_ids, b"")
        return sampled

    def _slot(self, entry: ScheduledRequest, position: int) -> int:
        block = entry.block_table[position // self.block_size]
        _check(0 <= block < self.num_blocks, f"there is no block {block}")
        return block * self.block_size + position % self.block_size

    def _check_tokens(self, entry: ScheduledRequest) -> None:
        known, start = self._known[entry.request_id].tokens, entry.num_computed
        end = start + len(entry.token_ids)
        _check(len(entry.token_ids) > 0, "a request is scheduled with nothing to compute")
        _check(list(entry.token_ids) == known[start:end], "wrong tokens")
        _check(entry.sample == (end == len(known)), "sample is wrong")
        _check(len(entry.block_table) == -(-end // self.block_size), "wrong table length")
        _check(len(set(entry.block_table)) == len(entry.block_table), "a block comes twice")

    def _check_past(self, entry: ScheduledRequest) -> None:
        digests = self._known[entry.request_id].digests
        for position in range(entry.num_computed):
            found = self._slots.get(self._slot(entry, position))
            _check(found == digests[position], f"position {position} holds something else")

    def _positions(self, entry: ScheduledRequest) -> range:
        return range(entry.num_computed, entry.num_computed + len(entry.token_ids))

    def _write(self, entry: ScheduledRequest) -> None:
        digests = self._known[entry.request_id].digests
        for position in self._positions(entry):
            self._slots[self._slot(entry, position)] = digests[position]
        self.num_computed_tokens[entry.request_id] += len(entry.token_ids)

    def _check_written(self, entry: ScheduledRequest) -> None:
        digests = self._known[entry.request_id].digests
        for position in self._positions(entry):
            found = self._slots[self._slot(entry, position)]
            _check(found == digests[position], f"position {position} was overwritten")
        self._check_past(entry)


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise BackendError(f"The scheduler is wrong: {message}")
