"""A model that is none, for tests and simulation: deterministic, instant, byte-level.

`FakeRunner` says what it is told to (`replies`), or else something made up from the prompt. It
ships with the package so that workflows can be tested without weights, torch or luck.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gangline.backends.base import Messages, Sampled, ScheduledRequest, SchedulerOutput
from gangline.backends.engine.backend import EngineBackend
from gangline.backends.engine.config import SchedulerConfig
from gangline.backends.engine.tool_prompt import in_plain_words
from gangline.ir.specs.request import Likely, Submit, TokenLogprob

Replies = Mapping[str, str] | Callable[[str], str]

EOS = 256
START, SEPARATOR, END = 257, 258, 259  # of a message, of its role and content, of a message
LETTERS = b"etaoinshrdlu    "
EMBEDDING_SIZE = 32


def encode(messages: Messages) -> tuple[int, ...]:
    """Turn chat messages into tokens: UTF-8 bytes between markers."""
    tokens: list[int] = []
    for message in messages:
        role, content = message["role"].encode(), message["content"].encode()
        tokens += [START, *role, SEPARATOR, *content, END]
    return tuple(tokens)


class FakeEncoder:
    """A `PromptEncoder` without a vocabulary: UTF-8 bytes between markers."""

    def encode(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        prefix: str = "",
    ) -> tuple[int, ...]:
        """Turn chat messages into tokens; tools are told in plain words."""
        return encode(in_plain_words(messages, tools)) + tuple(prefix.encode())

    def encode_text(self, text: str) -> tuple[int, ...]:
        """Turn text into its bytes."""
        return tuple(text.encode())

    def decode_text(self, token_ids: Sequence[int]) -> str:
        """Turn tokens into text."""
        return decode_text(token_ids)


def decode_text(token_ids: Sequence[int]) -> str:
    """Turn tokens into text; markers vanish, bytes that are no UTF-8 become U+FFFD."""
    return bytes(token for token in token_ids if token < EOS).decode("utf-8", errors="replace")


def prompt_text(tokens: Sequence[int]) -> str:
    """Give the contents of the messages in a prompt, one after the other, by lines.

    A prompt without markers counts as one content.
    """
    contents: list[list[int]] = []
    is_content = START not in tokens
    current: list[int] = []
    for token in tokens:
        if token in (START, SEPARATOR):
            is_content, current = token == SEPARATOR, []
        elif token == END:
            contents.append(current)
            current = []
        elif is_content:
            current.append(token)
    return "\n".join(decode_text(content) for content in [*contents, current] if content)


@dataclass(frozen=True, slots=True)
class _Script:
    """What one request will say. Made up letter by letter if `tokens` is None."""

    seed: bytes
    num_prompt: int
    num_tokens: float
    tokens: tuple[int, ...] | None
    num_top: int | None = None
    embedding: tuple[float, ...] = ()

    def token(self, index: int) -> int:
        if self.tokens is not None and index < len(self.tokens):
            return self.tokens[index]
        digest = hashlib.blake2b(index.to_bytes(8, "little"), key=self.seed, digest_size=1)
        return LETTERS[digest.digest()[0] % len(LETTERS)]


class FakeRunner:
    """A `ModelRunner` whose outputs are a pure function of seed, sampling seed and prompt.

    Args:
        replies: text by a piece of the prompt's text (the first that occurs in it counts), or
            a function of the prompt's text. A prompt that no piece fits gets made-up text.
        num_output_tokens: length of made-up outputs; by default up to 32, from the prompt.
        tokens_per_step: tokens drawn at once, as a grammar with one way to go on does.
    """

    kernels: Mapping[str, str] = {"model": "fake"}
    eos_token_ids = frozenset({EOS})

    def __init__(
        self,
        replies: Replies | None = None,
        *,
        seed: int = 0,
        num_output_tokens: Callable[[Submit], int] | None = None,
        tokens_per_step: int = 1,
        num_blocks: int = 4096,
        block_size: int = 16,
        context: int = 32768,
    ) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        self.context = context
        self.block_root = f"fake-{seed}"
        self._replies = replies if replies is not None else {}
        self._num_output_tokens = num_output_tokens
        self._tokens_per_step = tokens_per_step
        self._scripts: dict[str, _Script] = {}

    def add(self, request: Submit) -> None:
        """Decide what the request will say."""
        if request.embed:
            vector = _embedding(request.prompt_tokens)
            self._scripts[request.request_id] = _Script(
                b"", len(request.prompt_tokens), 0, (), None, vector
            )
            return
        seed = self._seed(request)
        num_prompt = len(request.prompt_tokens)
        reply = self._reply(request)
        tokens = None if reply is None else tuple(reply.encode())
        num_tokens: float = len(tokens) if tokens is not None else 1 + seed[0] % 32
        if self._num_output_tokens is not None and tokens is None:
            num_tokens = self._num_output_tokens(request)
        if request.sampling.ignore_eos:
            num_tokens = float("inf")
        self._scripts[request.request_id] = _Script(
            seed, num_prompt, num_tokens, tokens, request.sampling.logprobs
        )

    def remove(self, request_id: str) -> None:
        """Forget a request; one that is not known is fine."""
        self._scripts.pop(request_id, None)

    def execute(self, output: SchedulerOutput, num_steps: int = 1) -> Mapping[str, Sampled]:
        """Draw for a step, or for `num_steps` repetitions of it (see `num_repeats`)."""
        num_tokens = num_steps * self._tokens_per_step
        return {
            entry.request_id: self._draw(entry, num_tokens)
            for entry in output.scheduled
            if entry.sample
        }

    def num_repeats(self, output: SchedulerOutput) -> int:
        """Count the steps, at most `output.repeat`, up to the first that ends a request."""
        if self._tokens_per_step > 1:
            return 1
        left = (self._num_left(entry) + 1 for entry in output.scheduled)
        return max(1, int(min(output.repeat, *left))) if output.repeat > 1 else 1

    def decode_text(self, token_ids: Sequence[int]) -> str:
        return decode_text(token_ids)

    def encode(self, messages: Messages) -> tuple[int, ...]:
        return encode(messages)

    def close(self) -> None:
        self._scripts.clear()

    def _seed(self, request: Submit) -> bytes:
        digest = hashlib.blake2b(f"{self.block_root} {request.sampling.seed}".encode())
        digest.update(",".join(map(str, request.prompt_tokens)).encode())
        return digest.digest()

    def _reply(self, request: Submit) -> str | None:
        if not self._replies:
            return None
        prompt = prompt_text(request.prompt_tokens)
        if callable(self._replies):
            return self._replies(prompt)
        return next((text for piece, text in self._replies.items() if piece in prompt), None)

    def _num_left(self, entry: ScheduledRequest) -> float:
        """Count the tokens a request still says once this entry is computed."""
        script = self._scripts[entry.request_id]
        num_said = entry.num_computed + len(entry.token_ids) - script.num_prompt
        return max(0, script.num_tokens - num_said)

    def _draw(self, entry: ScheduledRequest, num_tokens: int) -> Sampled:
        script = self._scripts[entry.request_id]
        first = entry.num_computed + len(entry.token_ids) - script.num_prompt
        left = self._num_left(entry)
        # The end takes a draw of its own, as it does for a real model.
        num = int(min(num_tokens, left))
        tokens = tuple(script.token(index) for index in range(first, first + num))
        reason = "stop" if num < num_tokens else None
        if script.num_top is None and not script.embedding:
            return Sampled(tokens, reason)
        logprobs = tuple(_logprob(token, script.num_top or 0) for token in tokens)
        return Sampled(tokens, reason, logprobs, script.embedding)


def _embedding(tokens: Sequence[int]) -> tuple[float, ...]:
    """Count tokens by their value modulo `EMBEDDING_SIZE`; length 1 in the L2 norm."""
    counts = Counter(token % EMBEDDING_SIZE for token in tokens)
    length = math.sqrt(sum(count * count for count in counts.values()))
    return tuple(counts[place] / length for place in range(EMBEDDING_SIZE))


def _logprob(token: int, num_top: int) -> TokenLogprob:
    """Make up log probabilities: the token itself is the likeliest, its neighbours follow."""
    top = tuple(
        Likely(token ^ place, bytes([(token ^ place) % 256]), -1.0 - place)
        for place in range(num_top)
    )
    return TokenLogprob(token, bytes([token % 256]), -1.0, top)


class FakeBackend(EngineBackend):
    """A real engine, threads and all, around a `FakeRunner` for whatever model is asked for."""

    def __init__(
        self,
        replies: Replies | None = None,
        *,
        config: SchedulerConfig | None = None,
        clock: Callable[[], float] = time.monotonic,
        seed: int = 0,
        num_output_tokens: Callable[[Submit], int] | None = None,
    ) -> None:
        def load(model: str) -> FakeRunner:
            return FakeRunner(replies, seed=seed, num_output_tokens=num_output_tokens)

        super().__init__(load, lambda model: FakeEncoder(), config, clock)
