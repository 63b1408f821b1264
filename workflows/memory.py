"""Memory in a workflow: `recall`, `remember` and `observe`, and tools that retrieve documents.

Spaces belong to the tenant of the job, so what one job remembers another one recalls. In the
order of effects a recall is a tool that reads, the other two are tools that write.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar, overload

from pydantic import BaseModel

from gangline.ir.errors import TraceError
from gangline.ir.graph import Value
from gangline.ir.specs.memory import MAX_LIMIT, SPACE_RULE, is_space

from . import decorators, hints
from .sources import author_line
from .tool import Tool
from .tracing import Tracer, current, require_name

P = ParamSpec("P")
R = TypeVar("R")
By = Literal["text", "key", "vector"]


class Entry(BaseModel):
    """One entry that a lookup found.

    `score` is 1 for a lookup by key, BM25 by text, the cosine of the embeddings by vector.
    `created_s` is when it was remembered first, in seconds since the epoch.
    """

    key: str
    value: Any
    score: float
    created_s: float


def recall(
    query: str,
    /,
    space: str = "notes",
    by: By = "text",
    limit: int = 5,
    model: str | None = None,
    *,
    name: str = "recall",
) -> list[Entry]:
    """Look entries of a memory space up; the best first, equally good ones by their keys.

    It waits for writes before it in the workflow, of tools too. A space that nobody has written
    to is empty.

    Args:
        query: words, a key, or text whose embedding is compared; may be a value of the trace.
            It is data: no character in it is an operator.
        space: the space's name.
        by: `text` (entries with words of the query, ranked by BM25), `key` (the entry with
            exactly this key) or `vector` (entries whose embedding is nearest).
        limit: most entries to give.
        model: the model that embeds the query, with `vector` alone. It must be the one that the
            space was remembered with.
        name: what the step is called.

    Raises:
        TraceError: outside a workflow, or for an argument of the wrong type or value.
    """
    tracer = current()
    _require(name, space)
    if by not in ("text", "key", "vector"):
        raise TraceError(
            f"gl.recall cannot look up by {by!r}",
            where=author_line(),
            next_step='Write by="text", by="key" or by="vector".',
        )
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
        raise TraceError(
            f"limit of gl.recall is {limit!r}",
            where=author_line(),
            next_step=f"Write limit=5, or another whole number from 1 to {MAX_LIMIT}.",
        )
    _check_recall_model(by, model)
    asked = tracer.argument(query, str, "the query of gl.recall is")
    attributes = {"name": name, "names": ["query"], "space": space, "by": by, "limit": limit}
    kind = hints.list_of(Entry)
    return _emit(tracer, "agent.recall", [asked], {**attributes, "model": model}, kind, "read")  # type: ignore[no-any-return]


def remember(
    value: Any,
    /,
    space: str = "notes",
    key: str | None = None,
    model: str | None = None,
    *,
    name: str = "remember",
) -> str:
    """Put an entry into a memory space, in the place of one with the same key; gives the key.

    It happens once for each step of a job, whatever crashes: a step that is run again after one
    finds that it was done, and changes nothing.

    Args:
        value: what to keep, as JSON; may be a value of the trace.
        space: the space's name.
        key: what it is kept under; by default a key of its own.
        model: a model whose embedding of the value is kept too, for lookups by vector.
        name: what the step is called.

    Raises:
        TraceError: outside a workflow, or for an argument of the wrong type or value.
    """
    tracer = current()
    _require(name, space)
    _require_model("gl.remember", model)
    operands = [tracer.value(value)]
    if key is not None:
        operands.append(tracer.argument(key, str, "the key of gl.remember is"))
    attributes = {"name": name, "names": ["value", "key"][: len(operands)], "space": space}
    return _emit(tracer, "agent.remember", operands, {**attributes, "model": model}, str, "write")  # type: ignore[no-any-return]


def observe(
    event: Any,
    /,
    result: Any = None,
    space: str = "observations",
    *,
    name: str = "observe",
) -> int:
    """Append an observation to a log: what happened, and what came of it; gives its number.

    Nothing overwrites an observation. `recall` finds it by its words, and by its number as text.
    It happens once for each step, as `remember` does.

    Args:
        event: what happened, as JSON; may be a value of the trace.
        result: what came of it.
        space: the log's name; a space is a log or holds entries, not both.
        name: what the step is called.

    Raises:
        TraceError: outside a workflow, or for a space or name that cannot be one.
    """
    tracer = current()
    _require(name, space)
    operands = [tracer.value(event)]
    if result is not None:
        operands.append(tracer.value(result))
    attributes = {"name": name, "names": ["event", "result"][: len(operands)], "space": space}
    return _emit(tracer, "agent.observe", operands, attributes, int, "write")  # type: ignore[no-any-return]


@overload
def retriever(fn: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def retriever(
    *, timeout: float = 30.0, retries: int = 0
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def retriever(fn: Any = None, /, *, timeout: float = 30.0, retries: int = 0) -> Any:
    """Make a tool of a function that looks documents up: it reads, and returns a list.

    Args:
        timeout: seconds after which a call counts as failed.
        retries: how often a failed call is tried again.

    Raises:
        TraceError: at the definition, where the function returns no list, and as `tool`.
    """

    def decorate(fn: Callable[..., Any]) -> Tool[..., Any]:
        made: Any = decorators.tool(effects="read", timeout=timeout, retries=retries)(fn)
        if hints.type_name(made.returns) != "list":
            raise TraceError(
                f"{made.name}() is a retriever and returns {hints.describe(made.returns)}",
                where=made.where,
                next_step="Let it return a list of documents, for example `-> list[str]`.",
            )
        found: Tool[..., Any] = made
        return found

    return decorate if fn is None else decorate(fn)


def _emit(
    tracer: Tracer,
    op: str,
    operands: list[Value],
    attributes: dict[str, Any],
    kind: Any,
    effects: str,
) -> Any:
    made: Any = tracer.emit(op, [*operands, *tracer.after(effects)], attributes, kind)
    tracer.happened(effects, made._gl_value)
    return made


def _require(name: object, space: object) -> None:
    require_name(name)
    if not is_space(space):
        raise TraceError(
            f"{space!r} cannot be the name of a memory space",
            where=author_line(),
            next_step=f'Write for example space="notes": {SPACE_RULE}.',
        )


def _require_model(what: str, model: object) -> None:
    if model is not None and not (isinstance(model, str) and model):
        raise TraceError(
            f"model of {what} is {model!r}",
            where=author_line(),
            next_step="Write a name of the model catalogue, see `gangline models list`.",
        )


def _check_recall_model(by: str, model: object) -> None:
    _require_model("gl.recall", model)
    if by == "vector" and model is None:
        raise TraceError(
            'gl.recall(by="vector") does not say which model embeds the query',
            where=author_line(),
            next_step="Write model=..., the one that gl.remember was given for this space.",
        )
    if by != "vector" and model is not None:
        raise TraceError(
            f"gl.recall(by={by!r}) needs no model",
            where=author_line(),
            next_step='Leave model= out, or write by="vector".',
        )
