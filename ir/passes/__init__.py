"""Passes: small, named, valid in, valid out."""

from __future__ import annotations

from .annotate_resources import AnnotateResources
from .base import Pass, run
from .batch_forks import BatchForks
from .common_stages import CommonStages
from .critical_path import CriticalPath
from .dead_stages import DeadStages
from .hoist_from_maps import HoistFromMaps
from .insert_transfers import InsertTransfers
from .shared_prefix import SharedPrefix
from .split_llm import SplitLlm
from .stream_plans import StreamPlans

__all__ = [
    "DEFAULT_PASSES",
    "STAGE_PASSES",
    "AnnotateResources",
    "BatchForks",
    "CommonStages",
    "CriticalPath",
    "DeadStages",
    "HoistFromMaps",
    "InsertTransfers",
    "Pass",
    "SharedPrefix",
    "SplitLlm",
    "StreamPlans",
    "run",
]

DEFAULT_PASSES: tuple[Pass, ...] = (
    HoistFromMaps(),
    CommonStages(),
    SharedPrefix(),
    DeadStages(),
)
"""What every workflow goes through before it is lowered."""

STAGE_PASSES: tuple[Pass, ...] = (
    StreamPlans(),
    BatchForks(),
    CommonStages(),
    DeadStages(),
)
"""What every program goes through after it was lowered."""
