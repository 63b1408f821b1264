"""The workflows that benchmarks/rest.py runs: five steps that add one."""

from __future__ import annotations

import gangline as gl


@gl.tool
def add_one(x: int) -> int:
    """Add one, on a worker thread."""
    return x + 1


@gl.tool(inline=True)
def add_one_inline(x: int) -> int:
    """Add one, on the server's loop."""
    return x + 1


@gl.workflow
def five(x: int) -> int:
    """Run five steps on worker threads."""
    for _ in range(5):
        x = add_one(x)
    return x


@gl.workflow
def five_inline(x: int) -> int:
    """Run five steps on the loop."""
    for _ in range(5):
        x = add_one_inline(x)
    return x
