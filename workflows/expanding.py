"""Run a plan that a model or a tool writes at run time: `expand`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

from gangline.ir.errors import TraceError
from gangline.ir.ops import EXPAND_FORMS, ON_ERROR
from gangline.ir.specs.policy import Grant

from . import hints
from .signature import Field
from .sources import author_line
from .tool import Tool
from .tracing import Tracer, current, require_name
from .values import Database
from .workflow import Workflow

if TYPE_CHECKING:
    from .plan_outcome import PlanOutcome

DEFAULT_MAX_STEPS = 16
_ORDER = ("none", "read", "write")

Callee = Tool[..., Any] | Workflow[..., Any]
"""What a plan may call: a tool, or a nested agent."""
Granted = Sequence[Callee] | Mapping[Callee, int | None]
"""Which of them it may call although they write, maybe with a number of times."""


@overload
def expand(
    plan: Any,
    /,
    *,
    tools: Sequence[Callee],
    max_steps: int = DEFAULT_MAX_STEPS,
    granted: Granted = (),
    given: Mapping[str, Any] | None = None,
    name: str = "expand",
    form: Literal["steps", "lines"] = "steps",
    on_error: Literal["fail"] = "fail",
) -> dict[str, Any]: ...


@overload
def expand(
    plan: Any,
    /,
    *,
    tools: Sequence[Callee],
    max_steps: int = DEFAULT_MAX_STEPS,
    granted: Granted = (),
    given: Mapping[str, Any] | None = None,
    name: str = "expand",
    form: Literal["steps", "lines"] = "steps",
    on_error: Literal["keep"],
) -> PlanOutcome: ...


def expand(
    plan: Any,
    /,
    *,
    tools: Sequence[Callee],
    max_steps: int = DEFAULT_MAX_STEPS,
    granted: Granted = (),
    given: Mapping[str, Any] | None = None,
    name: str = "expand",
    form: Literal["steps", "lines"] = "steps",
    on_error: Literal["fail", "keep"] = "fail",
) -> dict[str, Any] | PlanOutcome:
    """Carry out a plan and give the results of its steps by their ids.

    A plan is a list of `{"id": ..., "tool": ..., "arguments": {...}}`, or JSON text of one. An
    argument may hold `{"$ref": "id"}` for another step's result, or `{"$ref": "id/member/0"}` for
    a part of it. Steps that do not need each other run side by side; those that write keep the
    order of the plan. The plan is data, whoever wrote it: it is checked as a whole before
    anything runs (known tools, types, no cycles, not too long), recorded, and never made again
    when the job goes on after a crash.

    With `form="lines"` a plan is text with one call per line, as in
    `1. convert(value=3, unit_from="km", unit_to="mi")`, whose arguments are JSON or references
    (`$1`, `$1.member`, `$1[0]`, also inside text) to lines above; numbers rise, and `join()` is
    the last line. If it is what an llm of this workflow writes, each line is checked, recorded
    and started as soon as it is complete, while the model goes on writing.

    Args:
        plan: a value of the trace: a list, a dict `{"steps": [...]}`, or text.
        tools: the tools it may name, by the names of their functions. An agent among them is
            called as a tool is; its steps are `name/STEP/...`.
        max_steps: most steps it may have.
        granted: those of the tools with write effects that a plan may call without asking a
            person; `{send: 2}` grants two calls in a job. What a plan may not do is asked
            about, or refused (see docs/policy.md).
        given: values for parameters that the plan must not choose, by name; every tool that has
            such a parameter gets the value. A `Database` is always given.
        name: what the step is called.
        form: how a plan is written.
        on_error: what a step that fails, or a plan that is not sound, does. `fail` ends the job.
            `keep` gives a `PlanOutcome` that tells of it: what waits for a failed step does not
            run, and all else does. A write of which it is not known whether it happened always
            ends the job, and so does a step inside an agent that fails.

    Raises:
        TraceError: no tools, a database that the plan would choose, a value that no tool takes,
            or a grant of something that is not among the tools or does not write.
    """
    tracer = current()
    require_name(name)
    filled = dict(given or {})
    _check_tools(tools, max_steps)
    _check_words(tools, form, on_error)
    rows = [_row(tracer, tool, filled) for tool in tools]
    if any("agent" in row for row in rows):
        tracer.note_pattern("supervisor_as_tool")
    if unused := [key for key in filled if not any(key in row["given"] for row in rows)]:
        raise TraceError(
            f"no tool of gl.expand takes {unused[0]!r}",
            where=author_line(),
            next_step="Leave it out of given=, or add the tool that needs it.",
        )
    values = [tracer.value(plan), *(_given(tracer, tools, key, filled[key]) for key in filled)]
    effects = max((row["effects"] for row in rows), key=_ORDER.index)
    attributes = {"name": name, "names": ["plan", *filled], "tools": rows, "max_steps": max_steps}
    attributes["granted"] = _granted(tools, rows, granted)
    if form != "steps":
        attributes["form"] = form
    if on_error != "fail":
        attributes["on_error"] = on_error
    operands = [*values, *tracer.after(effects)]
    made: Any = tracer.emit("agent.expand", operands, attributes, _result(on_error))
    tracer.happened(effects, made._gl_value)
    return made  # type: ignore[no-any-return]


def _check_tools(tools: Sequence[Any], max_steps: Any) -> None:
    if not tools or not all(isinstance(tool, Tool | Workflow) for tool in tools):
        raise TraceError(
            "gl.expand needs a list of tools",
            where=author_line(),
            next_step="Write tools=[search, read], naming functions decorated with @gl.tool "
            "or @gl.agent.",
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


def _granted(
    tools: Sequence[Callee], rows: Sequence[Mapping[str, Any]], granted: Granted
) -> list[str]:
    """Give the grants as the op has them (`ir.specs.policy.Grant`), by what plans call tools."""
    times = dict(granted) if isinstance(granted, Mapping) else dict.fromkeys(granted)
    writing = [tool for tool, row in zip(tools, rows, strict=True) if row["effects"] == "write"]
    for tool, count in times.items():
        if tool not in writing:
            raise TraceError(
                f"gl.expand grants {getattr(tool, 'name', tool)!r}, which is none of its tools "
                "that write",
                where=author_line(),
                next_step="Grant tools of tools=[...] whose effects are write; others need none.",
            )
        if count is not None and (not isinstance(count, int) or count is True or count < 1):
            raise TraceError(
                f"gl.expand grants {_called(tool)} {count!r} times",
                where=author_line(),
                next_step="Write a whole number of at least 1, or None for any number.",
            )
    return sorted(str(Grant(_called(tool), count)) for tool, count in times.items())


def _check_words(tools: Sequence[Callee], form: str, on_error: str) -> None:
    for key, value, known in (("form", form, EXPAND_FORMS), ("on_error", on_error, ON_ERROR)):
        if value not in known:
            raise TraceError(
                f"{key} of gl.expand is {value!r}",
                where=author_line(),
                next_step=f"Write one of {', '.join(map(repr, known))}.",
            )
    if form == "lines" and any(_called(tool) == "join" for tool in tools):
        raise TraceError(
            "a tool of gl.expand is named join, which ends a plan of lines",
            where=author_line(),
            next_step="Rename the function.",
        )


def _result(on_error: str) -> Any:
    from .plan_outcome import PlanOutcome

    return PlanOutcome if on_error == "keep" else dict[str, Any]


def _fields(tool: Callee) -> Mapping[str, Field]:
    return (tool.parameters if isinstance(tool, Tool) else tool.signature).fields


def _row(tracer: Tracer, tool: Callee, filled: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the op says of a tool or agent (`ir.ops.PLANNED_TOOL`, `PLANNED_AGENT`)."""
    fields = _fields(tool)
    chosen = {key: field for key, field in fields.items() if key not in filled}
    for key, field in chosen.items():
        if _holds_database(field.annotation, 0):
            raise TraceError(
                f"parameter {key!r} of {tool.name}() is a Database, which a plan may not choose",
                where=author_line(),
                next_step=f"Fill it in: given={{{key!r}: ...}}.",
            )
    row = {
        "given": [key for key in fields if key in filled],
        "name": _called(tool),
        "parameters": {key: hints.schema(field.annotation) for key, field in chosen.items()},
        "required": [key for key, field in chosen.items() if field.required],
    }
    row.update(_tool_row(tool) if isinstance(tool, Tool) else _agent_row(tracer, tool, row))
    # In the order of their names, so that the program's text shows them as a dictionary.
    return dict(sorted(row.items()))


