"""Keep an output inside a grammar: which tokens may come next, and which must."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gangline.ir.errors import InputError
from gangline.ir.specs.request import Grammar

from .tokenizer import Tokenizer

MAX_COMPILED = 64
"""Grammars kept compiled; the oldest unused one goes first."""


class Constraint:
    """The state of one request inside its grammar."""

    def __init__(self, matcher: Any, vocab_size: int, eos_token_ids: frozenset[int]) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._eos = sorted(eos_token_ids)

    @property
    def done(self) -> bool:
        """Nothing but the end may follow (or the grammar grew too complex to go on)."""
        return bool(self._matcher.is_stopped())

    def mask(self, logits: Tensor) -> None:
        """Set the logits [vocab] of tokens that may not come next to -inf."""
        allowed = torch.from_numpy(self._allowed()).to(logits.device)
        known = len(allowed)
        logits[known:] = float("-inf")
        logits[:known].masked_fill_(~allowed, float("-inf"))

    def _allowed(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.unpackbits(bits, count=self._vocab_size, bitorder="little").view(np.bool_)
        if self._matcher.is_accepting():
            allowed[self._eos] = True  # the grammar knows one end token, the model has several
        return allowed

    def accept(self, token: int) -> bool:
        """Go on over a drawn token; False if the grammar does not allow it."""
        return bool(self._matcher.consume_token(token))

    def forced(self) -> tuple[int, ...]:
        """Go on over the tokens that must come next, and give them."""
        if self._matcher.is_stopped() or self._matcher.is_accepting():
            return ()
        tokens = tuple(self._matcher.compute_ff_tokens())
        if tokens and not self._matcher.consume_tokens(list(tokens)):
            raise AssertionError("the grammar refuses tokens that it forced")
        return tokens


class Constraints:
    """Compiles grammars against one vocabulary, each text once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._vocabulary: Any = None
        self._compiled: OrderedDict[Grammar, Any] = OrderedDict()

    def start(self, grammar: Grammar) -> Constraint:
        """Give a fresh state at the beginning of a grammar; InputError if it is not valid."""
        matcher = self._compiled.pop(grammar, None) or self._compile(grammar)
        self._compiled[grammar] = matcher
        while len(self._compiled) > MAX_COMPILED:
            self._compiled.popitem(last=False)
        eos = self._tokenizer.eos_token_ids
        return Constraint(matcher.deep_copy(), self._tokenizer.vocab_size, eos)

    def _compile(self, grammar: Grammar) -> Any:
        from llguidance import LLMatcher

        if self._vocabulary is None:
            self._vocabulary = _vocabulary(self._tokenizer)
        try:
            matcher = LLMatcher(self._vocabulary, _source(grammar), log_level=0)
        except ValueError as error:
            raise _invalid(grammar, str(error)) from error
        if matcher.is_error():
            raise _invalid(grammar, matcher.get_error())
        return matcher


def _source(grammar: Grammar) -> str:
    from llguidance import LLMatcher

    makers = {
        "lark": LLMatcher.grammar_from_lark,
        "json_schema": LLMatcher.grammar_from_json_schema,
        "regex": LLMatcher.grammar_from_regex,
    }
    if grammar.kind not in makers:
        raise _invalid(grammar, f"the kind is none of {', '.join(sorted(makers))}")
    return str(makers[grammar.kind](grammar.text))


def _invalid(grammar: Grammar, why: str) -> InputError:
    return InputError(
        f"the {grammar.kind} grammar is not valid: {' '.join(why.split())[:500]}",
        where="grammar",
        next_step="Correct the grammar; `kind` is lark, json_schema or regex.",
    )


class _Wrapped:
    """What llguidance asks of a tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.eos_token_id = tokenizer.eos_token_id
        self.bos_token_id = None
        self.tokens = tokenizer.token_bytes
        self.special_token_ids = sorted(tokenizer.special_token_ids | tokenizer.eos_token_ids)
        self._tokenizer = tokenizer

    def __call__(self, text: str | bytes) -> list[int]:
        plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        return self._tokenizer.encode(plain)


def _vocabulary(tokenizer: Tokenizer) -> Any:
    from llguidance import LLTokenizer, TokenizerWrapper

    return LLTokenizer(TokenizerWrapper(_Wrapped(tokenizer)), n_vocab=tokenizer.vocab_size)
