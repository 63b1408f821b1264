"""The seams of the backends: what the runtime drives, and what an engine drives.

`Backend` is what a dispatcher sees: messages in, events out. `ModelRunner` is what an engine
sees: the model itself, told each step by a `SchedulerOutput` which tokens to compute. Both
have several implementations (torch, fake, virtual), hence the protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from gangline.ir.specs.request import EngineEvent, EngineMessage, Submit, TokenLogprob

Emit = Callable[[EngineEvent], None]
Messages = Sequence[Mapping[str, str]]
Encode = Callable[[Messages], tuple[int, ...]]


@runtime_checkable
class PromptEncoder(Protocol):
    """Turns what a caller may ask of a model into prompt tokens; pure, fast, from any thread."""

    def encode(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        prefix: str = "",
    ) -> tuple[int, ...]:
        """Give the tokens of a conversation that the model shall continue.

        Tools are offered in the words of the model's chat template, or in plain ones if it
        knows nothing of tools. `prefix` is how the answer begins; unlike messages it may name
        special tokens, so it must not come from a caller. InputError for a message that the
        template refuses.
        """

    def encode_text(self, text: str) -> tuple[int, ...]:
        """Give the tokens of plain text, without a chat template."""

    def decode_text(self, token_ids: Sequence[int]) -> str:
        """Give the text of tokens, control tokens left out."""


@dataclass(frozen=True, slots=True)
class ScheduledRequest:
    """What one request computes in one step.

    Attributes:
        token_ids: the tokens to compute, at positions `num_computed`, `num_computed + 1`, ...
        num_computed: tokens of this request whose keys and values are already in its blocks.
        block_table: block ids that cover `num_computed + len(token_ids)` positions, in order.
        sample: these tokens reach the end of what is known, so a new token is drawn.
    """

    request_id: str
    token_ids: tuple[int, ...]
    num_computed: int
    block_table: tuple[int, ...]
    sample: bool


@dataclass(frozen=True, slots=True)
class SchedulerOutput:
    """One engine step.

    Attributes:
        preempted: requests that lost their blocks just before this step.
        num_batched_tokens: sum of `len(token_ids)` over `scheduled`.
        repeat: how many steps of this very shape (each request one token further each time)
            follow before the scheduler decides anything new, this one included, provided that
            no message arrives and the runner ends no request sooner. 1 for every step that is
            not pure decode.
    """

    scheduled: tuple[ScheduledRequest, ...] = ()
    preempted: tuple[str, ...] = ()
    num_batched_tokens: int = 0
    repeat: int = 1


@dataclass(frozen=True, slots=True)
class Sampled:
    """What a runner drew for one request: new tokens, and why it ended, if it did.

    Usually one token; a grammar that allows only one continuation yields several in one go.
    `finish_reason` is `stop` (end-of-sequence, which is not in `token_ids`) or `grammar` (the
    grammar is complete); only with a reason may `token_ids` be empty. `logprobs` has an entry
    per token if the request asks for them; `embedding` is what a request to embed gets.
    """

    token_ids: tuple[int, ...]
    finish_reason: str | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    embedding: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """What one model's engine on a device does at the moment.

    `kv_used` is the share of its KV blocks that requests hold (0 to 1), `busy_s` the seconds it
    has computed since it was loaded.
    """

    model: str
    running: int
    waiting: int
    kv_used: float
    busy_s: float


class Backend(Protocol):
    """A device, as a dispatcher drives it."""

    @property
    def alive(self) -> bool:
        """False while an engine that served has ended by a fault and is not loaded again."""

    def start(self, emit: Emit) -> None:
        """Take the callback that every event goes to; it is called from the backend's threads."""

    def send(self, message: EngineMessage) -> None:
        """Hand over a message; thread-safe, returns at once, failures come as events."""

    def prepare(self, model: str) -> Future[None]:
        """Begin to load a model; the future ends when it can serve, or with the reason why not."""

    def encoder(self, model: str) -> Encode:
        """Give what turns chat messages into prompt tokens; both work from any thread.

        The first call for a model may take long, as it loads the tokenizer; the function it
        gives is pure and fast.
        """

    def close(self) -> None:
        """End every engine; what is in flight gets `RequestFailed`. Returns when all ended."""


@runtime_checkable
class OpenBackend(Backend, Protocol):
    """A backend that also takes requests which belong to no workflow."""

    def serves(self, model: str) -> bool:
        """Say, at once, whether the model can be run here."""

    def prompts(self, model: str) -> PromptEncoder:
        """Give what turns any prompt into tokens; BackendError if there is nothing for it."""


class ModelRunner(Protocol):
    """One model on one device, as an engine drives it (always from the engine's own thread)."""

    @property
    def num_blocks(self) -> int:
        """KV blocks in the pool."""

    @property
    def block_size(self) -> int:
        """Tokens per KV block."""

    @property
    def block_root(self) -> str:
        """Identity of what blocks hold: model sha256 and KV dtype."""

    @property
    def eos_token_ids(self) -> frozenset[int]:
        """Tokens that end an output."""

    @property
    def context(self) -> int:
        """Most tokens a request may have, prompt and output together."""

    @property
    def kernels(self) -> Mapping[str, str]:
        """Which kernel runs each operation, by operation name."""

    def add(self, request: Submit) -> None:
        """Prepare a request; GanglineError if it cannot run (say, its grammar is wrong)."""

    def remove(self, request_id: str) -> None:
        """Forget a request that ended."""

    def execute(self, output: SchedulerOutput) -> Mapping[str, Sampled]:
        """Compute one step; answer for every scheduled request with `sample` set."""

    def decode_text(self, token_ids: Sequence[int]) -> str:
        """Turn tokens into text; bytes that are no UTF-8 (yet) become U+FFFD."""

    def encode(self, messages: Messages) -> tuple[int, ...]:
        """Turn chat messages into prompt tokens."""

    def close(self) -> None:
        """Give back memory and devices."""
