"""Blocks keep what was written, wherever the block table put them."""

from __future__ import annotations

import torch

from gangline.backends.engine.architecture import Architecture
from gangline.backends.engine.kv_cache import KVCache

SHAPE = Architecture(
    family="llama",
    num_layers=2,
    hidden_size=32,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    ffn_size=48,
    vocab_size=50,
    context=64,
    rope_base=10000.0,
    norm_eps=1e-5,
    tied_embedding=True,
)


def _cache(device: str, num_blocks: int = 6) -> KVCache:
    return KVCache(SHAPE, num_blocks, 4, torch.float32, torch.device(device))


def test_a_scattered_sequence_comes_back_in_order(device: str) -> None:
    cache, table = _cache(device), [5, 0, 3]
    keys, values = torch.randn(2, 10, 2, 8, device=device)
    slots = torch.tensor([table[at // 4] * 4 + at % 4 for at in range(10)], device=device)
    cache.write(1, slots, keys, values)
    got_keys, got_values = cache.gather(1, torch.tensor(table, device=device))
    assert torch.equal(got_keys[:10], keys) and torch.equal(got_values[:10], values)
    untouched, _ = cache.gather(0, torch.tensor(table, device=device))
    assert not untouched.any()


def test_a_batch_of_tables_is_gathered_at_once(device: str) -> None:
    cache = _cache(device)
    cache.write(0, torch.tensor([9], device=device), *torch.ones(2, 1, 2, 8, device=device))
    keys, _ = cache.gather(0, torch.tensor([[2, 1], [0, 2]], device=device))
    assert keys.shape == (2, 8, 2, 8)
    assert keys[0, 1].all() and keys[1, 5].all() and keys.sum() == 32


def test_exported_blocks_are_canonical_and_come_back_elsewhere(device: str) -> None:
    source, target = _cache(device), _cache(device)
    for layer in range(2):
        slots = torch.arange(8, 16, device=device)
        source.write(layer, slots, *torch.randn(2, 8, 2, 8, device=device))
    data = source.export_blocks([3, 2])
    assert data.shape == (2, 2, 8, 2, 8)  # layer, k|v, token, kv head, head dim
    assert torch.equal(data[1, 0, :4], source.keys[1][3])
    target.import_blocks([0, 5], data)
    assert torch.equal(target.export_blocks([0, 5]), data)
