"""A tool: a Python function that a workflow calls as one step."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

from pydantic import TypeAdapter, ValidationError

from gangline.ir.errors import StepError

from .hints import adapter, describe, shape
from .signature import Signature
from .tracing import current, is_tracing

P = ParamSpec("P")
R = TypeVar("R")

USER_MODULE = "gangline_user_"
"""What the module names of workflow files begin with (`registry.load`)."""

IDEMPOTENCY_KEY = "idempotency_key"
"""A parameter of this name is filled by the runtime and never seen by a workflow."""


@dataclass(frozen=True, eq=False)
class Tool(Generic[P, R]):
    """A registered function.

    Attributes:
        name: the registered name, which programs refer to.
        effects: `none` (a pure function), `read` or `write`.
        timeout_s: seconds after which the step counts as failed.
        retries: how often a failed call is tried again.
        idempotent: True where calling twice with one idempotency key does no harm.
        signature: hash of origin, parameter names and types; a job refuses a tool that changed.
        is_async: True where `call` gives an awaitable.
        is_inline: True where the function promises to take microseconds: it runs on the event
            loop itself, without a thread, and its timeout is not enforced.
        labels: what the policy pass knows of it (`ir.ops.TOOL_LABELS`).
        accepts_idempotency_key: True where the function has such a parameter.
    """

    name: str
    fn: Callable[P, R]
    effects: str
    timeout_s: float
    retries: int
    idempotent: bool
    signature: str
    is_async: bool
    is_inline: bool
    accepts_idempotency_key: bool
    parameters: Signature
    labels: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """`file:line` of the definition."""
        return self.parameters.where

    @property
    def returns(self) -> Any:
        """The return annotation."""
        return self.parameters.returns

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Record a step while a workflow is traced; run the plain function otherwise."""
        if not is_tracing():
            return self.fn(*args, **kwargs)
        result: Any = self.record(self.parameters.bind(args, kwargs))
        return result  # type: ignore[no-any-return]

    def record(self, arguments: Mapping[str, Any]) -> Any:
        """Record a step of the current trace and give the symbol of its result."""
        tracer = current()
        values = [
            tracer.argument(
                given,
                self.parameters.fields[key].annotation,
                f"argument {key!r} of {self.name}() is",
            )
            for key, given in arguments.items()
        ]
        attributes = {
            "name": self.name,
            "tool": self.name,
            "names": list(arguments),
            "effects": self.effects,
            "timeout_s": self.timeout_s,
            "retries": self.retries,
            "idempotent": self.idempotent,
            "signature": self.signature,
        }
        if self.labels:
            attributes["labels"] = list(self.labels)
        operands = [*values, *tracer.after(self.effects)]
        made = tracer.emit("agent.tool", operands, attributes, self.returns)
        tracer.happened(self.effects, made._gl_value)
        return made

    def call(self, arguments: Mapping[str, Any]) -> Any:
        """Run the function on JSON arguments and give its JSON result.

        Gives an awaitable where `is_async`. Raises StepError where an argument or the result
        is not of its annotated type; what the function raises passes through.
        """
        python = self._arguments(arguments)
        if self.is_async:
            return self._call_async(python)
        return self._result(self.fn(**python))  # type: ignore[call-arg]

    async def _call_async(self, python: dict[str, Any]) -> Any:
        return self._result(await self.fn(**python))  # type: ignore[call-arg, misc]

    @cached_property
    def _adapters(self) -> dict[str, TypeAdapter[Any]]:
        fields = self.parameters.fields
        return {name: adapter(field.annotation) for name, field in fields.items()}

    @cached_property
    def _answer(self) -> TypeAdapter[Any]:
        return adapter(self.returns)

    def _arguments(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        python: dict[str, Any] = {}
        for key, given in arguments.items():
            if key == IDEMPOTENCY_KEY and self.accepts_idempotency_key:
                python[key] = given
                continue
            expected = self._adapters.get(key)
            if expected is None:
                raise StepError(f"tool {self.name} has no parameter {key!r}", where=self.name)
            try:
                python[key] = expected.validate_python(given)
            except ValidationError as error:
                annotation = self.parameters.fields[key].annotation
                raise self._misfit(error, annotation, f"argument {key!r} of") from None
        return python

    def _result(self, value: Any) -> Any:
        try:
            checked = self._answer.validate_python(value)
        except ValidationError as error:
            raise self._misfit(error, self.returns, "the result of") from None
        return self._answer.dump_python(checked, mode="json")

    def _misfit(self, error: ValidationError, annotation: Any, what: str) -> StepError:
        found = error.errors(include_url=False)[0]
        return StepError(
            f"{what} tool {self.name} is no {describe(annotation)}: {found['msg']}",
            where=self.where,
            next_step="Return or pass what the annotation says.",
        )


def origin(fn: Callable[..., Any]) -> str:
    """Give where a function comes from: its module, or its file's stem for a user's own file.

    A user's file has one origin however it was started and wherever it lies.
    """
    code = getattr(fn, "__code__", None)
    module = fn.__module__
    if code is not None and (module == "__main__" or module.startswith(USER_MODULE)):
        module = Path(code.co_filename).stem
    return f"{module}:{fn.__qualname__}"


def signature_hash(fn: Callable[..., Any], parameters: Signature) -> str:
    """Hash origin, parameter names, types and requiredness, and the return type, in hex.

    The origin is part of it because names are given in the order of imports: a stored job must
    not meet another file's tool of the same name and types.
    """
    described = {
        "origin": origin(fn),
        "parameters": [
            [field.name, shape(field.annotation), field.required]
            for field in parameters.fields.values()
        ],
        "returns": shape(parameters.returns),
    }
    text = json.dumps(described, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def make_tool(
    name: str,
    fn: Callable[P, R],
    parameters: Signature,
    *,
    effects: str,
    timeout_s: float,
    retries: int,
    idempotent: bool | None,
    inline: bool = False,
    labels: tuple[str, ...] = (),
) -> Tool[P, R]:
    """Make a tool; `idempotent` None means: whatever does not write is.

    Labels are no part of the signature: they say what a graph may do with the tool, not what the
    tool is, so a stored job goes on under the labels that its program was compiled with.
    """
    return Tool(
        name=name,
        fn=fn,
        effects=effects,
        timeout_s=timeout_s,
        retries=retries,
        idempotent=effects != "write" if idempotent is None else idempotent,
        signature=signature_hash(fn, parameters),
        is_async=inspect.iscoroutinefunction(fn),
        is_inline=inline,
        accepts_idempotency_key=IDEMPOTENCY_KEY in inspect.signature(fn).parameters,
        parameters=parameters,
        labels=labels,
    )
