"""The shape of a model: the numbers of its architecture that costs are computed from.

Shapes come from the packaged `shapes.toml` by name, from a `ModelSpec`, or from a mapping that
uses our field names, short names (`layers`, `top_k`) or those of a Hugging Face config.json.
A mapping needs layers, hidden size and heads; what else it leaves out follows from those.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from gangline.ir.errors import ConfigError
from gangline.ir.specs.model import ModelSpec

from .dtypes import FORMATS

SHAPES_PATH = Path(__file__).with_name("shapes.toml")


@dataclass(frozen=True, slots=True)
class ModelShape:
    """One decoder-only model as sizes; the units are counts unless said otherwise.

    Attributes:
        ffn: width of a dense feed-forward layer (of the gate, where gated).
        gated: feed-forward layers have gate and up projections, not only up.
        tied: the output head reads the embedding's weights.
        experts: routed experts per mixture layer; 0 for a dense model.
        experts_per_token: routed experts one token visits.
        expert_ffn: width of one expert.
        shared_experts: experts of that width that every token visits.
        dense_layers: leading layers that are dense in a mixture model.
        q_lora_rank: rank of the query's low-rank projection (MLA); 0 for a full projection.
        kv_lora_rank: rank of the cached latent (MLA); 0 for ordinary keys and values.
        qk_nope_head_dim: part of an MLA query head without rotary embedding.
        qk_rope_head_dim: part with it (cached once per token, not per head).
        v_head_dim: width of an MLA value head.
        linear_layers: layers with linear attention, whose state does not grow with context.
        linear_key_heads: key heads of those layers.
        linear_value_heads: value heads of those layers.
        linear_head_dim: head width of those layers.
        window_layers: layers that attend to the last `window` tokens only.
        window: their window in tokens.
        sparse_top_k: cached tokens a sparse attention reads at most; 0 for all.
        output_gate: attention layers project a gate as wide as the query.
        source: where the sizes come from.
    """

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    gated: bool = True
    tied: bool = False
    experts: int = 0
    experts_per_token: int = 0
    expert_ffn: int = 0
    shared_experts: int = 0
    dense_layers: int = 0
    q_lora_rank: int = 0
    kv_lora_rank: int = 0
    qk_nope_head_dim: int = 0
    qk_rope_head_dim: int = 0
    v_head_dim: int = 0
    linear_layers: int = 0
    linear_key_heads: int = 0
    linear_value_heads: int = 0
    linear_head_dim: int = 0
    window_layers: int = 0
    window: int = 0
    sparse_top_k: int = 0
    output_gate: bool = False
    source: str = ""

    @property
    def family(self) -> str:
        """Give `moe_mla` for mixtures and latent attention, else `dense`."""
        return "moe_mla" if self.experts or self.kv_lora_rank else "dense"

    @property
    def moe_layers(self) -> int:
        """Layers whose feed-forward part is a mixture of experts."""
        return self.layers - self.dense_layers if self.experts else 0

    @property
    def softmax_layers(self) -> int:
        """Layers with softmax attention, windowed ones counted."""
        return self.layers - self.linear_layers

    @property
    def attention_params(self) -> int:
        """Weights of the projections of one softmax attention layer."""
        if not self.kv_lora_rank:
            query = (2 if self.output_gate else 1) * self.heads + 2 * self.kv_heads
            return self.hidden * self.head_dim * (query + self.heads)
        head = self.qk_nope_head_dim + self.qk_rope_head_dim
        down = self.hidden * (self.q_lora_rank + self.kv_lora_rank + self.qk_rope_head_dim)
        query = (self.q_lora_rank or self.hidden) * self.heads * head
        up = self.kv_lora_rank * self.heads * (self.qk_nope_head_dim + self.v_head_dim)
        return down + query + up + self.heads * self.v_head_dim * self.hidden

    @property
    def linear_params(self) -> int:
        """Weights of the projections of one linear attention layer (q, k, v, gate, output)."""
        keys = 2 * self.linear_key_heads * self.linear_head_dim
        values = 3 * self.linear_value_heads * self.linear_head_dim
        return self.hidden * (keys + values)

    @property
    def expert_params(self) -> int:
        """Weights of one expert of one layer."""
        return (3 if self.gated else 2) * self.hidden * self.expert_ffn

    @property
    def embedding_params(self) -> int:
        """Weights of the embedding table (and again of an untied output head)."""
        return self.vocab * self.hidden

    def _layer_params(self, experts: int) -> int:
        """All layers' weights with that many routed experts in each mixture layer."""
        mixture = self.hidden * self.experts + self.expert_params * (experts + self.shared_experts)
        dense = (3 if self.gated else 2) * self.hidden * self.ffn
        return (
            self.softmax_layers * self.attention_params
            + self.linear_layers * self.linear_params
            + self.moe_layers * mixture
            + (self.layers - self.moe_layers) * dense
        )

    @property
    def params(self) -> int:
        """All weights; norms and biases (less than 0.1 %) are not counted."""
        heads = 1 if self.tied else 2
        return self._layer_params(self.experts) + heads * self.embedding_params

    @property
    def active_params(self) -> int:
        """Weights one token is multiplied with: a look-up costs nothing, the head does."""
        return self._layer_params(self.experts_per_token) + self.embedding_params

    def weight_bytes(self, dtype: str) -> float:
        """Bytes of all weights; embedding and head stay in 16 bits below 16-bit layers."""
        width = FORMATS[dtype].weight_bytes
        heads = (1 if self.tied else 2) * self.embedding_params
        return self._layer_params(self.experts) * width + heads * max(width, 2.0)

    @property
    def kv_elements(self) -> int:
        """Cached elements one token adds in one softmax layer."""
        if self.kv_lora_rank:
            return self.kv_lora_rank + self.qk_rope_head_dim
        return 2 * self.kv_heads * self.head_dim

    def kv_bytes_per_token(self, kv_dtype: str = "bf16") -> float:
        """Bytes of KV cache one more token takes while every window is still open."""
        return self.softmax_layers * self.kv_elements * FORMATS[kv_dtype].weight_bytes

    def kv_bytes(self, context: float, kv_dtype: str = "bf16") -> float:
        """Bytes of KV cache of one sequence: closed windows and linear states stop growing."""
        width = FORMATS[kv_dtype].weight_bytes
        full = (self.softmax_layers - self.window_layers) * context
        windowed = self.window_layers * min(context, self.window or context)
        state = self.linear_layers * self.linear_value_heads * self.linear_head_dim**2
        return (full + windowed) * self.kv_elements * width + state * 4.0

    @classmethod
    def from_model_spec(cls, model: ModelSpec) -> ModelShape:
        """Read the shape off a model row of the registry (dense models with gated layers)."""
        return cls(
            name=model.name,
            layers=model.num_layers,
            hidden=model.hidden_size,
            heads=model.num_heads,
            kv_heads=model.num_kv_heads,
            head_dim=model.head_dim,
            ffn=model.ffn_size,
            vocab=model.vocab_size,
            tied=model.tied_embedding,
            source="model registry",
        )


