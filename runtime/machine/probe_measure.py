"""Measure what this machine's engine really reaches, with the engine's own kernels.

Every quantity is timed in rounds, all of them once per round, so that a busy moment hits them
alike; the lower quartile over rounds counts, because other work on a machine only ever adds time
(on a busy two-core machine medians were up to four times too long). The models are random: only
their shapes matter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from gangline.backends.base import ScheduledRequest
from gangline.backends.engine import batch as batches
from gangline.backends.engine.architecture import Architecture
from gangline.backends.engine.kv_cache import KVCache
from gangline.backends.engine.linear import build, default_precision, quantise_rows
from gangline.backends.engine.model import Model
from gangline.backends.engine.weights import Weights, matrices, vectors

MIN_ROUNDS, MAX_ROUNDS = 2, 15
REPEATS_S, MAX_REPEATS = 0.03, 10
"""Within a round a short job is repeated for this long and its best time counts: one
interruption would otherwise be several times the job."""

GEMM_ROWS, GEMM_SIZE = 256, 1536
PREFILL_TOKENS = 128
BLOCK_SIZE = 16
FEW_LAYERS, MANY_LAYERS = 2, 10
STREAM_BYTES = {"cpu": 512 << 20, "cuda": 4 << 30}
"""Bytes read per bandwidth measurement: larger than the caches (some servers have 480 MB)."""

WIDE_LAYERS = {"cpu": 24, "cuda": 48}
"""Layers of 11 million weights: 270 MB in int8 on a CPU, 1.1 GB in bf16 on an accelerator."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Typical times of one device.

    Attributes:
        flops: operations per second of a matrix product with GEMM_ROWS rows, by precision.
        read_bytes_per_s: bandwidth of reading memory.
        step_s, layer_s: fixed seconds of an engine step, and of each layer in it.
        prefill_s, decode_s: seconds of one engine step of `wide`: PREFILL_TOKENS, or 1 token.
        wide: weights of a model that does not fit the caches, and its layers.
    """

    precision: str
    flops: Mapping[str, float]
    read_bytes_per_s: float
    step_s: float
    layer_s: float
    prefill_s: float
    decode_s: float
    wide_params: int
    wide_layers: int
    num_rounds: int


def shape(num_layers: int, hidden_size: int) -> Architecture:
    """Give a Llama shape of that depth and width with a small vocabulary."""
    return Architecture(
        family="llama",
        num_layers=num_layers,
        hidden_size=hidden_size,
        num_heads=hidden_size // 64,
        num_kv_heads=max(1, hidden_size // 256),
        head_dim=64,
        ffn_size=hidden_size * 11 // 4,
        vocab_size=512,
        context=1024,
        rope_base=10000.0,
        norm_eps=1e-6,
        tied_embedding=False,
    )


def num_weights(architecture: Architecture) -> int:
    """Count the weights a token touches: every linear layer."""
    return sum(rows * columns for rows, columns in matrices(architecture).values())


class StepTimer:
    """Engine steps of one random model: a prefill of some tokens, or a decode of one."""

    def __init__(self, architecture: Architecture, precision: str, device: torch.device) -> None:
        tensors = dict(_tensors(architecture, precision, device))
        self._model = Model(Weights(architecture, "", precision, None, tensors), device)
        self._device = device
        dtype = torch.float32 if precision == "fp32" else torch.bfloat16
        blocks = PREFILL_TOKENS // BLOCK_SIZE + 1
        self._cache = KVCache(architecture, blocks, BLOCK_SIZE, dtype, device)
        self._table = tuple(range(blocks))

    def prefill(self) -> None:
        """Compute one chunk of PREFILL_TOKENS."""
        self._step(tuple(range(PREFILL_TOKENS)), 0)

    def decode(self) -> None:
        """Compute one token after PREFILL_TOKENS."""
        self._step((1,), PREFILL_TOKENS)

    def _step(self, tokens: tuple[int, ...], computed: int) -> None:
        request = ScheduledRequest("probe", tokens, computed, self._table, True)
        cache = self._cache
        step = batches.build([request], cache.block_size, cache.dtype, self._device)
        self._model.forward(step, cache).argmax(dim=-1).tolist()


def _tensors(
    architecture: Architecture, precision: str, device: torch.device
) -> Iterator[tuple[str, Tensor]]:
    yield "embed", torch.zeros(architecture.vocab_size, architecture.hidden_size).bfloat16()
    for name, length in vectors(architecture).items():
        yield name, torch.ones(length)
    for name, (rows, columns) in matrices(architecture).items():
        yield from _matrix(name, rows, columns, precision, device)


def _matrix(
    name: str, rows: int, columns: int, precision: str, device: torch.device
) -> Iterator[tuple[str, Tensor]]:
    if precision == "int8":
        yield name, torch.full((rows, columns), 3, dtype=torch.int8)
        yield f"{name}.scale", torch.full((rows,), 1e-3)
    else:
        dtype = torch.float32 if precision == "fp32" else torch.bfloat16
        yield name, torch.full((rows, columns), 1e-3, dtype=dtype, device=device)


def _products(device: torch.device) -> dict[str, Callable[[], object]]:
    """Give one matrix product per precision, through the engine's own layers."""
    weight = torch.randn(GEMM_SIZE, GEMM_SIZE)
    tensors = {
        "fp32": {"w": weight.to(device)},
        "bf16": {"w": weight.to(device, torch.bfloat16)},
    }
    if default_precision(device) == "int8":
        quantised, scale = quantise_rows(weight)
        tensors["int8"] = {"w": quantised, "w.scale": scale}
    x = torch.randn(GEMM_ROWS, GEMM_SIZE, device=device)

    def product(name: str) -> Callable[[], object]:
        layer = build(tensors[name], "w")
        return lambda: layer(x)

    return {name: product(name) for name in tensors}


