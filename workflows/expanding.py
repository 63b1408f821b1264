"""Run a plan that a model or a tool writes at run time: `expand`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from gangline.ir.errors import TraceError

from . import hints
from .sources import author_line
from .tool import Tool
from .tracing import Tracer, current, require_name
from .values import Database

DEFAULT_MAX_STEPS = 16
_ORDER = ("none", "read", "write")


def expand(
    plan: Any,
    /,
    *,
    tools: Sequence[Tool[..., Any]],
    max_steps: int = DEFAULT_MAX_STEPS,
    given: Mapping[str, Any] | None = None,
    name: str = "expand",
) -> dict[str, Any]:
    """Carry out a plan and give the results of its steps by their ids.

    A plan is a list of `{"id": ..., "tool": ..., "arguments": {...}}`, or JSON text of one. An
    argument may hold `{"$ref": "id"}` for another step's result, or `{"$ref": "id/member/0"}` for
    a part of it. Steps that do not need each other run side by side; those that write keep the
    order of the plan. The plan is data, whoever wrote it: it is checked as a whole before
    anything runs (known tools, types, no cycles, not too long), recorded, and never made again
    when the job goes on after a crash.

    Args:
        plan: a value of the trace: a list, a dict `{"steps": [...]}`, or text.
        tools: the tools it may name, by the names of their functions.
        max_steps: most steps it may have.
        given: values for parameters that the plan must not choose, by name; every tool that has
            such a parameter gets the value. A `Database` is always given.
        name: what the step is called.

    Raises:
        TraceError: no tools, a database that the plan would choose, or a value that no tool takes.
    """
    tracer = current()
    require_name(name)
    filled = dict(given or {})
    _check_tools(tools, max_steps)
    rows = [_row(tool, filled) for tool in tools]
    if unused := [key for key in filled if not any(key in row["given"] for row in rows)]:
        raise TraceError(
            f"no tool of gl.expand takes {unused[0]!r}",
            where=author_line(),
            next_step="Leave it out of given=, or add the tool that needs it.",
        )
    values = [tracer.value(plan), *(_given(tracer, tools, key, filled[key]) for key in filled)]
    effects = max((tool.effects for tool in tools), key=_ORDER.index)
    attributes = {"name": name, "names": ["plan", *filled], "tools": rows, "max_steps": max_steps}
    attributes["granted"] = sorted(row["name"] for row in rows if row["effects"] == "write")
    operands = [*values, *tracer.after(effects)]
    made: Any = tracer.emit("agent.expand", operands, attributes, dict[str, Any])
    tracer.happened(effects, made._gl_value)
    return made  # type: ignore[no-any-return]


def _check_tools(tools: Sequence[Any], max_steps: Any) -> None:
    if not tools or not all(isinstance(tool, Tool) for tool in tools):
        raise TraceError(
            "gl.expand needs a list of tools",
            where=author_line(),
            next_step="Write tools=[search, read], naming functions decorated with @gl.tool.",
        )
    if len({_called(tool) for tool in tools}) < len(tools):
        raise TraceError(
            "gl.expand lists two tools of one name",
            where=author_line(),
            next_step="Name each tool once, or rename one of the functions.",
        )
    if not isinstance(max_steps, int) or isinstance(max_steps, bool) or max_steps < 1:
        raise TraceError(
            f"max_steps of gl.expand is {max_steps!r}",
            where=author_line(),
            next_step=f"Write max_steps={DEFAULT_MAX_STEPS}, or whatever number is enough.",
        )


def _row(tool: Tool[..., Any], filled: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the op says of a tool (`ir.ops.PLANNED_TOOL`)."""
    fields = tool.parameters.fields
    chosen = {key: field for key, field in fields.items() if key not in filled}
    for key, field in chosen.items():
        if _holds_database(field.annotation, 0):
            raise TraceError(
                f"parameter {key!r} of {tool.name}() is a Database, which a plan may not choose",
                where=author_line(),
                next_step=f"Fill it in: given={{{key!r}: ...}}.",
            )
    # In the order of their names, so that the program's text shows them as a dictionary.
    return {
        "effects": tool.effects,
        "given": [key for key in fields if key in filled],
        "idempotent": tool.idempotent,
        **({"labels": list(tool.labels)} if tool.labels else {}),
        "name": _called(tool),
        "parameters": {key: hints.schema(field.annotation) for key, field in chosen.items()},
        "required": [key for key, field in chosen.items() if field.required],
        "retries": tool.retries,
        "signature": tool.signature,
        "timeout_s": tool.timeout_s,
        "tool": tool.name,
    }


def _called(tool: Tool[..., Any]) -> str:
    """Give what a plan calls a tool: the name of its function, wherever that is from.

    The registered name can depend on which other files were imported before.
    """
    return tool.fn.__name__


def _holds_database(annotation: Any, depth: int) -> bool:
    """Tell whether a type is a Database or holds one (types that hold themselves end at 8)."""
    if hints.strip(annotation) == Database or annotation == Database:
        return True
    if depth > 8:
        return False
    inner = [*get_args(annotation), *(hints.fields(annotation) or {}).values()]
    return any(_holds_database(found, depth + 1) for found in inner)


def _given(tracer: Tracer, tools: Sequence[Tool[..., Any]], key: str, value: Any) -> Any:
    lifted: Any = value
    for tool in tools:
        if key in tool.parameters.fields:
            annotation = tool.parameters.fields[key].annotation
            lifted = tracer.checked(lifted, annotation, f"given {key!r} of {tool.name}() is")
    return tracer.value(lifted)
