"""A model on one device, as the engine drives it: prepare, execute a step, forget."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from gangline.backends.base import Messages, Sampled, ScheduledRequest, SchedulerOutput
from gangline.ir.errors import BackendError, BackendUnavailable, UsageError
from gangline.ir.specs.model import ModelSpec
from gangline.ir.specs.request import Submit

from . import batch as batches
from . import linear, weights
from .architecture import Architecture
from .batch import Batch
from .constraint import Constraint, Constraints
from .encoder import Encoder, load_encoder
from .kv_cache import KVCache
from .logprobs import LoggedDraws
from .model import Model
from .pooling import Pooling
from .sampler import Sampler

BLOCK_SIZE = 16
"""Tokens per KV block."""
DEFAULT_KV_BYTES = 512 << 20
"""KV pool where the caller names neither blocks nor bytes."""


@dataclass(frozen=True, slots=True)
class _Request:
    submit: Submit
    sampler: Sampler
    constraint: Constraint | None
    logged: LoggedDraws | None = None


class TorchRunner:
    """Runs a model file (GGUF, or a folder with safetensors) with torch.

    Args:
        path: the model file or folder.
        device: a torch device name, `cpu` or `cuda`.
        dtype: `auto`, `fp32` (reference), `bf16` or `int8`.
        num_blocks: KV blocks in the pool; without it, as many as fit `kv_bytes`.
        threads: CPU threads of one operation; 0 takes the cores this process may use.
        expected_sha256: refuse a file with another digest.

    Raises:
        BackendUnavailable: the device is not there.
        ModelError: the file is absent, damaged or of an unsupported family.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        device: str = "cpu",
        dtype: str = "auto",
        num_blocks: int | None = None,
        kv_bytes: int = DEFAULT_KV_BYTES,
        block_size: int = BLOCK_SIZE,
        threads: int = 0,
        expected_sha256: str = "",
        cache_root: Path | None = None,
    ) -> None:
        self._device = _device(device)
        _use_threads(threads)
        loaded = weights.load(
            Path(path),
            _precision(dtype, self._device),
            expected_sha256=expected_sha256,
            cache_root=cache_root,
        )
        self._encoder = load_encoder(Path(path), cache_root=cache_root)
        self._model = Model(loaded, self._device)
        kv_dtype = _kv_dtype(loaded.precision, self._device)
        per_block = block_size * loaded.architecture.kv_bytes_per_token(kv_dtype.itemsize)
        blocks = num_blocks or max(1, kv_bytes // per_block)
        self._cache = KVCache(loaded.architecture, blocks, block_size, kv_dtype, self._device)
        self._constraints = Constraints(self._encoder.tokenizer)
        self._requests: dict[str, _Request] = {}
        self._pooling = Pooling()
        self.num_blocks = blocks
        self.block_size = block_size
        self.block_root = f"{loaded.sha256}:{str(kv_dtype).removeprefix('torch.')}"
        self.eos_token_ids = self._encoder.eos_token_ids
        self.context = loaded.architecture.context
        self.kernels: Mapping[str, str] = self._model.kernels | {"precision": loaded.precision}

    @property
    def encoder(self) -> Encoder:
        """The tokenizer and chat template of the model."""
        return self._encoder

    def add(self, request: Submit) -> None:
        """Prepare a request; InputError if its grammar is not valid."""
        if request.embed:
            self._pooling.add(request.request_id)
            return
        sampling = request.sampling
        constraint = None if sampling.grammar is None else self._constraints.start(sampling.grammar)
        logged = None
        if sampling.logprobs is not None:
            logged = LoggedDraws(sampling.logprobs, self._encoder.tokenizer.token_bytes)
        self._requests[request.request_id] = _Request(
            request, Sampler(sampling), constraint, logged
        )

    def remove(self, request_id: str) -> None:
        """Forget a request that ended; an unknown one is ignored."""
        self._requests.pop(request_id, None)
        self._pooling.remove(request_id)

    @torch.inference_mode()
    def execute(self, output: SchedulerOutput) -> Mapping[str, Sampled]:
        """Compute one step; answer for every scheduled request with `sample` set."""
        if not output.scheduled:
            return {}
        if self._pooling:
            return self._execute_with_embeds(output)
        return self._draw_all(output.scheduled, self.logits(output))

    def _draw_all(
        self, scheduled: Iterable[ScheduledRequest], logits: Tensor
    ) -> dict[str, Sampled]:
        sampled = [request for request in scheduled if request.sample]
        return {
            request.request_id: self._draw(self._requests[request.request_id], row)
            for request, row in zip(sampled, logits, strict=True)
        }

    def _execute_with_embeds(self, output: SchedulerOutput) -> dict[str, Sampled]:
        scheduled = self._pooling.without_logits(output.scheduled)
        step = self._laid_out(replace(output, scheduled=scheduled))
        with self._failures(output):
            hidden = self._model.hidden(step, self._cache)
            logits = self._model.logits(hidden, step.sampled_rows)
        embedded = self._pooling.take(output.scheduled, hidden, self._model)
        return embedded | self._draw_all(scheduled, logits)

    @torch.inference_mode()
    def logits(self, output: SchedulerOutput) -> Tensor:
        """Compute one step and give float32 logits [requests with `sample`, vocab]."""
        with self._failures(output):
            return self._model.forward(self._laid_out(output), self._cache)

    def _laid_out(self, output: SchedulerOutput) -> Batch:
        cache = self._cache
        return batches.build(output.scheduled, cache.block_size, cache.dtype, self._device)

    @contextmanager
    def _failures(self, output: SchedulerOutput) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise BackendError(
                f"a step of {output.num_batched_tokens} tokens failed: {error}",
                where=str(self._device),
                next_step="Lower the token budget or the number of KV blocks.",
            ) from error

    def _draw(self, request: _Request, logits: Tensor) -> Sampled:
        if request.logged is not None:
            return request.logged.draw(logits, lambda row: self._choose(request, row))
        return self._choose(request, logits)

    def _choose(self, request: _Request, logits: Tensor) -> Sampled:
        constraint = request.constraint
        if constraint is None:
            return self._free(request, logits)
        forced = constraint.forced()
        if forced or constraint.done:
            return Sampled(forced, "grammar" if constraint.done else None)
        constraint.mask(logits)
        token = request.sampler.choose(logits)
        if token in self.eos_token_ids:
            return Sampled((), "stop")
        if not constraint.accept(token):
            return Sampled((), "grammar")
        tokens = (token, *constraint.forced())
        return Sampled(tokens, "grammar" if constraint.done else None)

    def _free(self, request: _Request, logits: Tensor) -> Sampled:
        token = request.sampler.choose(logits)
        if token in self.eos_token_ids and not request.submit.sampling.ignore_eos:
            return Sampled((), "stop")
        return Sampled((token,))

    def decode_text(self, token_ids: Sequence[int]) -> str:
        """Turn tokens into text; bytes that are no UTF-8 (yet) become U+FFFD."""
        return self._encoder.decode_text(token_ids)

    def encode(self, messages: Messages) -> tuple[int, ...]:
        """Turn chat messages into prompt tokens."""
        return self._encoder.encode(messages)

    def export_blocks(self, blocks: Iterable[int]) -> Tensor:
        """Copy KV blocks out: [layer, k|v, token, kv_head, head_dim]."""
        return self._cache.export_blocks(list(blocks))

    def import_blocks(self, blocks: Iterable[int], data: Tensor) -> None:
        """Store KV blocks that `export_blocks` of the same model gave."""
        self._cache.import_blocks(list(blocks), data)

    def close(self) -> None:
        """Give back the memory of weights and KV cache."""
        self._requests.clear()
        del self._model, self._cache


def load_runner(
    path: Path | str,
    spec: ModelSpec | None = None,
    *,
    device: str = "cpu",
    dtype: str = "auto",
    kv_bytes: int = DEFAULT_KV_BYTES,
    threads: int = 0,
) -> TorchRunner:
    """Load a model for an engine; with a spec, its sha256 is checked."""
    expected = "" if spec is None else spec.sha256
    return TorchRunner(
        path,
        device=device,
        dtype=dtype,
        kv_bytes=kv_bytes,
        threads=threads,
        expected_sha256=expected,
    )


def _kv_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Choose how keys and values are kept; their rounding adds to that of the weights.

    On a CPU float16 takes the time of bfloat16 and keeps three more bits: the next token then
    equals that of float32 at 0.4 % more positions (Qwen2.5-Coder-1.5B, three texts of 500).
    """
    if precision == "fp32":
        return torch.float32
    return torch.float16 if device.type == "cpu" else torch.bfloat16


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(
            f"{name!r} is not the name of a device",
            next_step="Use cpu, cuda or cuda:0, cuda:1, ...",
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BackendUnavailable(
            f"the device {name} is not available to torch",
            where=name,
            next_step="Install a torch build for this GPU, or use device cpu.",
        )
    return device


def _precision(dtype: str, device: torch.device) -> str | Callable[[Architecture], str]:
    if dtype == "auto":
        return lambda shape: linear.default_precision(device, shape.hidden_size)
    if dtype not in linear.PRECISIONS:
        raise UsageError(
            f"the precision {dtype!r} is unknown",
            next_step=f"Use auto, {', '.join(linear.PRECISIONS)}.",
        )
    return dtype


def _use_threads(threads: int) -> None:
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
