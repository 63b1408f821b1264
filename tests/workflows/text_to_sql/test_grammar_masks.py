"""Masks over the real vocabulary: every gold stays inside, no limit is met, and it is quick."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from llguidance import LLMatcher

from gangline.backends.engine import tokenizer as tokenizers
from gangline.backends.engine.constraint import _vocabulary
from gangline.backends.engine.gguf_file import GGUFFile
from gangline.workflows.text_to_sql.evaluate import Pair
from gangline.workflows.text_to_sql.grammar import schema_grammar_text
from gangline.workflows.text_to_sql.schema_reader import read_schema

MODELS = ".cache/gangline/models"


@pytest.mark.slow
def test_masks_over_the_models_vocabulary(pairs: tuple[Pair, ...], db_dir: Path) -> None:
    path = next(iter(sorted((Path.home() / MODELS).glob("qwen2.5-coder-1.5b*.gguf"))), None)
    if path is None:
        pytest.skip("the model is not on this disk: gangline models pull qwen2.5-coder-1.5b")
    tokenizer = tokenizers.from_tables(tokenizers.tables_from_gguf(GGUFFile(path).metadata))
    vocabulary = _vocabulary(tokenizer)
    compiled: dict[str, Any] = {}
    compile_s: list[float] = []
    mask_s: list[float] = []
    for pair in pairs:
        if pair.db not in compiled:
            started = time.process_time()
            text = schema_grammar_text(read_schema(str(db_dir / pair.db)))
            compiled[pair.db] = LLMatcher(
                vocabulary, LLMatcher.grammar_from_lark(text), log_level=0
            )
            compile_s.append(time.process_time() - started)
        state = compiled[pair.db].deep_copy()
        for token in tokenizer.encode(" ".join(pair.gold[0].split())):
            started = time.process_time()
            state.compute_bitmask()
            mask_s.append(time.process_time() - started)
            assert not state.is_error(), (pair.id, state.get_error())
            assert state.consume_token(token), (pair.id, tokenizer.decode([token]))
        assert state.is_accepting(), pair.id
    assert sorted(compile_s)[len(compile_s) // 2] < 0.05
    assert sorted(mask_s)[len(mask_s) // 2] < 0.001