FIELDS = {field.name: str(field.type) for field in fields(ModelShape)}

SYNONYMS = {
    "num_hidden_layers": "layers",
    "num_layers": "layers",
    "n_layer": "layers",
    "n_layers": "layers",
    "hidden_size": "hidden",
    "n_embd": "hidden",
    "d_model": "hidden",
    "dim": "hidden",
    "num_attention_heads": "heads",
    "num_heads": "heads",
    "n_head": "heads",
    "n_heads": "heads",
    "num_key_value_heads": "kv_heads",
    "num_kv_heads": "kv_heads",
    "n_kv_heads": "kv_heads",
    "n_head_kv": "kv_heads",
    "multi_query_group_num": "kv_heads",
    "head_size": "head_dim",
    "d_head": "head_dim",
    "kv_channels": "head_dim",
    "intermediate_size": "ffn",
    "ffn_hidden_size": "ffn",
    "ffn_size": "ffn",
    "ffn_dim": "ffn",
    "d_ff": "ffn",
    "n_inner": "ffn",
    "vocab_size": "vocab",
    "n_vocab": "vocab",
    "padded_vocab_size": "vocab",
    "tie_word_embeddings": "tied",
    "tied_embedding": "tied",
    "num_local_experts": "experts",
    "n_routed_experts": "experts",
    "num_experts": "experts",
    "n_experts": "experts",
    "num_experts_per_tok": "experts_per_token",
    "num_experts_per_token": "experts_per_token",
    "n_experts_per_token": "experts_per_token",
    "n_experts_per_tok": "experts_per_token",
    "experts_per_tok": "experts_per_token",
    "moe_top_k": "experts_per_token",
    "top_k": "experts_per_token",
    "moe_intermediate_size": "expert_ffn",
    "moe_ffn_hidden_size": "expert_ffn",
    "moe_ffn_size": "expert_ffn",
    "moe_ffn_dim": "expert_ffn",
    "moe_ffn": "expert_ffn",
    "moe_d_ff": "expert_ffn",
    "n_shared_experts": "shared_experts",
    "first_k_dense_replace": "dense_layers",
    "linear_num_key_heads": "linear_key_heads",
    "linear_num_value_heads": "linear_value_heads",
    "linear_value_head_dim": "linear_head_dim",
    "index_topk": "sparse_top_k",
    "attn_output_gate": "output_gate",
}
"""Names of Hugging Face config.json files and of model rows, by the field they fill."""

