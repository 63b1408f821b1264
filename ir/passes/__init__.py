"""Passes: small, named, valid in, valid out."""

from __future__ import annotations

from .annotate_resources import AnnotateResources
from .base import Pass, run
from .batch_forks import BatchForks
from .check_policy import CheckPolicy
from .common_stages import CommonStages
from .critical_path import CriticalPath
from .dead_stages import DeadStages
from .decompose_experts import DecomposeExperts, Experts
from .decompose_tensor_parallel import DecomposeTensorParallel
from .hoist_from_maps import HoistFromMaps
from .inline_agents import InlineAgents
from .insert_transfers import InsertTransfers
from .shared_prefix import SharedPrefix
from .speculate import Draft, Speculate
from .split_llm import SplitLlm
from .stream_plans import StreamPlans

__all__ = [
    "DEFAULT_PASSES",
    "STAGE_PASSES",
    "AnnotateResources",
    "BatchForks",
    "CheckPolicy",
    "CommonStages",
    "CriticalPath",
    "DeadStages",
    "DecomposeExperts",
    "DecomposeTensorParallel",
    "Draft",
    "Experts",
    "HoistFromMaps",
    "InlineAgents",
    "InsertTransfers",
    "Pass",
    "SharedPrefix",
    "Speculate",
    "SplitLlm",
    "StreamPlans",
    "run",
]

DEFAULT_PASSES: tuple[Pass, ...] = (
    InlineAgents(),
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