def _tool_row(tool: Tool[..., Any]) -> dict[str, Any]:
    return {
        "effects": tool.effects,
        "idempotent": tool.idempotent,
        **({"labels": list(tool.labels)} if tool.labels else {}),
        "retries": tool.retries,
        "signature": tool.signature,
        "timeout_s": tool.timeout_s,
        "tool": tool.name,
    }


def _agent_row(tracer: Tracer, agent: Workflow[..., Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Record the agent; what a plan leaves out has a default, which no Python fills in later."""
    name = tracer.trace(agent)
    schemas = {
        key: schema
        if key in row["required"]
        else dict(sorted({**schema, "default": _default(agent, key)}.items()))
        for key, schema in row["parameters"].items()
    }
    return {"agent": name, "effects": tracer.effects_of(name), "parameters": schemas}


def _default(agent: Workflow[..., Any], key: str) -> Any:
    found = next(given for given in agent.graph_inputs if given.name == key)
    return found.default


def _called(tool: Callee) -> str:
    """Give what a plan calls a tool or agent: its function's name, wherever that is from.

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


def _given(tracer: Tracer, tools: Sequence[Callee], key: str, value: Any) -> Any:
    lifted: Any = value
    for tool in tools:
        field = _fields(tool).get(key)
        if field is not None:
            annotation = field.annotation
            lifted = tracer.checked(lifted, annotation, f"given {key!r} of {tool.name}() is")
    return tracer.value(lifted)
