"""Byte-level BPE from a model file: text to token ids and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Regex, pre_tokenizers
from tokenizers import Tokenizer as BpeTokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import NFC

from gangline.ir.errors import CorruptWeightsError, ModelError

CONTROL, USER_DEFINED = 3, 4
"""Token types of GGUF: control tokens are never text; user-defined ones are."""

GPT2_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PRE_TOKENIZERS: Mapping[str, tuple[str, bool, bool]] = {
    "gpt-2": (GPT2_SPLIT, False, False),
    "smollm": (GPT2_SPLIT, True, False),
    "qwen2": (QWEN2_SPLIT, False, True),
}
"""By name in GGUF: regular expression, single digits split off first, NFC normalised first."""

END_TOKENS = frozenset(
    {"<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|end|>", "</s>"}
)
"""Control tokens that end a turn or a text, in the families we read."""


def _byte_symbols() -> dict[str, int]:
    """Map the printable stand-in that byte-level BPE uses for each byte back to that byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    table = {chr(byte): byte for byte in plain}
    return table | {chr(256 + place): byte for place, byte in enumerate(rest)}


BYTE_SYMBOLS = _byte_symbols()


class Tokenizer:
    """A vocabulary with its merges.

    `encode` never yields a special token: special tokens are placed by id, by the caller, so
    no text can smuggle one in.
    """

    def __init__(
        self,
        bpe: BpeTokenizer,
        tokens: Sequence[str],
        control: Iterable[int],
        user_defined: Iterable[int],
        eos_token_id: int | None,
    ) -> None:
        self._bpe = bpe
        self._tokens = tokens
        self._control = frozenset(control)
        self._user_defined = frozenset(user_defined)
        self.special_tokens = {
            tokens[token]: token for token in sorted(self._control | self._user_defined)
        }
        ends = {tokens[token]: token for token in self._control if tokens[token] in END_TOKENS}
        declared = set() if eos_token_id is None else {eos_token_id}
        self.eos_token_ids = frozenset(ends.values()) | declared
        self.eos_token_id = eos_token_id if eos_token_id is not None else min(self.eos_token_ids)

    @property
    def vocab_size(self) -> int:
        """Number of token ids, special ones included."""
        return len(self._tokens)

    @property
    def special_token_ids(self) -> frozenset[int]:
        """Ids of control tokens, which never stand for text."""
        return self._control

    @property
    def token_texts(self) -> Sequence[str]:
        """The vocabulary as the file spells it."""
        return self._tokens

    @cached_property
    def token_bytes(self) -> list[bytes]:
        """The bytes each token stands for; a special token stands for its own name."""
        special = self._control | self._user_defined
        return [
            token.encode() if index in special else _to_bytes(token)
            for index, token in enumerate(self._tokens)
        ]

    def encode(self, text: str) -> list[int]:
        """Encode plain text; the name of a special token is ordinary text here."""
        ids: list[int] = self._bpe.encode(text, add_special_tokens=False).ids
        return ids

    def decode_bytes(self, token_ids: Iterable[int]) -> bytes:
        """Give the bytes of some tokens, control tokens left out."""
        table = self.token_bytes
        return b"".join(table[token] for token in token_ids if token not in self._control)

    def decode(self, token_ids: Iterable[int]) -> str:
        """Give the text of some tokens; bytes that are no UTF-8 become U+FFFD."""
        return self.decode_bytes(token_ids).decode("utf-8", "replace")


def _to_bytes(token: str) -> bytes:
    try:
        return bytes([BYTE_SYMBOLS[symbol] for symbol in token])
    except KeyError:
        return token.encode()


def tables_from_gguf(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Pick what `from_tables` needs out of GGUF metadata; plain JSON, so it can be cached."""
    kind = metadata.get("tokenizer.ggml.model")
    if kind != "gpt2":
        raise ModelError(
            f"the tokenizer kind {kind!r} is not supported",
            next_step="Use a model with a byte-level BPE tokenizer.",
        )
    types = metadata.get("tokenizer.ggml.token_type", [])
    return {
        "tokens": list(metadata["tokenizer.ggml.tokens"]),
        "merges": list(metadata.get("tokenizer.ggml.merges", [])),
        "control": [token for token, type_ in enumerate(types) if type_ == CONTROL],
        "user_defined": [token for token, type_ in enumerate(types) if type_ == USER_DEFINED],
        "eos_token_id": metadata.get("tokenizer.ggml.eos_token_id"),
        "pre": metadata.get("tokenizer.ggml.pre", "gpt-2"),
    }


def from_tables(tables: Mapping[str, Any]) -> Tokenizer:
    """Build a tokenizer from `tables_from_gguf`; ModelError if its pre-tokenizer is unknown."""
    tokens: list[str] = tables["tokens"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    merges = [tuple(merge.split(" ", 1)) for merge in tables["merges"]]
    try:
        bpe = BpeTokenizer(BPE(vocab=vocabulary, merges=merges))
        control, user_defined = tables["control"], tables["user_defined"]
        _pre_tokenize(bpe, str(tables["pre"]))
        return Tokenizer(bpe, tokens, control, user_defined, tables["eos_token_id"])
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise _damaged(str(error)) from error
    except ModelError:
        raise
    except Exception as error:  # the library raises bare Exception for a bad merge
        raise _damaged(str(error)) from error


def _damaged(why: str) -> CorruptWeightsError:
    return CorruptWeightsError(
        f"the tokenizer of the model cannot be built: {why}",
        next_step="Delete the model file and pull it again with `gangline models pull NAME`.",
    )


def _pre_tokenize(bpe: BpeTokenizer, name: str) -> None:
    if name not in PRE_TOKENIZERS:
        raise ModelError(
            f"the pre-tokenizer {name!r} is not supported",
            next_step=f"Use a model with one of {', '.join(sorted(PRE_TOKENIZERS))}.",
        )
    pattern, single_digits, nfc = PRE_TOKENIZERS[name]
    steps: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if single_digits else []
    steps.append(pre_tokenizers.Split(Regex(pattern), behavior="isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(steps)
    if nfc:
        bpe.normalizer = NFC()


def from_folder(folder: Path) -> Tokenizer:
    """Build a tokenizer from `tokenizer.json` (and the end token of `config.json`)."""
    try:
        document = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        added = document.pop("added_tokens", None) or []
        bpe = BpeTokenizer.from_str(json.dumps({**document, "added_tokens": []}))
        places = {int(index): token for token, index in document["model"]["vocab"].items()}
        places |= {int(row["id"]): row["content"] for row in added}
        tokens = [places.get(index, "") for index in range(max(places) + 1)]
        eos = config.get("eos_token_id")
        return Tokenizer(
            bpe,
            tokens,
            [int(row["id"]) for row in added if row.get("special")],
            [int(row["id"]) for row in added if not row.get("special")],
            eos[0] if isinstance(eos, list) else eos,
        )
    except OSError as error:
        raise ModelError(
            f"the model folder {folder} has no readable tokenizer: {error.strerror}",
            next_step="Put config.json, tokenizer.json and the weights into one folder.",
        ) from error
    except Exception as error:
        raise _damaged(str(error)) from error
