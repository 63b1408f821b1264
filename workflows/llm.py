"""An llm function: a prompt with typed fields, and a typed answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar, overload

from gangline.ir.errors import TraceError
from gangline.ir.ops import SAMPLING_OPERANDS
from gangline.ir.specs.request import Grammar

from .prompt_cache import PromptCache, check_apart, check_fields, fields_of, head_of, rest_of
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

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload
    def __call__(self, *, cache: PromptCache, **fields: Any) -> R: ...

    def __call__(self, *args: Any, **kwargs: Any) -> R:
        """Record a model call; raises TraceError outside a workflow.

        With `cache` the call continues a prompt that `llm.cache` began, and takes the fields that
        are not in it, by name.
        """
        if not is_tracing():
            raise TraceError(
                f"{self.name}() is a model call and runs only as a step of a workflow",
                where=author_line(),
                next_step="Call it inside a function decorated with @gl.workflow, and .run() that.",
            )
        cache = kwargs.pop("cache", None)
        if cache is not None:
            kwargs.update(self._held(cache, args, kwargs))
        result: Any = self.record(self.parameters.bind(args, kwargs), cache=cache)
        return result  # type: ignore[no-any-return]

    def cache(self, *, cache: PromptCache | None = None, **fields: Any) -> PromptCache:
        """Compute what the prompt begins with, up to its first field that is not given.

        It is computed once, as soon as these fields are known, however many calls continue it:
        `draft(question=..., cache=kv)`. Answers are those of calls without a cache.

        Args:
            cache: a shorter beginning that this one goes on from.
            fields: values of fields, by name.

        Raises:
            TraceError: the fields are no beginning of the prompt.
        """
        tracer = current()
        check_fields(self.name, fields, self.used)
        given = {**self._held(cache, (), fields), **fields} if cache is not None else fields
        head = head_of(self.name, self.template, given)
        rest = head if cache is None else rest_of(self.name, self.model, head, cache)
        symbols = {
            key: tracer.checked(
                value,
                self.parameters.fields[key].annotation,
                f"argument {key!r} of {self.name}.cache() is",
            )
            for key, value in given.items()
        }
        named: dict[str, Any] = {key: symbols[key] for key in fields_of(rest)}
        if cache is not None:
            named["cache"] = cache.symbol
        attributes = {
            "name": f"{self.name}.cache",
            "names": list(named),
            "model": self.model,
            "template": rest,
        }
        operands = [tracer.value(symbol) for symbol in named.values()]
        symbol = tracer.emit("agent.cache", operands, attributes, PromptCache, ir_type="kv")
        return PromptCache(self.name, self.model, head, symbols, symbol)

    def record(
        self,
        arguments: Mapping[str, Any],
        grammar: Grammar | None = None,
        cache: PromptCache | None = None,
    ) -> Any:
        """Record a model call of the current trace and give the symbol of its answer.

        `grammar` stands in for that of an llm without one.
        """
        tracer = current()
        symbols = self._symbols(tracer, arguments)
        template, fields, options = self.template, self.used, self.options
        if cache is not None:
            template = rest_of(self.name, self.model, template, cache)
            # What its author cut in two stays in its order.
            fields, options = fields_of(template), {**options, "free": None}
        named = {key: symbols[key] for key in (*fields, *sorted(STEERING)) if key in symbols}
        made = self.grammar or grammar
        if isinstance(made, Tool):
            wanted = made.parameters.fields
            named["grammar"] = made.record({k: v for k, v in symbols.items() if k in wanted})
        if cache is not None:
            named["cache"] = cache.symbol
        attributes = {
            "name": self.name,
            "names": list(named),
            "model": self.model,
            "template": template,
            "format": self.output_format,
            **options,
        }
        if isinstance(made, Grammar):
            attributes["grammar"] = {"kind": made.kind, "text": made.text}
        operands = [tracer.value(symbol) for symbol in named.values()]
        return tracer.emit("agent.llm", operands, attributes, self.returns)

    def _held(
        self, cache: object, args: Sequence[Any], given: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Give the fields that a cache holds, for a call that gives others by name."""
        if not isinstance(cache, PromptCache):
            raise TraceError(
                f"cache= of {self.name}() is no cache of a prompt",
                where=author_line(),
                next_step=f"Make one in the same workflow: kv = {self.name}.cache(...).",
            )
        if args:
            raise TraceError(
                f"{self.name}() continues a cache, and its fields are not named",
                where=author_line(),
                next_step=f"Name the fields: {self.name}({self.used[-1]}=..., cache=kv).",
            )
        rest_of(self.name, self.model, self.template, cache)
        check_apart(self.name, given, cache)
        return cache.values

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