REQUIRED = ("layers", "hidden", "heads")
DEFAULT_VOCAB = 32_000
"""Vocabulary of a table that states none (Llama 2's); embedding and head have that many rows."""

UNGATED = ("gelu", "gelu_new", "gelu_fast", "relu", "relu2")
UNGATED_TYPES = ("gpt2", "gptj", "gpt_neox", "gpt_bigcode", "opt", "bloom", "falcon", "phi")
"""`model_type` of architectures whose feed-forward layers have no gate whatever the activation."""

HARMLESS = re.compile(
    r"(torch_)?dtype|params|(num|n|total|active)_param(eter)?s|_.*|id|hf_id|url|notes?|license|"
    r"(rope|rotary|rms|norm|layer_?norm|initializer|tokenizer|transformers|quantization|auto)_.*|"
    r"(max|n)_(position.*|seq.*|ctx|model_len|context.*)|(seq|context)_length|"
    r"\w*(_token_id|_dropout|_pdrop|_bias|_eps|_cache|_window_layers)|bias|no_bias|"
    r"activation(_function)?|model_max_length|multiple_of|ffn_dim_multiplier|pretraining_tp"
)
"""Keys of config.json files and model cards that change no size counted here."""

LIMIT = 10**9


def find_shape(model: str | Mapping[str, Any] | ModelShape, *, where: str = "") -> ModelShape:
    """Give the shape of a model: by name, or from a mapping; ConfigError for a bad one.

    Names are compared without organisation, case, punctuation and suffixes that do not change
    the shape (`-Instruct`, `-FP8`, a date).
    """
    if isinstance(model, ModelShape):
        return model
    if isinstance(model, Mapping):
        return shape_from_mapping(model, where=where)
    known = _names()
    found = known.get(plain_name(str(model)))
    if found is not None:
        return shapes()[found]
    near = difflib.get_close_matches(plain_name(str(model)), known, n=3, cutoff=0.6)
    names = list(dict.fromkeys(known[key] for key in near))
    hint = f"Did you mean {' or '.join(names)}? " if names else ""
    raise ConfigError(
        f"No model shape is called {model!r}",
        where=where,
        next_step=f"{hint}A model of your own is given as a table of sizes, for example the "
        "content of its config.json.",
    )


