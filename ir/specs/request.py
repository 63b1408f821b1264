"""What an engine is told and what it answers: picklable messages, nothing else crosses.

Absolute times (`deadline_s`, `at_s`) are seconds on the clock of the runtime that owns the
engine (monotonic in production, virtual in the simulator).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Grammar:
    """What the output must match. `kind` is `lark`, `json_schema` or `regex`; `text` its source."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How tokens are chosen. `temperature` 0 is greedy; `stop` strings end the output.

    `logprobs` asks for the log probability of every output token and of that many of the most
    likely ones at its place; None asks for none, and nothing is computed for it.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    grammar: Grammar | None = None
    ignore_eos: bool = False
    logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class Submit:
    """Generate from `prompt_tokens`, or embed them.

    `deadline_s` is when the whole job wants to be done; `remaining_s` is what the job expects
    to need after this request, so urgency = deadline - remaining - own expected time.
    `cache_salt` separates tenants in the prefix cache. `priority` moves a request in the queue
    (lower is sooner, see `backends/engine/policy.py`). With `embed` nothing is generated:
    `Finished.embedding` is the mean of the model's last hidden states over the prompt.
    """

    request_id: str
    model: str
    prompt_tokens: tuple[int, ...]
    sampling: SamplingParams
    arrival_s: float = 0.0
    deadline_s: float = float("inf")
    remaining_s: float = 0.0
    cache_salt: str = ""
    priority: int = 0
    embed: bool = False


@dataclass(frozen=True, slots=True)
class Cancel:
    """Say that nobody waits for this request any more."""

    request_id: str


@dataclass(frozen=True, slots=True)
class UpdateDeadline:
    """Change how urgent a request is: its absolute deadline and the seconds expected after it."""

    request_id: str
    deadline_s: float
    remaining_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Finish the current step, answer what is in flight with `RequestFailed`, and end."""


EngineMessage = Submit | Cancel | UpdateDeadline | Shutdown


@dataclass(frozen=True, slots=True)
class Likely:
    """A token that might have come, its bytes, and the natural logarithm of its probability."""

    token_id: int
    token: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """An output token with its log probability, and the most likely ones at its place.

    Probabilities are the model's own: before temperature, nucleus and grammar.
    """

    token_id: int
    token: bytes
    logprob: float
    top: tuple[Likely, ...] = ()


@dataclass(frozen=True, slots=True)
class FirstToken:
    """Prefill is over: the first output token exists.

    `busy_s` is what `Finished.prefill_busy_s` will say.
    """

    request_id: str
    at_s: float
    prompt_tokens: int
    cached_tokens: int
    busy_s: float = 0.0


@dataclass(frozen=True, slots=True)
class TokenDelta:
    """New output text since the last delta (streamed, never stored).

    `logprobs` is that of its tokens, if it was asked for.
    """

    request_id: str
    at_s: float
    text: str
    num_tokens: int
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The request is complete.

    `finish_reason` is `stop`, `length` or `grammar`. `prefill_busy_s` and `decode_busy_s` are
    this request's share of the engine's step times (each step is divided among the tokens it
    computed), which is what a device-second price is charged on. `kernels` names what ran.
    `logprobs` has one entry per output token if it was asked for. `embedding` has length 1 in
    the L2 norm; it is empty unless an embedding was asked for.
    """

    request_id: str
    at_s: float
    token_ids: tuple[int, ...]
    text: str
    finish_reason: str
    prompt_tokens: int
    cached_tokens: int
    prefill_busy_s: float = 0.0
    decode_busy_s: float = 0.0
    kernels: Mapping[str, str] = field(default_factory=dict)
    logprobs: tuple[TokenLogprob, ...] = ()
    embedding: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """The request ended without a result; `error` is `GanglineError.to_json()`."""

    request_id: str
    at_s: float
    error: Mapping[str, str]


EngineEvent = FirstToken | TokenDelta | Finished | RequestFailed
