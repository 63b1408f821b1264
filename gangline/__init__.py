"""gangline: write an agentic workflow as Python functions, run it on the cheapest devices in time.

Public names are imported when they are first used, so that `import gangline` stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ir.specs.policy import Policy
    from .runtime.client.asynchronous import AsyncClient
    from .runtime.client.sync import Client
    from .workflows.agents import agent
    from .workflows.asking import ask
    from .workflows.branching import branch
    from .workflows.cancel_token import cancelled, on_cancel
    from .workflows.combinators import length, loop, map, record, replace
    from .workflows.decorators import llm, tool, workflow
    from .workflows.expanding import expand
    from .workflows.grammar import json_schema, lark, regex
    from .workflows.handoff import FINISH, Handoff, Message, handoff
    from .workflows.memory import Entry, observe, recall, remember, retriever
    from .workflows.patterns import network, supervise
    from .workflows.plan_outcome import PlanOutcome
    from .workflows.processes import run_process
    from .workflows.prompt_cache import PromptCache
    from .workflows.registry import load
    from .workflows.switching import switch
    from .workflows.tool_agent import make_tool_agent
    from .workflows.values import Database, Free, Rows, Secret

__version__ = "0.1.0"
__all__ = [
    "FINISH",
    "AsyncClient",
    "Client",
    "Database",
    "Entry",
    "Free",
    "Handoff",
    "Message",
    "PlanOutcome",
    "Policy",
    "PromptCache",
    "Rows",
    "Secret",
    "__version__",
    "agent",
    "ask",
    "branch",
    "cancelled",
    "expand",
    "handoff",
    "json_schema",
    "lark",
    "length",
    "llm",
    "load",
    "loop",
    "make_tool_agent",
    "map",
    "network",
    "observe",
    "on_cancel",
    "recall",
    "record",
    "regex",
    "remember",
    "replace",
    "retriever",
    "run_process",
    "supervise",
    "switch",
    "tool",
    "workflow",
]

_HOMES = {
    "AsyncClient": "runtime.client.asynchronous",
    "Client": "runtime.client.sync",
    **dict.fromkeys(("length", "loop", "map", "record", "replace"), "workflows.combinators"),
    **dict.fromkeys(("llm", "tool", "workflow"), "workflows.decorators"),
    **dict.fromkeys(("json_schema", "lark", "regex"), "workflows.grammar"),
    **dict.fromkeys(("Database", "Free", "Rows", "Secret"), "workflows.values"),
    **dict.fromkeys(("cancelled", "on_cancel"), "workflows.cancel_token"),
    **dict.fromkeys(("Entry", "observe", "recall", "remember", "retriever"), "workflows.memory"),
    "Policy": "ir.specs.policy",
    **dict.fromkeys(("FINISH", "Handoff", "Message", "handoff"), "workflows.handoff"),
    **dict.fromkeys(("network", "supervise"), "workflows.patterns"),
    "agent": "workflows.agents",
    "ask": "workflows.asking",
    "branch": "workflows.branching",
    "expand": "workflows.expanding",
    "load": "workflows.registry",
    "make_tool_agent": "workflows.tool_agent",
    "PlanOutcome": "workflows.plan_outcome",
    "PromptCache": "workflows.prompt_cache",
    "run_process": "workflows.processes",
    "switch": "workflows.switching",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