_MEANINGLESS = re.compile(
    r"(meta|hf|instruct|chat|it|base|thinking|preview|turbo|versatile|terminus|speciale|"
    r"safeguard|latest|v0\.\d|\d{4}|\d{6}|\d{8}|"
    r"99(\.9)?|offline|server|interactive|edge|singlestream)"  # as MLPerf names its runs
)
_FORMAT = re.compile(
    r"\w*(fp\d|bf16|int\d|awq|gptq)\w*|w\d+a\d+\w*|i?q\d(_\w+)*|bnb|\dbit|gguf|kv|"
    r"(dynamic|quantized)(\..*)?"
)
_SIZE = re.compile(r"(\d+x)?\d+(\.\d+)?[bm]")


def plain_name(name: str) -> str:
    """Give a model name without what does not change its shape, for comparison."""
    base = name.strip().rsplit("/", 1)[-1].casefold().removesuffix(".gguf")
    base = re.sub(r"\.(i?q\d(_\w+)*|fp?16)$", "", base)
    kept: list[str] = []
    packed = False
    # `packed` says whether a format was named: what follows tells its version, not the model's.
    for part in re.split(r"[-\s:]+|_(?!\d)", base):
        packed = packed or bool(_FORMAT.fullmatch(part))
        if not _MEANINGLESS.fullmatch(part) and (not packed or _SIZE.fullmatch(part)):
            kept.append(part)
    return re.sub(r"[^a-z0-9]", "", "".join(kept))


@cache
def shapes() -> Mapping[str, ModelShape]:
    """Read the packaged shapes, by name."""
    document = tomllib.loads(SHAPES_PATH.read_text(encoding="utf-8"))
    rows = [{k: v for k, v in row.items() if k != "aliases"} for row in document["model"]]
    return {row["name"]: shape_from_mapping(row, where=SHAPES_PATH.name) for row in rows}


@cache
def _names() -> Mapping[str, str]:
    """Plain names and aliases of the packaged shapes, each with the row's name."""
    document = tomllib.loads(SHAPES_PATH.read_text(encoding="utf-8"))
    return {
        plain_name(alias): row["name"]
        for row in document["model"]
        for alias in (row["name"], *row.get("aliases", ()))
    }


def shape_from_mapping(data: Mapping[str, Any], *, where: str = "") -> ModelShape:
    """Build a shape from our field names, short names or a config.json; ConfigError names the key."""
    text = data.get("text_config")
    if isinstance(text, Mapping):  # a vision model keeps its language model apart
        data = {**data, **text}
    values: dict[str, Any] = {}
    for key, value in data.items():
        field = _field_of(key, data)
        if field not in FIELDS:
            _refuse_unknown(key, data, where)
        elif value is not None:
            values[field] = _checked(key, value, FIELDS[field], where)
    _read_layer_types(data, values)
    missing = [field for field in REQUIRED if not values.get(field)]
    if missing:
        raise ConfigError(
            f"A model shape needs {missing[0]!r}",
            where=where,
            next_step="Give layers, hidden and heads at least (or their config.json names).",
        )
    _read_model_type(data, values)
    _fill(values)
    _check_whole(values, where)
    return ModelShape(**values)


def _field_of(key: str, data: Mapping[str, Any]) -> str:
    """The field that a key fills, or the key itself."""
    if key == "hidden_dim":  # beside another name of the hidden size, the feed-forward width
        named = (SYNONYMS.get(other, other) for other in data)
        return "ffn" if "hidden" in named else "hidden"
    return SYNONYMS.get(key, key)


