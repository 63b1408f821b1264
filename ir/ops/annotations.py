"""Attributes that are no part of an operation: what passes and the front end write beside it.

They are discardable in MLIR's sense (`agent.` in front): a module without them means the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from .names import PATTERNS
from .spec import AttributeSpec


def _by_name(*specs: AttributeSpec) -> Mapping[str, AttributeSpec]:
    return {spec.name: spec for spec in specs}


ANNOTATIONS = _by_name(
    # Where an operation comes from: names of the nested agents around it, outermost first.
    AttributeSpec("agent.within", "strs", required=False),
    # Placement: a device id such as `a100/0`.
    AttributeSpec("agent.device", "str", required=False),
    # Resources of one execution (mean): floating point operations, bytes of weights and
    # activations read, bytes of KV cache, bytes over a link, seconds of one CPU core.
    AttributeSpec("agent.flops", "float", required=False, minimum=0.0),
    AttributeSpec("agent.bytes", "float", required=False, minimum=0.0),
    AttributeSpec("agent.kv_bytes", "float", required=False, minimum=0.0),
    AttributeSpec("agent.network_bytes", "float", required=False, minimum=0.0),
    AttributeSpec("agent.cpu_seconds", "float", required=False, minimum=0.0),
    # Mean tokens of one execution.
    AttributeSpec("agent.input_tokens", "float", required=False, minimum=0.0),
    AttributeSpec("agent.output_tokens", "float", required=False, minimum=0.0),
    # Expected executions in one job, and of a loop the expected trips.
    AttributeSpec("agent.visits", "float", required=False, minimum=0.0),
    AttributeSpec("agent.trips", "float", required=False, minimum=0.0),
    # Time: expected seconds, slack before the job is late, share of the job's deadline (0..1),
    # and whether it lies on the critical path.
    AttributeSpec("agent.seconds", "float", required=False, minimum=0.0),
    AttributeSpec("agent.slack_s", "float", required=False),
    AttributeSpec("agent.deadline_share", "float", required=False, minimum=0.0),
    AttributeSpec("agent.critical", "bool", required=False),
)
"""Annotations that any operation, control operations too, may have."""

CONTROL_ATTRIBUTES = _by_name(
    AttributeSpec("agent.name", "str"),
    AttributeSpec("agent.max_trips", "int", required=False, minimum=1),
    AttributeSpec("agent.parallel", "unit", required=False),
    # Of a branch: both sides may begin before the condition is known, so neither may write.
    AttributeSpec("agent.speculative", "bool", required=False),
)
"""What an scf operation says beside what MLIR wants of it."""

FUNCTION_ATTRIBUTES = _by_name(
    AttributeSpec("agent.deadline_s", "float", required=False, minimum=0.0),
    AttributeSpec("agent.budget_usd", "float", required=False, minimum=0.0),
    AttributeSpec("agent.pattern", "str", required=False, choices=PATTERNS),
    AttributeSpec("agent.role", "str", required=False),
)
"""What a function says: limits of a job, and how a nested agent is built."""
