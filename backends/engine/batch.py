"""One step's work as tensors: tokens of many requests in one row, and who attends to what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gangline.backends.base import ScheduledRequest

PADDING_RATIO = 1.5
PADDING_TOKENS = 64
"""Decodes share one padded attention call while the longest context is at most this many times
the shortest plus this many tokens; beyond, reading padding costs more than a second call."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Several tokens of one request: rows start..stop attend to `context` tokens in `blocks`.

    `mask` [rows, context] is added to the scores; None where the chunk is the whole context.
    """

    start: int
    stop: int
    context: int
    blocks: Tensor
    mask: Tensor | None


@dataclass(frozen=True, slots=True)
class Decodes:
    """One token each of several requests of similar length.

    `blocks` [requests, n] is padded with block 0; `mask` [requests, 1, 1, n * block_size] hides
    the padding. A single request has no mask, and `context` cuts its last block.
    """

    rows: Tensor
    blocks: Tensor
    context: int
    mask: Tensor | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Flattened tokens, their positions and KV slots, and the rows whose logits are wanted."""

    tokens: Tensor
    positions: Tensor
    slots: Tensor
    sampled_rows: Tensor
    chunks: tuple[Chunk, ...]
    decodes: tuple[Decodes, ...]


def build(
    scheduled: Sequence[ScheduledRequest],
    block_size: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Batch:
    """Lay one step out; `dtype` is the dtype of masks (that of the KV cache)."""
    tokens: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    sampled: list[int] = []
    chunks: list[Chunk] = []
    singles: list[tuple[int, ScheduledRequest]] = []
    # Invariant: the requests so far occupy rows 0..len(tokens), in the order given.
    for request in scheduled:
        row, count = len(tokens), len(request.token_ids)
        span = range(request.num_computed, request.num_computed + count)
        tokens += request.token_ids
        positions += span
        slots += [
            request.block_table[at // block_size] * block_size + at % block_size for at in span
        ]
        if request.sample:
            sampled.append(row + count - 1)
        if count == 1:
            singles.append((row, request))
        else:
            chunks.append(_chunk(row, request, block_size, dtype, device))
    groups = _similar(singles)
    return Batch(
        torch.tensor(tokens, device=device),
        torch.tensor(positions, device=device),
        torch.tensor(slots, device=device),
        torch.tensor(sampled, dtype=torch.long, device=device),
        tuple(chunks),
        tuple(_decodes(group, block_size, dtype, device) for group in groups),
    )


def _table(request: ScheduledRequest, context: int, block_size: int) -> list[int]:
    return list(request.block_table[: -(-context // block_size)])


def _chunk(
    row: int,
    request: ScheduledRequest,
    block_size: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Chunk:
    count, before = len(request.token_ids), request.num_computed
    mask = None
    if before:
        visible = torch.full((count, before + count), float("-inf"), dtype=dtype, device=device)
        mask = visible.triu_(before + 1)
    blocks = torch.tensor(_table(request, before + count, block_size), device=device)
    return Chunk(row, row + count, before + count, blocks, mask)


def _similar(
    singles: Iterable[tuple[int, ScheduledRequest]],
) -> list[list[tuple[int, ScheduledRequest]]]:
    groups: list[list[tuple[int, ScheduledRequest]]] = []
    # Invariant: contexts rise along `groups`, and within one they stay under the padding limit.
    for single in sorted(singles, key=lambda pair: pair[1].num_computed):
        shortest = groups[-1][0][1].num_computed if groups else -1
        if groups and single[1].num_computed <= PADDING_RATIO * shortest + PADDING_TOKENS:
            groups[-1].append(single)
        else:
            groups.append([single])
    # Back in row order: a group that is the whole batch then needs no shuffling of rows.
    return [sorted(group, key=lambda pair: pair[0]) for group in groups]


def _decodes(
    group: Sequence[tuple[int, ScheduledRequest]],
    block_size: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Decodes:
    contexts = [request.num_computed + 1 for _, request in group]
    tables = [_table(request, request.num_computed + 1, block_size) for _, request in group]
    width = max(map(len, tables))
    padded = [table + [0] * (width - len(table)) for table in tables]
    mask = None
    if len(group) > 1:
        places = torch.arange(width * block_size, device=device)
        hidden = places >= torch.tensor(contexts, device=device)[:, None]
        mask = torch.zeros(hidden.shape, dtype=dtype, device=device)
        mask = mask.masked_fill_(hidden, float("-inf"))[:, None, None]
    rows = torch.tensor([row for row, _ in group], device=device)
    context = contexts[0] if len(group) == 1 else width * block_size
    return Decodes(rows, torch.tensor(padded, device=device), context, mask)
