"""Events of jobs that really ran: a tool, a model, a map of models, a failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gangline.ir.specs.event import Event
from gangline.runtime.dispatch.job import Job
from gangline.runtime.execution.executor import Executor

RunEvents = Callable[..., list[Event]]


@pytest.fixture
def run_events(
    executor: Executor, tools: dict[str, Any], builder: Any, plain_tool: Any
) -> RunEvents:
    """Run a job of a tool and three model calls that share a prompt; gives all its events."""

    def greet(a0: str) -> str:
        if a0 == "fail":
            raise ValueError("it was asked to fail: hush")
        return f"hello {a0}"

    tools["greeting"] = plain_tool(greet)

    def run(name: str = "ann", **more: Any) -> list[Event]:
        b = builder("name")
        said = b.tool("greeting", b.inputs[0])
        answers = b.map(b.constant([1, 2, 3]), lambda _: b.llm("greet", said, temperature=0.5))
        program = b.done(answers)
        events: list[Event] = []
        job = Job("hand_made", program, {"name": name}, device="cpu/0", **more)
        executor.run(job, events.append)
        return events

    return run
