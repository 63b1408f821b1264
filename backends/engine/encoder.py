"""Tokenizer and chat template of a model, without its weights (and without torch)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gangline.ir.errors import ModelError

from . import cache
from . import tokenizer as tokenizers
from .chat import ChatTemplate
from .gguf_file import GGUFFile
from .tokenizer import Tokenizer

TABLES_FILE = "tokenizer.json"


class Encoder:
    """What turns messages into prompt tokens and output tokens into text."""

    def __init__(self, tokenizer: Tokenizer, template: str) -> None:
        self.tokenizer = tokenizer
        self._chat = ChatTemplate(template, tokenizer)

    @property
    def eos_token_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        return self.tokenizer.eos_token_ids

    def encode(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        prefix: str = "",
    ) -> tuple[int, ...]:
        """Give the prompt tokens of a conversation that the model shall continue."""
        return self._chat.encode(messages, tools=tools, prefix=prefix)

    def encode_text(self, text: str) -> tuple[int, ...]:
        """Give the tokens of plain text, without any template."""
        return tuple(self.tokenizer.encode(text))

    def decode_text(self, token_ids: Iterable[int]) -> str:
        """Give the text of output tokens, control tokens left out."""
        return self.tokenizer.decode(token_ids)


def load_encoder(
    path: Path, *, expected_sha256: str = "", cache_root: Path | None = None
) -> Encoder:
    """Load the encoder of a GGUF file or of a folder in Hugging Face layout.

    Raises ModelError (CorruptWeightsError for a file that is not what it should be).
    """
    path = Path(path)
    if path.is_dir():
        return Encoder(tokenizers.from_folder(path), _folder_template(path))
    folder = cache.model_folder(path, expected_sha256=expected_sha256, root=cache_root)
    tables = cache.read_json(folder / TABLES_FILE)
    if tables is None:
        tables = save_tables(GGUFFile(path), folder)
    return Encoder(tokenizers.from_tables(tables), str(tables["chat_template"]))


def save_tables(file: GGUFFile, folder: Path) -> dict[str, Any]:
    """Keep the tokenizer tables of a GGUF file in its cache folder."""
    tables = tokenizers.tables_from_gguf(file.metadata)
    tables["chat_template"] = file.metadata.get("tokenizer.chat_template", "")
    cache.write_json(folder / TABLES_FILE, tables)
    return tables


def _folder_template(folder: Path) -> str:
    loose = folder / "chat_template.jinja"
    if loose.exists():
        return loose.read_text(encoding="utf-8")
    config = cache.read_json(folder / "tokenizer_config.json") or {}
    template = config.get("chat_template", "")
    if not isinstance(template, str):
        raise ModelError(f"{folder} holds several chat templates, expected one")
    return template
