"""What the runtime needs to know of a registered tool, and how it finds one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gangline.ir.errors import JobError
from gangline.runtime.dispatch.commands import RunTool

IDEMPOTENCY_KEY = "idempotency_key"


class RegisteredTool(Protocol):
    """A tool as the executor calls it (`workflows.tool.Tool` is one)."""

    @property
    def signature(self) -> str:
        """Hash of parameter names and types."""

    @property
    def is_async(self) -> bool:
        """True where `call` gives an awaitable."""

    @property
    def is_inline(self) -> bool:
        """True where `call` takes microseconds and may run on the event loop."""

    @property
    def accepts_idempotency_key(self) -> bool:
        """True where the function takes a parameter of that name."""

    def call(self, arguments: Mapping[str, Any]) -> Any:
        """Run the function on JSON arguments; gives JSON, or an awaitable of it."""


FindTool = Callable[[str], RegisteredTool | None]


def mismatch(find: FindTool, command: RunTool) -> JobError | None:
    """Say why a tool call must not be made: the tool is gone, or takes something else now."""
    tool = find(command.name)
    if tool is None:
        return JobError(
            f"The tool {command.name!r} of this job is not registered",
            where=command.step.where,
            next_step="Import the file that defines it, then retry the job.",
        )
    if command.signature and tool.signature != command.signature:
        return JobError(
            f"The tool {command.name!r} has changed its parameters since this job was compiled",
            where=command.step.where,
            next_step="Retry the job with the old tool, or submit a new job.",
        )
    return None


def call_arguments(tool: RegisteredTool, command: RunTool) -> Mapping[str, Any]:
    """Give the arguments of a call, with the idempotency key where the tool takes one."""
    if not tool.accepts_idempotency_key:
        return command.arguments
    return {**command.arguments, IDEMPOTENCY_KEY: command.idempotency_key}
