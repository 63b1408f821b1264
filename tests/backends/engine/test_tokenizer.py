"""Text to tokens exactly as the reference does it, and back without loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers
from tokenizers.normalizers import NFC

from gangline.backends.engine.encoder import Encoder, load_encoder
from gangline.backends.engine.tokenizer import BYTE_SYMBOLS, from_tables
from gangline.ir.errors import CorruptWeightsError, ModelError

ModelFile = Callable[[str], Path]
TRICKY = (
    "Hello world, don't you'll it'S",
    "12345 67 8.9 1e10 ٣٤",
    "a\n\n  b\r\n\tc   \n",
    "SELECT COUNT(*) FROM t WHERE x >= 10 AND name LIKE '%a_b%';",
    "def f(x):\n    return {k: v for k, v in x.items()}\n",
    "naïve café ﬁ 日本語 한국어 🙂👨‍👩‍👧 ağ",
    "e\u0301 Å \u00a0 nbsp",
    "    leading and trailing   ",
    "<|im_end|> <|endoftext|><|im_start|>",
    "",
)
TABLES = {
    "tokens": ["<|im_end|>", *BYTE_SYMBOLS, "he", "ll", "hell"],
    "merges": ["h e", "l l", "he ll"],
    "control": [0],
    "user_defined": [],
    "eos_token_id": 0,
    "pre": "qwen2",
}


@given(st.text())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=200)
def test_every_text_survives_and_holds_no_special_token(text: str) -> None:
    tokenizer = from_tables({**TABLES, "pre": "gpt-2"})
    ids = tokenizer.encode(text + "<|im_end|>")
    assert tokenizer.decode(ids) == text + "<|im_end|>"
    assert 0 not in ids


def test_merges_apply_in_order() -> None:
    tokenizer = from_tables(TABLES)
    assert [tokenizer.token_texts[token] for token in tokenizer.encode("hello")] == ["hell", "o"]


def test_control_tokens_are_left_out_of_text_and_broken_utf8_is_marked() -> None:
    tokenizer = from_tables(TABLES)
    ids = tokenizer.encode("né")
    assert tokenizer.decode([0, *ids, 0]) == "né"
    assert tokenizer.decode(ids[:-1]) == "n\ufffd"


def test_an_unknown_pre_tokenizer_is_refused() -> None:
    with pytest.raises(ModelError, match="tekken"):
        from_tables({**TABLES, "pre": "tekken"})


def test_a_merge_of_unknown_tokens_is_refused() -> None:
    with pytest.raises(CorruptWeightsError, match="tokenizer"):
        from_tables({**TABLES, "merges": ["zz yy"]})


def test_folder_and_gguf_encode_alike(
    write_folder: Callable[..., Path], write_gguf: Callable[..., Path]
) -> None:
    one, other = load_encoder(write_folder()), load_encoder(write_gguf())
    for text in TRICKY:
        assert one.encode_text(text) == other.encode_text(text)
    chat = [{"role": "user", "content": "hello the"}]
    assert one.encode(chat) == other.encode(chat)
    assert one.eos_token_ids == other.eos_token_ids == {0, 2}


def _reference(path: Path) -> Callable[[str], list[int]]:
    """Build transformers' tokenizer from the same file, with the published first steps.

    GGUF names those steps only (`smollm`, `qwen2`); transformers reads the vocabulary right but
    leaves out SmolLM2's split of every digit and Qwen's NFC.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
    if "smollm" in path.name:
        digits = pre_tokenizers.Digits(individual_digits=True)
        words = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
    else:
        tokenizer.backend_tokenizer.normalizer = NFC()
    options = {"add_special_tokens": False, "split_special_tokens": True}
    return lambda text: list(tokenizer(text, **options)["input_ids"])


def _same(encoder: Encoder, reference: Callable[[str], list[int]]) -> None:
    for text in TRICKY:
        assert list(encoder.encode_text(text)) == reference(text), text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["smollm2", "qwen"])
def test_tokens_equal_those_of_transformers(name: str, model_file: ModelFile) -> None:
    path = model_file(name)
    _same(load_encoder(path), _reference(path))


def test_real_smollm2_text_survives(model_file: ModelFile) -> None:
    encoder = load_encoder(model_file("smollm2"))
    for text in TRICKY:
        assert encoder.decode_text(encoder.encode_text(text)) == text
    assert [encoder.tokenizer.token_texts[t] for t in encoder.encode_text("in 2024")] == [
        *("in", "Ġ", "2", "0", "2", "4"),
    ]
