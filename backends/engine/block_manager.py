"""Paged KV cache bookkeeping: which block holds which tokens. Ids only, no tensors.

A block is in one of three states:

    in use      referenced by one or more block tables
    cached      referenced by none, contents known (has a key), kept until memory is needed
    empty       referenced by none, contents worthless

A block gets its key only once all its tokens are computed, so a table never shares a block
that somebody still writes to. Equal key means equal tokens from the start of the sequence on,
for the same tenant, model and KV dtype, hence equal contents.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from gangline.ir.errors import BackendError

KEY_BYTES = 16


def root_key(block_root: str, cache_salt: str = "") -> bytes:
    """Give the parent key of a first block: the tenant's salt and what blocks hold."""
    digest = hashlib.blake2b(digest_size=KEY_BYTES)
    for part in (cache_salt, block_root):
        raw = part.encode()
        digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.digest()


def next_key(parent: bytes, tokens: Sequence[int]) -> bytes:
    """Give the key of a full block that holds `tokens` and follows `parent`."""
    return hashlib.blake2b(parent + array("q", tokens).tobytes(), digest_size=KEY_BYTES).digest()


def extend_keys(keys: list[bytes], root: bytes, tokens: Sequence[int], size: int, n: int) -> None:
    """Extend `keys` in place to the first `n` full blocks of `tokens`."""
    # Invariant: keys[i] names tokens[: (i + 1) * size].
    for index in range(len(keys), n):
        parent = keys[-1] if keys else root
        keys.append(next_key(parent, tokens[index * size : (index + 1) * size]))


class BlockManager:
    """Hands out KV blocks and remembers which of them can be shared.

    Verbs come in pairs: `allocate` starts a table and `free` ends it; `append` makes it longer
    (`num_missing` says by how many blocks); `publish` makes a computed block findable and
    `match_prefix` finds it.
    """

    def __init__(self, num_blocks: int, block_size: int, block_root: str = "") -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        self.block_root = block_root
        self._tables: dict[str, list[int]] = {}
        self._num_refs = [0] * num_blocks
        self._key_of: list[bytes | None] = [None] * num_blocks
        self._block_of: dict[bytes, int] = {}
        self._empty = list(range(num_blocks - 1, -1, -1))
        self._cached: OrderedDict[int, None] = OrderedDict()  # least recently freed first

    @property
    def num_free(self) -> int:
        """Blocks that can be handed out, cached ones included."""
        return len(self._empty) + len(self._cached)

    def blocks_for(self, num_tokens: int) -> int:
        """Count the blocks that `num_tokens` take."""
        return -(-num_tokens // self.block_size)

    def table(self, request_id: str) -> list[int]:
        """Give the block table of a request (live: do not change it)."""
        return self._tables[request_id]

    def match_prefix(self, keys: Iterable[bytes]) -> list[int]:
        """Find the blocks of the longest known prefix; takes no reference."""
        found: list[int] = []
        for key in keys:
            block = self._block_of.get(key)
            if block is None:
                break
            found.append(block)
        return found

    def num_taken(self, matched: Iterable[int]) -> int:
        """Count the free blocks that sharing `matched` would take out of the free ones."""
        return sum(1 for block in matched if self._num_refs[block] == 0)

    def allocate(self, request_id: str, matched: Sequence[int], num_tokens: int) -> None:
        """Start a table: share `matched`, then add blocks of its own up to `num_tokens`."""
        if request_id in self._tables:
            raise BackendError(f"request {request_id!r} has blocks already")
        self._check(self.blocks_for(num_tokens) - len(matched) + self.num_taken(matched))
        for block in matched:
            if self._num_refs[block] == 0:
                del self._cached[block]
            self._num_refs[block] += 1
        self._tables[request_id] = list(matched)
        self.append(request_id, num_tokens)

    def num_missing(self, request_id: str, num_tokens: int) -> int:
        """Count the blocks a table lacks to hold `num_tokens`."""
        return max(0, self.blocks_for(num_tokens) - len(self._tables[request_id]))

    def append(self, request_id: str, num_tokens: int) -> None:
        """Make a table long enough for `num_tokens`; BackendError if too few blocks are free."""
        missing = self.num_missing(request_id, num_tokens)
        self._check(missing)
        self._tables[request_id].extend(self._take() for _ in range(missing))

    def publish(self, request_id: str, index: int, key: bytes) -> None:
        """Make block `index` of a table findable; all its tokens must be computed by now.

        If another block already has this key, ours stays private: equal contents, no gain.
        """
        block = self._tables[request_id][index]
        if self._key_of[block] is None and key not in self._block_of:
            self._key_of[block] = key
            self._block_of[key] = block

    def free(self, request_id: str) -> None:
        """End a table. Its shareable blocks stay findable until their memory is needed."""
        # Last block first: a prefix is worth more than what follows it, so it is evicted later.
        for block in reversed(self._tables.pop(request_id)):
            self._num_refs[block] -= 1
            if self._num_refs[block] == 0:
                self._release(block)

    def _check(self, wanted: int) -> None:
        if wanted > self.num_free:
            raise BackendError(f"{wanted} KV blocks wanted, {self.num_free} free")

    def _release(self, block: int) -> None:
        if self._key_of[block] is None:
            self._empty.append(block)
        else:
            self._cached[block] = None

    def _take(self) -> int:
        block = self._empty.pop() if self._empty else self._evict()
        self._num_refs[block] = 1
        return block

    def _evict(self) -> int:
        block, _ = self._cached.popitem(last=False)
        key = self._key_of[block]
        assert key is not None  # only blocks with a key are put into _cached
        del self._block_of[key]
        self._key_of[block] = None
        return block