def _reader(device: torch.device) -> Callable[[], object]:
    num_bytes = STREAM_BYTES[device.type]
    data = torch.ones(num_bytes // 4, device=device)
    return lambda: data.sum().item()


@contextmanager
def _all_cores(num_threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure(device_name: str, num_threads: int, *, limit_s: float = 8.0) -> Measured:
    """Measure one torch device (`cpu`, `cuda:0`, ...) in about `limit_s` seconds."""
    end = time.monotonic() + limit_s
    device = torch.device(device_name)
    with _all_cores(num_threads), torch.inference_mode():
        precision = default_precision(device)
        wide = shape(WIDE_LAYERS[device.type], 1024)
        jobs = _jobs(device, precision, wide)
        times = _rounds(jobs, device, end)
    few, many = times["few"], times["many"]
    layer_s = max(many - few, 0.0) / (MANY_LAYERS - FEW_LAYERS)
    operations = 2.0 * GEMM_ROWS * GEMM_SIZE**2
    return Measured(
        precision=precision,
        flops={name[5:]: operations / times[name] for name in times if name.startswith("gemm.")},
        read_bytes_per_s=STREAM_BYTES[device.type] / times["read"],
        step_s=max(few - FEW_LAYERS * layer_s, 0.0),
        layer_s=layer_s,
        prefill_s=times["prefill"],
        decode_s=times["decode"],
        wide_params=num_weights(wide),
        wide_layers=wide.num_layers,
        num_rounds=int(times["rounds"]),
    )


def _jobs(
    device: torch.device, precision: str, wide: Architecture
) -> dict[str, Callable[[], object]]:
    narrow = {
        name: StepTimer(shape(layers, 64), precision, device)
        for name, layers in (("few", FEW_LAYERS), ("many", MANY_LAYERS))
    }
    broad = StepTimer(wide, precision, device)
    products = {f"gemm.{name}": job for name, job in _products(device).items()}
    return {
        **products,
        "read": _reader(device),
        **{name: timer.decode for name, timer in narrow.items()},
        "prefill": broad.prefill,
        "decode": broad.decode,
    }


def _rounds(
    jobs: Mapping[str, Callable[[], object]], device: torch.device, end: float
) -> dict[str, float]:
    for job in jobs.values():
        _timed(job, device)  # warm: allocations, packing, kernel choice
    times: dict[str, list[float]] = {name: [] for name in jobs}
    rounds = 0
    # Invariant: every job has been timed `rounds` times.
    while rounds < MIN_ROUNDS or (rounds < MAX_ROUNDS and time.monotonic() < end):
        for name, job in jobs.items():
            times[name].append(_timed(job, device))
        rounds += 1
    return {name: _typical(found) for name, found in times.items()} | {"rounds": float(rounds)}


def _typical(times: list[float]) -> float:
    return sorted(times)[len(times) // 4]


def _timed(job: Callable[[], object], device: torch.device) -> float:
    """Give the best of the repeats that fit into REPEATS_S, at least one."""
    best, spent, repeats = float("inf"), 0.0, 0
    while repeats == 0 or (spent < REPEATS_S and repeats < MAX_REPEATS):
        start = time.perf_counter()
        job()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken = time.perf_counter() - start
        best, spent, repeats = min(best, taken), spent + taken, repeats + 1
    return best
