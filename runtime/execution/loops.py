"""Event loops of our own: uvloop's where there is one (not on Windows), asyncio's else."""

from __future__ import annotations

import asyncio


def new_loop() -> asyncio.AbstractEventLoop:
    """Make a loop. Wake-ups from other threads cost half as much on uvloop."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