def _read_model_type(data: Mapping[str, Any], values: dict[str, Any]) -> None:
    """Apply what a few architectures mean by their own keys."""
    kind = data.get("model_type")
    if kind == "qwen" and "intermediate_size" in data:  # the first Qwen counts gate and up together
        values["ffn"] //= 2
    step = data.get("multiple_of")
    if step and "ffn" not in values:  # Llama's params.json, as its reference code reads it
        width = int(8 * values["hidden"] / 3)
        values["ffn"] = step * -(-int(width * (data.get("ffn_dim_multiplier") or 1.0)) // step)
    if kind in UNGATED_TYPES or "n_embd" in data:
        values.setdefault("gated", False)
    if kind == "gpt2":
        values.setdefault("tied", True)


def _refuse_unknown(key: str, data: Mapping[str, Any], where: str) -> None:
    """Ignore what else a config.json holds; a key of our own form must be known."""
    if "model_type" in data or "architectures" in data or HARMLESS.fullmatch(key):
        return
    if key in ("text_config", "layer_types", "full_attention_interval", "sliding_window"):
        return
    if key in ("use_sliding_window", "hidden_act", "shared_expert_intermediate_size"):
        return
    near = difflib.get_close_matches(key, (*FIELDS, *SYNONYMS), n=2)
    raise ConfigError(
        f"A model shape has no key {key!r}",
        where=where,
        next_step=f"Did you mean {' or '.join(near)}?" if near else f"Keys: {', '.join(FIELDS)}.",
    )


def _checked(key: str, value: Any, kind: str, where: str) -> Any:
    """Give a value of a field's type; ConfigError names the key that has another."""
    good = {
        "int": isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 <= value < LIMIT,
        "bool": isinstance(value, bool),
        "str": isinstance(value, str),
    }[kind]
    if not good or (kind == "int" and value != int(value)):
        wanted = {"int": "a whole number of 0 or more", "bool": "true or false", "str": "a text"}
        raise ConfigError(
            f"{key} = {value!r} is not {wanted[kind]}",
            where=where,
            next_step=f"Give {key} as {wanted[kind]}.",
        )
    return int(value) if kind == "int" else value


def _read_layer_types(data: Mapping[str, Any], values: dict[str, Any]) -> None:
    """Count linear and windowed layers as config.json files state them."""
    layers, interval = values.get("layers", 0), data.get("full_attention_interval") or 0
    kinds = data.get("layer_types")
    if isinstance(kinds, list | tuple):
        values.setdefault("linear_layers", sum("linear" in str(kind) for kind in kinds))
        values.setdefault("window_layers", sum("sliding" in str(kind) for kind in kinds))
    elif interval > 1:
        values.setdefault("linear_layers", layers - layers // interval)
    window = data.get("sliding_window")
    if window and data.get("use_sliding_window", True):
        values.setdefault("window", int(window))
        values.setdefault("window_layers", layers)
    act = data.get("hidden_act") or data.get("activation_function")
    if act in UNGATED:
        values.setdefault("gated", False)
    shared = data.get("shared_expert_intermediate_size")
    if shared and values.get("expert_ffn"):
        values.setdefault("shared_experts", max(1, round(shared / values["expert_ffn"])))


def _fill(values: dict[str, Any]) -> None:
    """Fill fields that follow from others where a mapping leaves them out."""
    values.setdefault("name", "custom")
    values.setdefault("vocab", DEFAULT_VOCAB)
    values.setdefault("kv_heads", values["heads"])
    values.setdefault("head_dim", values["hidden"] // values["heads"])
    values.setdefault("ffn", 4 * values["hidden"])
    if values.get("experts"):
        values.setdefault("expert_ffn", values["ffn"])
    if not values.get("window"):
        values["window_layers"] = 0


def _check_whole(values: Mapping[str, Any], where: str) -> None:
    """Refuse a shape whose parts contradict each other, naming the key."""
    experts, top = values.get("experts", 0), values.get("experts_per_token", 0)
    parts = values.get("linear_layers", 0) + values.get("window_layers", 0)
    latent = ("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    problems = {
        "kv_heads": not 0 < values["kv_heads"] <= values["heads"],
        "head_dim": values["head_dim"] <= 0,
        "ffn": values["ffn"] <= 0 and not experts,
        "experts_per_token": bool(experts) and not 0 < top <= experts,
        "dense_layers": values.get("dense_layers", 0) > values["layers"],
        "linear_layers": parts > values["layers"],
        "v_head_dim": bool(values.get("kv_lora_rank")) and not all(map(values.get, latent)),
    }
    for key, bad in problems.items():
        if bad:
            raise ConfigError(
                f"{key} = {values.get(key, 0)!r} does not fit the other sizes of the model",
                where=where,
                next_step=f"Check {key} against the model's config.json.",
            )
