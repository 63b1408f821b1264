"""The block manager: what is shared was computed, what is free is free, nothing leaks."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gangline.backends.engine.block_manager import BlockManager, extend_keys, root_key
from gangline.ir.errors import BackendError

SIZE = 4


def keys_of(tokens: list[int], salt: str = "", block_root: str = "model") -> list[bytes]:
    keys: list[bytes] = []
    extend_keys(keys, root_key(block_root, salt), tokens, SIZE, len(tokens) // SIZE)
    return keys


def publish_all(blocks: BlockManager, request_id: str, keys: list[bytes]) -> None:
    for index, key in enumerate(keys):
        blocks.publish(request_id, index, key)


def test_blocks_are_shared_only_after_they_were_published() -> None:
    blocks = BlockManager(8, SIZE)
    keys = keys_of(list(range(8)))
    blocks.allocate("a", [], 8)
    assert blocks.match_prefix(keys) == []
    blocks.publish("a", 0, keys[0])
    assert blocks.match_prefix(keys) == blocks.table("a")[:1]


def test_a_key_names_all_tokens_before_it_the_tenant_and_the_model() -> None:
    same_block = keys_of([9, 9, 9, 9, 1, 2, 3, 4])[1]
    assert same_block != keys_of([8, 9, 9, 9, 1, 2, 3, 4])[1]
    tokens = [1, 2, 3, 4]
    others = [keys_of(tokens, "tenant")[0], keys_of(tokens, "", "other")[0]]
    # "ab" + "c" and "a" + "bc" must not meet.
    others += [keys_of(tokens, "ab", "c")[0], keys_of(tokens, "a", "bc")[0]]
    assert len({keys_of(tokens)[0], *others}) == 5


def test_a_freed_prefix_is_found_until_its_memory_is_needed_and_its_tail_goes_first() -> None:
    blocks = BlockManager(3, SIZE)
    keys = keys_of(list(range(12)))
    blocks.allocate("a", [], 12)
    publish_all(blocks, "a", keys)
    table = list(blocks.table("a"))
    blocks.free("a")
    assert blocks.num_free == 3
    assert blocks.match_prefix(keys) == table
    blocks.allocate("b", [], 4)
    assert blocks.match_prefix(keys) == table[:2]


def test_the_least_recently_freed_is_evicted_first() -> None:
    blocks = BlockManager(2, SIZE)
    old, new = keys_of([1] * 4), keys_of([2] * 4)
    for name, keys in (("old", old), ("new", new)):
        blocks.allocate(name, [], 4)
        publish_all(blocks, name, keys)
    blocks.free("old")
    blocks.free("new")
    blocks.allocate("b", [], 4)
    assert not blocks.match_prefix(old)
    assert blocks.match_prefix(new)


def test_sharing_takes_a_cached_block_out_of_the_free_ones() -> None:
    blocks = BlockManager(2, SIZE)
    keys = keys_of([1] * 4)
    blocks.allocate("a", [], 4)
    publish_all(blocks, "a", keys)
    blocks.free("a")
    matched = blocks.match_prefix(keys)
    assert blocks.num_taken(matched) == 1
    blocks.allocate("b", matched, 8)
    assert blocks.num_free == 0
    assert blocks.num_taken(matched) == 0


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    blocks = BlockManager(2, SIZE)
    with pytest.raises(BackendError, match="3 KV blocks wanted, 2 free"):
        blocks.allocate("a", [], 9)
    blocks.allocate("a", [], 4)
    with pytest.raises(BackendError, match="has blocks already"):
        blocks.allocate("a", [], 4)
    with pytest.raises(BackendError, match="2 KV blocks wanted, 1 free"):
        blocks.append("a", 12)
    blocks.free("a")
    assert blocks.num_free == 2


class BlockMachine(RuleBasedStateMachine):
    """Random tables over few distinct tokens, so that prefixes meet often.

    `contents` is the oracle: what each block really holds, position by position.
    """

    def __init__(self) -> None:
        super().__init__()
        self.blocks = BlockManager(6, SIZE)
        self.tokens: dict[str, list[int]] = {}
        self.num_published: dict[str, int] = {}
        self.contents: dict[int, list[int]] = {}
        self.num_added = 0

    def write(self, name: str, start: int) -> None:
        """Pretend to compute: the whole past of a position is what its slot holds."""
        tokens = self.tokens[name]
        for position in range(start, len(tokens)):
            block = self.blocks.table(name)[position // SIZE]
            assert sum(block in self.blocks.table(other) for other in self.tokens) == 1
            self.contents[block] = tokens[: position + 1]

    @rule(tokens=st.lists(st.integers(0, 1), min_size=1, max_size=20))
    def allocate(self, tokens: list[int]) -> None:
        matched = self.blocks.match_prefix(keys_of(tokens)[: (len(tokens) - 1) // SIZE])
        for index, block in enumerate(matched):
            assert self.contents[block] == tokens[: (index + 1) * SIZE]
        own = self.blocks.blocks_for(len(tokens)) - len(matched)
        if own + self.blocks.num_taken(matched) > self.blocks.num_free:
            with pytest.raises(BackendError):
                self.blocks.allocate("refused", matched, len(tokens))
            return
        name = f"r{self.num_added}"
        self.num_added += 1
        self.blocks.allocate(name, matched, len(tokens))
        self.tokens[name], self.num_published[name] = list(tokens), len(matched)
        self.write(name, len(matched) * SIZE)

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), tokens=st.lists(st.integers(0, 1), min_size=1, max_size=6))
    def append(self, data: st.DataObject, tokens: list[int]) -> None:
        name = data.draw(st.sampled_from(sorted(self.tokens)))
        total = len(self.tokens[name]) + len(tokens)
        if self.blocks.num_missing(name, total) > self.blocks.num_free:
            return
        self.blocks.append(name, total)
        start = len(self.tokens[name])
        self.tokens[name] += tokens
        self.write(name, start)

    @precondition(lambda self: self.tokens)
    @rule(data=st.data())
    def publish(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.tokens)))
        keys = keys_of(self.tokens[name])
        for index in range(self.num_published[name], len(keys)):
            self.blocks.publish(name, index, keys[index])
        self.num_published[name] = len(keys)

    @precondition(lambda self: self.tokens)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.tokens)))
        self.blocks.free(name)
        del self.tokens[name], self.num_published[name]

    @invariant()
    def every_block_is_free_or_in_a_table(self) -> None:
        used = {block for name in self.tokens for block in self.blocks.table(name)}
        assert self.blocks.num_free + len(used) == self.blocks.num_blocks

    @invariant()
    def tables_hold_what_their_requests_computed(self) -> None:
        for name, tokens in self.tokens.items():
            table = self.blocks.table(name)
            assert max(Counter(table).values()) == 1
            for index, block in enumerate(table):
                assert self.contents[block] == tokens[: (index + 1) * SIZE]


TestBlockMachine = BlockMachine.TestCase
TestBlockMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
