"""An llm function: a prompt with typed fields, and a typed answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar

from gangline.ir.errors import TraceError
from gangline.ir.ops import SAMPLING_OPERANDS
from gangline.ir.specs.request import Grammar

from .signature import EMPTY, Signature
from .sources import author_line
from .tool import Tool
from .tracing import Tracer, current, is_tracing

P = ParamSpec("P")
R = TypeVar("R")

STEERING = frozenset(SAMPLING_OPERANDS) - {"grammar"}
"""Parameters of these names steer sampling and are no fields of the prompt."""


@dataclass(frozen=True, eq=False)
class Llm(Generic[P, R]):
    """A model call as a function.

    Attributes:
        template: messages `{role, text}` with {field} marks.
        used: the fields of the template, in order of first use.
        returns: the type of the answer.
        output_format: `text`, or `json` where the answer is parsed.
        grammar: a constant grammar, a tool that makes one when the workflow runs, or None.
        options: further attributes of the op (max_tokens, temperature, stop, ...).
    """

    name: str
    fn: Callable[P, R]
    parameters: Signature
    model: str
    template: list[dict[str, Any]]
    used: list[str]
    returns: Any
    output_format: str
    grammar: Grammar | Tool[..., Any] | None
    options: Mapping[str, Any]

    @property
    def where(self) -> str:
        """`file:line` of the definition."""
        return self.parameters.where

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Record a model call; raises TraceError outside a workflow."""
        if not is_tracing():
            raise TraceError(
                f"{self.name}() is a model call and runs only as a step of a workflow",
                where=author_line(),
                next_step="Call it inside a function decorated with @gl.workflow, and .run() that.",
            )
        result: Any = self.record(self.parameters.bind(args, kwargs))
        return result  # type: ignore[no-any-return]

    def record(self, arguments: Mapping[str, Any], grammar: Grammar | None = None) -> Any:
        """Record a model call of the current trace and give the symbol of its answer.

        `grammar` stands in for that of an llm without one.
        """
        tracer = current()
        symbols = self._symbols(tracer, arguments)
        named = {key: symbols[key] for key in (*self.used, *sorted(STEERING)) if key in symbols}
        made = self.grammar or grammar
        if isinstance(made, Tool):
            wanted = made.parameters.fields
            named["grammar"] = made.record({k: v for k, v in symbols.items() if k in wanted})
        attributes = {
            "name": self.name,
            "names": list(named),
            "model": self.model,
            "template": self.template,
            "format": self.output_format,
            **self.options,
        }
        if isinstance(made, Grammar):
            attributes["grammar"] = {"kind": made.kind, "text": made.text}
        operands = [tracer.value(symbol) for symbol in named.values()]
        return tracer.emit("agent.llm", operands, attributes, self.returns)

    def _symbols(self, tracer: Tracer, arguments: Mapping[str, Any]) -> dict[str, Any]:
        # A prompt is rendered by the runtime, which knows no Python defaults: fill them here.
        fields = self.parameters.fields
        defaults = {k: f.default for k, f in fields.items() if f.default is not EMPTY}
        given = {**defaults, **arguments}
        return {
            key: tracer.checked(
                given[key], field.annotation, f"argument {key!r} of {self.name}() is"
            )
            for key, field in fields.items()
            if key in given
        }
