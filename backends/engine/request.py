"""One request inside an engine: its tokens, how far they are computed, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from gangline.ir.specs.request import Submit


class RequestStatus(Enum):
    """Where a request stands in its scheduler."""

    WAITING = "waiting"  # in the queue
    HELD = "held"  # waits for a block that a running request computes right now
    RUNNING = "running"  # has blocks
    ENDED = "ended"


@dataclass(slots=True, eq=False)
class Request:
    """A submitted request and its progress; changed only by the scheduler.

    Attributes:
        order: counts submissions; breaks ties of `urgency`.
        tokens: prompt and output so far.
        num_computed: leading tokens whose keys and values are in blocks (or will be, at the
            end of the current step).
        num_cached: prompt tokens found in the prefix cache when it first ran.
        admitted_s: when that was.
        prefill_end: tokens known when it was last admitted; up to there it prefills (after a
            pre-emption that includes output), from there on it decodes.
        keys: keys of its leading full blocks, as far as they were needed.
        num_published: leading blocks that are shareable.
        urgency: smaller goes first; see `policy`.
        version: the queue entry that counts; older ones are stale.
    """

    submit: Submit
    order: int
    root: bytes
    tokens: list[int]
    deadline_s: float
    remaining_s: float
    status: RequestStatus = RequestStatus.WAITING
    num_computed: int = 0
    num_cached: int | None = None
    admitted_s: float | None = None
    prefill_end: int = 0
    keys: list[bytes] = field(default_factory=list)
    num_published: int = 0
    urgency: float = 0.0
    version: int = 0

    @property
    def request_id(self) -> str:
        """Identity of the request, as submitted."""
        return self.submit.request_id

    @property
    def num_prompt(self) -> int:
        """Tokens of the prompt."""
        return len(self.submit.prompt_tokens)

    @property
    def num_output(self) -> int:
        """Tokens generated so far."""
        return len(self.tokens) - self.num_prompt

    @property
    def num_pending(self) -> int:
        """Known tokens that are not computed yet."""
        return len(self.tokens) - self.num_computed

    @property
    def num_left(self) -> int:
        """Output tokens it may still draw."""
        return self.submit.sampling.max_tokens - self.num_output

    @property
    def is_prefilling(self) -> bool:
        """Tell whether its known tokens are still being computed."""
        return self.num_computed < self.prefill_end
