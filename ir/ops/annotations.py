"""Attributes that are no part of an operation: what passes and the front end write beside it.

They are discardable in MLIR's sense (`agent.` in front): a module without them means the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from .names import PATTERNS
from .spec import AttributeSpec


def _by_name(*specs: AttributeSpec) -> Mapping[str, AttributeSpec]:
    return {spec.name: spec for spec in specs}


def _number(name: str, doc: str, maximum: float | None = None) -> AttributeSpec:
    return AttributeSpec(name, "float", required=False, minimum=0.0, maximum=maximum, doc=doc)


ANNOTATIONS = _by_name(
    AttributeSpec(
        "agent.within",
        "strs",
        required=False,
        doc="Names of the nested agents it comes from, outermost first.",
    ),
    AttributeSpec("agent.device", "str", required=False, doc="Where it runs, such as `a100/0`."),
    _number("agent.flops", "Floating point operations of one execution (mean)."),
    _number("agent.bytes", "Bytes of weights and activations that one execution reads (mean)."),
    _number("agent.kv_bytes", "Bytes of KV cache that one execution keeps (mean)."),
    _number("agent.network_bytes", "Bytes that one execution sends over a link (mean)."),
    _number("agent.cpu_seconds", "Seconds of one CPU core per execution (mean)."),
    _number("agent.input_tokens", "Tokens that one execution reads (mean)."),
    _number("agent.output_tokens", "Tokens that one execution writes (mean)."),
    _number("agent.visits", "Expected executions in one job."),
    _number("agent.trips", "Of a loop or map: expected trips."),
    _number("agent.seconds", "Expected seconds of one execution."),
    AttributeSpec(
        "agent.slack_s",
        "float",
        required=False,
        doc="Seconds it may be late before the job is (below 0: it is already).",
    ),
    _number("agent.deadline_share", "Its share of the job's deadline.", maximum=1.0),
    AttributeSpec(
        "agent.critical", "bool", required=False, doc="Whether it lies on the critical path."
    ),
)
"""Annotations that any operation, control operations too, may have."""

CONTROL_ATTRIBUTES = _by_name(
    AttributeSpec("agent.name", "str", doc="What the step is called."),
    AttributeSpec(
        "agent.max_trips",
        "int",
        required=False,
        minimum=1,
        doc="Of a loop (`scf.while`), which needs it: most trips.",
    ),
    AttributeSpec(
        "agent.parallel", "unit", required=False, doc="Of a map (`scf.for`), which needs it."
    ),
    AttributeSpec(
        "agent.speculative",
        "bool",
        required=False,
        doc="Of a branch (`scf.if`): both sides may begin before the condition is known, so "
        "neither may write or ask.",
    ),
    AttributeSpec(
        "agent.case",
        "str",
        required=False,
        doc="Of a branch that is one arm of a switch: the value it is taken for.",
    ),
    AttributeSpec(
        "agent.arms",
        "int",
        required=False,
        minimum=2,
        doc="Of an arm of a switch: how many arms are still possible where it is tested. Each is "
        "expected equally often.",
    ),
)
"""What an scf operation says beside what MLIR wants of it."""

FUNCTION_ATTRIBUTES = _by_name(
    _number("agent.deadline_s", "Seconds a job may take."),
    _number("agent.budget_usd", "Dollars a job may cost."),
    AttributeSpec(
        "agent.pattern",
        "str",
        required=False,
        choices=PATTERNS,
        doc="How the agents inside work together.",
    ),
    AttributeSpec("agent.role", "str", required=False, doc="What the agent is for, in words."),
)
"""What a function says: limits of a job, and how a nested agent is built."""

ARGUMENT_ATTRIBUTES = _by_name(
    AttributeSpec("agent.name", "str", doc="What the input is called."),
    AttributeSpec("agent.schema", "json", required=False, doc="JSON Schema of the input."),
    AttributeSpec("agent.default", "json", required=False, doc="Its value where none is given."),
    AttributeSpec("agent.secret", "bool", required=False, doc="No external tool may learn it."),
)
"""What a function says of each of its inputs."""
