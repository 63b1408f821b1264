"""From an agent-level module to the program that runs."""

from __future__ import annotations

from collections.abc import Iterable

from gangline.ir.program import Program

from .decoding import decode_program
from .lowering import LowerToStages
from .module import Module
from .passes import DEFAULT_PASSES, STAGE_PASSES, Pass, run
from .verifier import verify


def to_stages(
    module: Module,
    passes: Iterable[Pass] = DEFAULT_PASSES,
    stage_passes: Iterable[Pass] = STAGE_PASSES,
) -> Module:
    """Give the verified stage-level module of a verified agent-level one, which stays as it is."""
    lowered = run(module.copy(), (*passes, LowerToStages(), *stage_passes))
    verify(lowered, level="stage")
    return lowered


def compile_module(module: Module, passes: Iterable[Pass] = DEFAULT_PASSES) -> Program:
    """Compile a verified agent-level module; the module itself is not changed."""
    return decode_program(to_stages(module, passes))
