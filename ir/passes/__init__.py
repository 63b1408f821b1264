"""Passes: small, named, valid in, valid out."""

from __future__ import annotations

from .base import Pass, run
from .common_stages import CommonStages
from .dead_stages import DeadStages
from .hoist_from_maps import HoistFromMaps
from .split_llm import SplitLlm
from .stream_plans import StreamPlans

__all__ = [
    "DEFAULT_PASSES",
    "CommonStages",
    "DeadStages",
    "HoistFromMaps",
    "Pass",
    "SplitLlm",
    "StreamPlans",
    "run",
]

DEFAULT_PASSES: tuple[Pass, ...] = (HoistFromMaps(), CommonStages(), DeadStages())
"""What every workflow goes through before it is lowered."""
