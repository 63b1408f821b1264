"""The rules of a module, by subject. A rule takes what was read of a module (`Facts`) and yields
an error for every place that breaks it.

Rules look at what they need with care: what breaks one rule does not stop the others.
"""

from __future__ import annotations

from . import (
    agents,
    attributes,
    caches,
    control,
    effects,
    expands,
    functions,
    glue,
    hosts,
    memory,
    names,
    operations,
    parts,
    prompts,
)
from .facts import Facts, OpFacts, Rule

__all__ = ["RULES", "Facts", "OpFacts", "Rule"]

RULES: tuple[Rule, ...] = (
    *functions.RULES,
    *operations.RULES,
    *attributes.RULES,
    *control.RULES,
    *glue.RULES,
    *names.RULES,
    *prompts.RULES,
    *hosts.RULES,
    *memory.RULES,
    *agents.RULES,
    *expands.RULES,
    *caches.RULES,
    *parts.RULES,
    *effects.RULES,
)
