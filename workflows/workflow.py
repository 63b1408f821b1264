"""A workflow: a Python function that is traced, compiled and run as one job."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from pydantic import ValidationError

from gangline.ir.errors import InputError, LoweringError, TraceError, UsageError
from gangline.ir.graph import Input

from . import hints
from .hints import adapter, type_name
from .signature import EMPTY, Field, Signature
from .sources import author_line
from .tracing import Tracer, current, is_tracing

if TYPE_CHECKING:
    from gangline.ir.module import Module
    from gangline.ir.program import Parameter, Program
    from gangline.ir.specs.policy import Policy

P = ParamSpec("P")
R = TypeVar("R")

RUNTIME = "gangline.runtime.api"
"""Where `run` and `explain` find the runtime; named, not imported, since it is a layer above."""

_PLAIN_SCHEMAS = ({"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": "boolean"})


class Workflow(Generic[P, R]):
    """A decorated function.

    Attributes:
        name: the function's name, which the job store and the CLI show.
        fn: the function itself.
        deadline_s, budget_usd: what one job may take unless its caller says otherwise.
        pattern, role, is_agent: of an agent (`agents.agent`).
        policy: what the author says of its graph and its plans; that of a workflow called
            inside another one does not count.
    """

    pattern: str | None = None
    role: str = ""
    is_agent = False

    def __init__(
        self,
        fn: Callable[P, R],
        signature: Signature,
        deadline_s: float | None = None,
        budget_usd: float | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.name = signature.name
        self.fn = fn
        self.signature = signature
        self.deadline_s = deadline_s
        self.budget_usd = budget_usd
        self.policy = policy
        self.__doc__ = fn.__doc__
        self.__name__ = signature.name
        self.__module__ = fn.__module__

    def __repr__(self) -> str:
        return f"<workflow {self.name} ({self.where})>"

    @property
    def where(self) -> str:
        """`file:line` of the definition."""
        return self.signature.where

    @property
    def returns(self) -> Any:
        """The return annotation."""
        return self.signature.returns

    @property
    def inputs(self) -> tuple[Parameter, ...]:
        """The inputs in order, with JSON Schema and defaults."""
        return self.program().inputs

    @cached_property
    def graph_inputs(self) -> tuple[Input, ...]:
        """The inputs in order, as the recorded graph declares them."""
        return tuple(_input(field, self.where) for field in self.signature.fields.values())

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Record a nested call; raises TraceError outside another workflow."""
        if not is_tracing():
            raise TraceError(
                f"{self.name}() is a workflow",
                where=author_line(),
                next_step=f"Write {self.name}.run(...) to run it.",
            )
        result: Any = self.record(self.signature.bind(args, kwargs))
        return result  # type: ignore[no-any-return]

    def record(self, arguments: Mapping[str, Any]) -> Any:
        """Record a call in the current trace and give the symbol of its result."""
        tracer = current()
        fields = self.signature.fields
        given = {key: arguments.get(key, field.default) for key, field in fields.items()}
        name = tracer.trace(self)
        values = [
            tracer.converted(given[key], field.annotation, f"argument {key!r} of {self.name}() is")
            for key, field in self.signature.fields.items()
        ]
        effects = tracer.effects_of(name)
        attributes = {"name": name, "callee": name, "pattern": tracer.pattern_of(name)}
        operands = [*values, *tracer.after(effects)]
        made = tracer.emit("agent.call", operands, attributes, self.returns)
        tracer.happened(effects, made._gl_value)
        return made

    def trace(self) -> Module:
        """Trace the function and give the verified agent-level module."""
        from gangline.ir.builder import build
        from gangline.ir.verifier import verify

        tracer = Tracer()
        root = tracer.trace(self)
        try:
            module = build(tracer.ordered(root))
        except LoweringError as error:
            raise TraceError(
                error.detail, where=error.where or self.where, next_step=error.next_step
            ) from None
        verify(module, level="agent")
        return module

    def program(self) -> Program:
        """Give the compiled program (made once)."""
        return self._program

    def adopt(self, program: Program) -> None:
        """Take the program that another process compiled from this workflow."""
        self.__dict__["_program"] = program

    @cached_property
    def _program(self) -> Program:
        from gangline.ir.compiler import compile_module

        return compile_module(self.trace())

    def checked(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Give inputs as plain JSON; InputError for one whose value has the wrong type.

        Missing and unknown names are left for the runtime to tell.
        """
        checked = dict(inputs)
        for name, field in self.signature.fields.items():
            if name in checked:
                checked[name] = _checked(field, checked[name], f"input {name!r} of {self.name}")
        return checked

    def run(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run one job here and now and give its output; raises the job's error if it failed."""
        result = self._runtime("run_workflow")(self, self._by_name(args, kwargs))
        output = getattr(result, "output", result)
        value: R = adapter(self.returns).validate_python(output)
        return value

    def explain(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Give the MLIR, the plan, and the predicted seconds and $ as text."""
        text: str = self._runtime("explain_workflow")(self, self._by_name(args, kwargs))
        return text

    def _by_name(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        # The runtime knows what is missing or wrong; here only positions become names.
        names = list(self.signature.fields)
        if len(args) > len(names):
            raise UsageError(
                f"{self.name} takes {len(names)} inputs, {len(args)} were given",
                where=author_line(),
                next_step=f"Give {', '.join(names)}.",
            )
        return {**dict(zip(names, args, strict=False)), **kwargs}

    @staticmethod
    def _runtime(function: str) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(importlib.import_module(RUNTIME), function)
        return found


def _checked(field: Field, value: Any, where: str) -> Any:
    kind = adapter(field.annotation)
    try:
        return kind.dump_python(kind.validate_python(value), mode="json")
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"{first['msg']}, but {value!r} was given"[:300],
            where=where,
            next_step=f"Give a value of type {type_name(field.annotation)}.",
        ) from None


def _input(field: Field, where: str) -> Input:
    schema = hints.schema(field.annotation)
    default = None
    if field.default is not EMPTY:
        default = adapter(field.annotation).dump_python(field.default, mode="json")
    return Input(
        name=field.name,
        type=type_name(field.annotation),
        schema={} if schema in _PLAIN_SCHEMAS else schema,
        required=field.required,
        default=default,
        secret=hints.is_secret(field.annotation),
    )
