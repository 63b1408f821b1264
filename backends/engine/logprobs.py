"""Log probabilities of drawn tokens, for the requests that ask for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gangline.backends.base import Sampled
from gangline.ir.specs.request import Likely, TokenLogprob


class LoggedDraws:
    """The draws of one request, one token a step, each with its log probability.

    A grammar may force several tokens at once, for which there are no logits yet. They are held
    and handed out step by step, so that the output is that of a request that asks for nothing.

    Args:
        num_top: how many of the most likely tokens to list at every place.
        token_bytes: the bytes of every token of the vocabulary.
    """

    def __init__(self, num_top: int, token_bytes: Sequence[bytes]) -> None:
        self._num_top = num_top
        self._token_bytes = token_bytes
        self._held: deque[int] = deque()
        self._reason: str | None = None

    def draw(self, logits: Tensor, choose: Callable[[Tensor], Sampled]) -> Sampled:
        """Draw with `choose`, unless tokens are held; logits [vocab] are the model's own."""
        table = torch.log_softmax(logits.float(), dim=-1)  # before a grammar masks `logits`
        if not self._held:
            drawn = choose(logits)
            self._held.extend(drawn.token_ids)
            self._reason = drawn.finish_reason
        if not self._held:
            return Sampled((), self._reason)
        token = self._held.popleft()
        reason = None if self._held else self._reason
        return Sampled((token,), reason, (self._described(token, table),))

    def _described(self, token: int, table: Tensor) -> TokenLogprob:
        values, indices = table.topk(min(self._num_top, len(table)))
        top = tuple(
            Likely(index, self._bytes(index), value)
            for index, value in zip(indices.tolist(), values.tolist(), strict=True)
        )
        return TokenLogprob(token, self._bytes(token), float(table[token]), top)

    def _bytes(self, token: int) -> bytes:
        # A model's head may be wider than its vocabulary.
        return self._token_bytes[token] if token < len(self._token_bytes) else b""
