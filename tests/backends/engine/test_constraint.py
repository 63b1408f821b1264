"""Only tokens the grammar allows are left, forced ones come by themselves, bad ones are errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gangline.backends.engine import constraint
from gangline.backends.engine.constraint import Constraint, Constraints
from gangline.backends.engine.encoder import Encoder, load_encoder
from gangline.ir.errors import InputError
from gangline.ir.specs.request import Grammar

SQL = Grammar("lark", 'start: "SELECT " NAME " FROM t" (" LIMIT " /[0-9]/)?\nNAME: "a" | "bc"')


@pytest.fixture
def encoder(write_gguf: Callable[..., Path]) -> Encoder:
    return load_encoder(write_gguf())


@pytest.fixture
def constraints(encoder: Encoder) -> Constraints:
    return Constraints(encoder.tokenizer)


def _allowed(state: Constraint, encoder: Encoder, padding: int = 0) -> set[str]:
    logits = torch.zeros(encoder.tokenizer.vocab_size + padding)
    state.mask(logits)
    names = [*encoder.tokenizer.token_texts, *["PADDING"] * padding]
    return {name for name, logit in zip(names, logits.tolist(), strict=True) if logit == 0}


def _accept(state: Constraint, encoder: Encoder, text: str) -> bool:
    return all(state.accept(token) for token in encoder.encode_text(text))


def test_forced_text_comes_in_one_go_and_choices_are_masked(
    constraints: Constraints, encoder: Encoder
) -> None:
    state = constraints.start(SQL)
    assert encoder.decode_text(state.forced()) == "SELECT "
    assert _allowed(state, encoder) == {"a", "b"}
    assert state.accept(encoder.tokenizer.token_texts.index("b"))
    assert encoder.decode_text(state.forced()) == "c FROM t"
    # Complete, yet it may go on: the end is a choice, not forced.
    assert not state.done and state.forced() == ()
    assert _allowed(state, encoder) == {"Ġ", "<|im_end|>", "<|endoftext|>"}


def test_a_grammar_that_can_only_end_is_done(constraints: Constraints, encoder: Encoder) -> None:
    state = constraints.start(SQL)
    assert _accept(state, encoder, "SELECT a FROM t LIMIT 5")
    assert state.done
    assert state.forced() == ()


def test_what_is_outside_is_refused(constraints: Constraints, encoder: Encoder) -> None:
    assert not _accept(constraints.start(SQL), encoder, "SELECT x")


def test_logits_past_the_vocabulary_are_never_allowed(
    constraints: Constraints, encoder: Encoder
) -> None:
    state = constraints.start(Grammar("regex", "[a-z]+"))
    assert "PADDING" not in _allowed(state, encoder, padding=7)


def test_two_requests_with_one_grammar_do_not_share_state(
    constraints: Constraints, encoder: Encoder
) -> None:
    first, second = constraints.start(SQL), constraints.start(SQL)
    first.forced()
    assert encoder.decode_text(second.forced()) == "SELECT "


def test_json_schema_limits_values(constraints: Constraints, encoder: Encoder) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    grammar = Grammar("json_schema", json.dumps({**schema, "additionalProperties": False}))
    assert _accept(constraints.start(grammar), encoder, '{"ok":true}')
    assert not _accept(constraints.start(grammar), encoder, '{"ok":3')


def test_special_tokens_are_no_text(constraints: Constraints, encoder: Encoder) -> None:
    state = constraints.start(Grammar("regex", r"(?s:.+)x"))
    assert not {"<|im_start|>", "<|im_end|>"} & _allowed(state, encoder)


@pytest.mark.parametrize(
    "grammar",
    [
        Grammar("lark", "start: undefined_rule"),
        Grammar("lark", "this is not a grammar"),
        Grammar("json_schema", "{not json"),
        Grammar("json_schema", '{"type": "nonsense"}'),
        Grammar("regex", "(unclosed"),
        Grammar("gbnf", "root ::= x"),
    ],
)
def test_a_wrong_grammar_is_an_input_error(constraints: Constraints, grammar: Grammar) -> None:
    with pytest.raises(InputError, match="grammar is not valid") as caught:
        constraints.start(grammar)
    assert caught.value.next_step


def test_grammars_are_compiled_once_and_the_oldest_goes_first(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constraint, "MAX_COMPILED", 2)
    compiled: list[str] = []
    real = Constraints._compile

    def counting(self: Constraints, grammar: Grammar) -> object:
        compiled.append(grammar.text)
        return real(self, grammar)

    monkeypatch.setattr(Constraints, "_compile", counting)
    constraints = Constraints(encoder.tokenizer)
    for text in ("a", "b", "a", "c", "a", "b"):
        constraints.start(Grammar("regex", text))
    assert compiled == ["a", "b", "c", "b"]
