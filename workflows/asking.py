"""Ask a person in the middle of a workflow: `ask`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, overload

from gangline.ir.errors import TraceError

from . import hints
from .hints import describe, is_assignable, type_name
from .lifting import holds_symbol
from .sources import author_line
from .symbols import Symbol, kind_of
from .tracing import Tracer, current, require_name

T = TypeVar("T")


@overload
def ask(question: str, /, *, name: str = "ask") -> str: ...


@overload
def ask(question: str, /, *, choices: Sequence[T], name: str = "ask") -> T: ...


@overload
def ask(
    question: str, /, *, returns: type[T], choices: Sequence[T] | None = None, name: str = "ask"
) -> T: ...


def ask(question: str, /, *, returns: Any = None, choices: Any = None, name: str = "ask") -> Any:
    """Stop and ask a person; the answer is the value of this step.

    The job waits as `input_required` once nothing else of it can go on, for days if need be, and
    across restarts. Each question is asked once, also inside `gl.map` and `gl.loop`. A question
    waits for writes before it in the workflow, and writes after it wait for the answer.

    Args:
        question: what is asked; may be a value of the trace.
        returns: type of the answer (by default that of the choices, or `str`); an answer that
            does not fit its JSON Schema is refused.
        choices: what may be answered: a list, or a value of the trace that is one.
        name: what the step is called.

    Raises:
        TraceError: the question is no text, the choices are empty or not of that type, or a
            database is asked for.
    """
    tracer = current()
    require_name(name)
    kind = _kind(returns, choices)
    if type_name(kind) == "database":
        raise TraceError(
            "gl.ask cannot ask for a Database: whoever answers could name any file",
            where=author_line(),
            next_step="Ask for a choice among names, and pick the database in a tool.",
        )
    asked = tracer.argument(question, str, "the question of gl.ask is")
    schema, operands = dict(hints.schema(kind)), [asked]
    if isinstance(choices, Symbol) or holds_symbol(choices):
        operands.append(_listed(tracer, choices, kind))
    elif choices is not None:
        schema["enum"] = _constants(choices, kind)
    names = ["question", "choices"][: len(operands)]
    attributes = {"name": name, "names": names, "schema": schema}
    made = tracer.emit("agent.ask", [*operands, *tracer.after("read")], attributes, kind)
    # Questions may be open together; what writes afterwards waits for their answers.
    tracer.happened("read", made._gl_value)
    return made


def _kind(returns: Any, choices: Any) -> Any:
    if returns is not None:
        return returns
    if isinstance(choices, Symbol):
        return hints.element(kind_of(choices))
    kinds = {kind_of(choice) for choice in choices} if _is_list(choices) else set()
    if choices is None or not kinds:
        return str
    return kinds.pop() if len(kinds) == 1 else Any


def _is_list(choices: Any) -> bool:
    return isinstance(choices, Sequence) and not isinstance(choices, str)


def _constants(choices: Any, kind: Any) -> list[Any]:
    if not _is_list(choices) or not choices:
        raise TraceError(
            f"the choices of gl.ask are {choices!r}",
            where=author_line(),
            next_step='Give a list of at least one, for example choices=["yes", "no"].',
        )
    for choice in choices:
        if not is_assignable(type(choice), kind):
            raise TraceError(
                f"the choice {choice!r} of gl.ask is no {describe(kind)}",
                where=author_line(),
                next_step="Give choices of the type that is returned.",
            )
    plain: list[Any] = hints.adapter(hints.list_of(kind)).dump_python(list(choices), mode="json")
    return plain


def _listed(tracer: Tracer, choices: Any, kind: Any) -> Any:
    return tracer.argument(choices, hints.list_of(kind), "the choices of gl.ask are")
