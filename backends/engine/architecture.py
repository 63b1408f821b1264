"""The shape of a decoder-only model, read from its own file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gangline.ir.errors import ModelError

FAMILIES = ("llama", "qwen2")
MAX_DIMENSION = 1 << 22
"""No size in a model file may exceed this: a larger one is a damaged header."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes and constants of one Llama-like model.

    Attributes:
        family: `llama` or `qwen2` (the same block; qwen2 adds biases to q, k and v).
        context: longest sequence the model was trained for, in tokens.
        rope_base: base of the rotary frequencies.
        norm_eps: added to the mean square inside RMSNorm.
        tied_embedding: the output head is the embedding table.
        rope_interleaved: q and k rows in the file pair neighbours (2i, 2i+1); the engine
            pairs halves (i, i + d/2), so such rows are reordered when read.
    """

    family: str
    num_layers: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    ffn_size: int
    vocab_size: int
    context: int
    rope_base: float
    norm_eps: float
    tied_embedding: bool
    rope_interleaved: bool = False

    def __post_init__(self) -> None:
        sizes = [self.num_layers, self.hidden_size, self.num_heads, self.num_kv_heads]
        sizes += [self.head_dim, self.ffn_size, self.vocab_size, self.context]
        if self.family not in FAMILIES:
            raise ModelError(
                f"the model family {self.family!r} is not supported",
                next_step=f"Use a model of one of the families {', '.join(FAMILIES)}.",
            )
        if not all(0 < size < MAX_DIMENSION for size in sizes):
            raise ModelError(f"the model header holds an impossible size: {asdict(self)}")
        if self.num_heads % self.num_kv_heads or self.head_dim % 2:
            raise ModelError(
                f"{self.num_heads} heads of {self.head_dim} over {self.num_kv_heads} kv heads "
                "cannot be grouped"
            )

    @property
    def query_size(self) -> int:
        """Rows of the query projection."""
        return self.num_heads * self.head_dim

    @property
    def kv_size(self) -> int:
        """Rows of the key projection, and of the value projection."""
        return self.num_kv_heads * self.head_dim

    @property
    def qkv_bias(self) -> bool:
        """Whether q, k and v have biases."""
        return self.family == "qwen2"

    def kv_bytes_per_token(self, bytes_per_element: int) -> int:
        """Bytes of KV cache one token takes: 2 (k and v) x layers x kv heads x head dim."""
        return 2 * self.num_layers * self.kv_size * bytes_per_element

    def to_json(self) -> dict[str, Any]:
        """Give the architecture as plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Architecture:
        """Rebuild an architecture from `to_json`."""
        return cls(**data)


def from_gguf(metadata: Mapping[str, Any], tensors: frozenset[str]) -> Architecture:
    """Read the architecture from GGUF metadata; ModelError if a key is missing or unsupported."""
    family = str(metadata.get("general.architecture", ""))
    _refuse_scaled_rope("rope_freqs.weight" in tensors or f"{family}.rope.scaling.type" in metadata)

    def value(key: str) -> Any:
        return _required(metadata, f"{family}.{key}")

    num_heads, hidden_size = int(value("attention.head_count")), int(value("embedding_length"))
    head_dim = metadata.get(f"{family}.attention.key_length", hidden_size // max(num_heads, 1))
    return Architecture(
        family=family,
        num_layers=int(value("block_count")),
        hidden_size=hidden_size,
        num_heads=num_heads,
        num_kv_heads=int(metadata.get(f"{family}.attention.head_count_kv", num_heads)),
        head_dim=int(head_dim),
        ffn_size=int(value("feed_forward_length")),
        vocab_size=len(_required(metadata, "tokenizer.ggml.tokens")),
        context=int(value("context_length")),
        rope_base=float(metadata.get(f"{family}.rope.freq_base", 10000.0)),
        norm_eps=float(value("attention.layer_norm_rms_epsilon")),
        tied_embedding="output.weight" not in tensors,
        rope_interleaved=family == "llama",
    )


def from_config(config: Mapping[str, Any]) -> Architecture:
    """Read the architecture from a Hugging Face `config.json`; ModelError as `from_gguf`."""
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    _refuse_scaled_rope(scaling.get("rope_type", "default") != "default")
    num_heads = int(_required(config, "num_attention_heads"))
    hidden_size = int(_required(config, "hidden_size"))
    return Architecture(
        family=str(config.get("model_type", "")),
        num_layers=int(_required(config, "num_hidden_layers")),
        hidden_size=hidden_size,
        num_heads=num_heads,
        num_kv_heads=int(config.get("num_key_value_heads") or num_heads),
        head_dim=int(config.get("head_dim") or hidden_size // max(num_heads, 1)),
        ffn_size=int(_required(config, "intermediate_size")),
        vocab_size=int(_required(config, "vocab_size")),
        context=int(_required(config, "max_position_embeddings")),
        rope_base=float(config.get("rope_theta") or scaling.get("rope_theta") or 10000.0),
        norm_eps=float(config.get("rms_norm_eps", 1e-6)),
        tied_embedding=bool(config.get("tie_word_embeddings", False)),
    )


def _required(values: Mapping[str, Any], key: str) -> Any:
    if key not in values:
        raise ModelError(
            f"the model file does not say {key!r}",
            next_step="Use a file converted by a current release of its tool.",
        )
    return values[key]


def _refuse_scaled_rope(scaled: bool) -> None:
    if scaled:
        raise ModelError(
            "the model scales its rotary frequencies, which is not supported",
            next_step="Use a model without rope scaling.",
        )
