"""How often one decode step can repeat before the scheduler has anything new to decide.

Nothing here is needed to serve; it lets virtual time skip from decision to decision.
"""

from __future__ import annotations

from collections.abc import Sequence

from .block_manager import BlockManager
from .request import Request


def num_repeats(running: Sequence[Request], blocks: BlockManager, head_lacks_blocks: bool) -> int:
    """Count the steps, at least 1, in which all that run draw one token each.

    It stops before the step that could go otherwise: after one that uses up some max_tokens,
    before one for which blocks are missing, and after one that fills a block if the head of
    the queue waits for blocks (it may share the full one). Stop strings are seen by the
    engine, not here, so with one in use every step is a decision.
    """
    if not running or any(_differs_next_time(request) for request in running):
        return 1
    most = min(request.num_left for request in running)
    if head_lacks_blocks:
        size = blocks.block_size
        most = min(most, min(size - request.num_computed % size for request in running))
    return _steps_with_blocks(running, blocks, most)


def _differs_next_time(request: Request) -> bool:
    one_token = request.num_pending == 1 and not request.is_prefilling
    return not one_token or bool(request.submit.sampling.stop)


def _steps_with_blocks(decodes: Sequence[Request], blocks: BlockManager, most: int) -> int:
    if _num_missing(decodes, blocks, most) <= blocks.num_free:
        return most
    fits, too_many = 1, most
    # Invariant: blocks suffice for `fits` steps (this one has its blocks), not for `too_many`.
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if _num_missing(decodes, blocks, middle) <= blocks.num_free:
            fits = middle
        else:
            too_many = middle
    return fits


def _num_missing(decodes: Sequence[Request], blocks: BlockManager, num_steps: int) -> int:
    return sum(
        blocks.num_missing(request.request_id, request.num_computed + num_steps)
        for request in decodes
    )
