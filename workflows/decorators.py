"""The decorators `@workflow`, `@llm` and `@tool`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ParamSpec, TypeVar, overload

from gangline.ir.errors import TraceError
from gangline.ir.ops import EFFECTS, TOOL_LABELS
from gangline.ir.specs.policy import Policy
from gangline.ir.specs.request import Grammar

from . import grammar as grammars
from .hints import is_assignable, is_free, type_name
from .llm import STEERING, Llm
from .registry import LLMS, TOOLS, WORKFLOWS
from .signature import EMPTY, Signature, read_signature
from .sources import definition_line
from .templates import make_template
from .tool import IDEMPOTENCY_KEY, Tool, make_tool
from .workflow import Workflow

P = ParamSpec("P")
R = TypeVar("R")


# Workflow ---------------------------------------------------------------------------------


@overload
def workflow(fn: Callable[P, R], /) -> Workflow[P, R]: ...


@overload
def workflow(
    *, deadline: float | None = None, budget_usd: float | None = None, policy: Policy | None = None
) -> Callable[[Callable[P, R]], Workflow[P, R]]: ...


def workflow(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    deadline: float | None = None,
    budget_usd: float | None = None,
    policy: Policy | None = None,
) -> Any:
    """Make a workflow of a function.

    Args:
        deadline: seconds one job should take at most.
        budget_usd: US dollars one job may cost at most.
        policy: what its graph and its plans may do (see docs/policy.md).

    Raises:
        TraceError: at the definition, where its signature is not typed.
    """

    def decorate(fn: Callable[..., Any]) -> Workflow[..., Any]:
        if policy is not None and not isinstance(policy, Policy):
            raise TraceError(
                f"the policy of {fn.__name__}() is a {type(policy).__name__}",
                where=definition_line(fn),
                next_step='Write policy=gl.Policy.from_json({"on_violation": "refuse"}).',
            )
        return make_workflow(
            fn, lambda signature: Workflow(fn, signature, deadline, budget_usd, policy)
        )

    return decorate if fn is None else decorate(fn)


W = TypeVar("W", bound=Workflow[..., Any])


def make_workflow(fn: Callable[..., Any], make: Callable[[Signature], W]) -> W:
    """Register what `make` makes of a function's signature; TraceError where it is not typed."""
    signature = read_signature(fn)
    _require_return(signature)
    made = make(signature)
    _require_positive(signature, "deadline", made.deadline_s)
    _require_positive(signature, "budget_usd", made.budget_usd)
    WORKFLOWS.add(fn, lambda _: made)
    return made


# Tool -------------------------------------------------------------------------------------


@overload
def tool(fn: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(
    *,
    effects: str = "write",
    timeout: float = 30.0,
    retries: int = 0,
    idempotent: bool | None = None,
    inline: bool = False,
    labels: Sequence[str] = (),
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    effects: str = "write",
    timeout: float = 30.0,
    retries: int = 0,
    idempotent: bool | None = None,
    inline: bool = False,
    labels: Sequence[str] = (),
) -> Any:
    """Make a tool of a function: one step of a job, with typed JSON arguments and result.

    Args:
        effects: `none` for a pure function, `read` where it looks at the world, `write` where
            it changes it. A write is never repeated unless it is idempotent.
        timeout: seconds after which a call counts as failed.
        retries: how often a failed call is tried again.
        idempotent: whether calling twice with one `idempotency_key` does no harm; by default
            True for what does not write.
        inline: call the function on the event loop itself, without a thread. It must take
            microseconds and wait for nothing, as every other job stands still meanwhile; its
            timeout is not enforced.
        labels: what the policy pass must know: `secret` where its result may not leave,
            `external` where what it is given leaves, `declassify` where its result is public
            whatever it was given.

    Raises:
        TraceError: at the definition, where its signature is not typed or an option is wrong.
    """

    def decorate(fn: Callable[..., Any]) -> Tool[..., Any]:
        signature = read_signature(fn, hidden=(IDEMPOTENCY_KEY,))
        _require_return(signature)
        _require_choice(signature, "effects", effects, EFFECTS)
        _require_positive(signature, "timeout", timeout)
        _require_count(signature, "retries", retries, minimum=0)
        options: dict[str, Any] = {"effects": effects, "timeout_s": float(timeout)}
        options["labels"] = _labels(signature, labels)
        if inline and inspect.iscoroutinefunction(fn):
            raise TraceError(
                f"{signature.name}() is async, and inline=True is for functions that never wait",
                where=signature.where,
                next_step="Leave inline= out: an async tool needs no thread anyway.",
            )
        options.update(retries=retries, idempotent=idempotent, inline=inline)
        return TOOLS.add(fn, lambda name: make_tool(name, fn, signature, **options))

    return decorate if fn is None else decorate(fn)


# Llm --------------------------------------------------------------------------------------


def llm(
    *,
    model: str,
    max_tokens: int,
    output: Any = None,
    grammar: Grammar | Tool[..., Any] | str | None = None,
    temperature: float = 0.0,
    top_p: float = 1.0,
    stop: Iterable[str] = (),
    system: str | None = None,
    template: str | None = None,
) -> Callable[[Callable[P, R]], Llm[P, R]]:
    """Make a model call of a function whose docstring is the prompt.

    `{name}` in the prompt is replaced by the parameter of that name; `{{` and `}}` are braces.
    Parameters named `seed` and `temperature` steer sampling instead. An answer that is not
    `str` is written under the JSON Schema of its type and parsed.

    Args:
        model: a name of the model catalogue.
        max_tokens: the longest answer, in tokens.
        output: type of the answer, where it is not the return annotation.
        grammar: what the answer must match: `lark(...)`, `regex(...)`, `json_schema(...)`,
            Lark text, or a tool that makes Lark text when the workflow runs (its parameters
            are taken from the llm's parameters of the same name).
        temperature: 0 is greedy.
        top_p: nucleus sampling bound.
        stop: texts that end the answer.
        system: system message, with {field} marks too.
        template: the prompt, where it is not the docstring.

    Raises:
        TraceError: at the definition, where prompt, types or options do not fit together.
    """

    def decorate(fn: Callable[P, R]) -> Llm[P, R]:
        parameters = read_signature(fn)
        prompt = template if template is not None else inspect.cleandoc(fn.__doc__ or "")
        messages, used = make_template(parameters, prompt, system)
        returns = _answer_type(parameters, output)
        bound = grammars.lark(grammar) if isinstance(grammar, str) else grammar
        text = type_name(returns) == "text" and is_assignable(str, returns)
        if bound is None and not text:
            bound = grammars.json_schema(returns)
        _require_count(parameters, "max_tokens", max_tokens, minimum=1)
        _check_grammar(parameters, bound)
        _check_used(parameters, used, bound)
        options = {
            "max_tokens": max_tokens,
            "temperature": float(temperature),
            "top_p": float(top_p) if top_p != 1.0 else None,
            "stop": list(stop) or None,
            "free": [key for key in used if is_free(parameters.fields[key].annotation)] or None,
        }
        made: Llm[P, R] = Llm(
            name=parameters.name,
            fn=fn,
            parameters=parameters,
            model=model,
            template=messages,
            used=used,
            returns=returns,
            output_format="text" if text else "json",
            grammar=bound,
            options=options,
        )
        LLMS.add(fn, lambda name: made)
        return made

    return decorate


def _answer_type(parameters: Signature, output: Any) -> Any:
    declared = parameters.returns
    if output is not None and declared is not EMPTY and not is_assignable(output, declared):
        raise TraceError(
            f"{parameters.name}() says output={output!r} but returns {declared!r}",
            where=parameters.where,
            next_step="Leave output= out, or make the two agree.",
        )
    if output is None:
        _require_return(parameters)
    return declared if output is None else output


def _check_grammar(parameters: Signature, grammar: Any) -> None:
    if grammar is None or isinstance(grammar, Grammar):
        return
    if not isinstance(grammar, Tool):
        raise TraceError(
            f"the grammar of {parameters.name}() is a {type(grammar).__name__}",
            where=parameters.where,
            next_step="Give Lark text, gl.lark, gl.regex, gl.json_schema, or a tool.",
        )
    if grammar.effects == "write":
        raise TraceError(
            f"the grammar of {parameters.name}() is made by {grammar.name}(), which writes",
            where=parameters.where,
            next_step='Declare the tool with effects="none" or effects="read".',
        )
    for name, field in grammar.parameters.fields.items():
        if field.required and name not in parameters.fields:
            raise TraceError(
                f"the grammar tool {grammar.name}() needs {name!r}, which {parameters.name}() "
                "does not take",
                where=parameters.where,
                next_step=f"Add the parameter {name!r} to {parameters.name}().",
            )


def _check_used(parameters: Signature, used: list[str], grammar: Any) -> None:
    if "cache" in parameters.fields:
        raise TraceError(
            f"{parameters.name}() has a parameter 'cache', which is what a call continues",
            where=parameters.where,
            next_step="Give the parameter another name.",
        )
    needed = set(used) | STEERING
    if isinstance(grammar, Tool):
        needed |= set(grammar.parameters.fields)
    for name in parameters.fields:
        if name not in needed:
            raise TraceError(
                f"parameter {name!r} of {parameters.name}() is not in its prompt",
                where=parameters.where,
                next_step=f"Write {{{name}}} where the prompt needs it, or drop the parameter.",
            )


# Checks -------------------------------------------------------------------------------------


def _require_return(signature: Signature) -> None:
    if signature.returns is EMPTY:
        raise TraceError(
            f"{signature.name}() has no return type",
            where=signature.where,
            next_step="Write for example `-> str` (or `-> None`).",
        )


def _require_choice(signature: Signature, name: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise TraceError(
            f"{name}={given!r} of {signature.name}() is not known",
            where=signature.where,
            next_step=f"Choose one of {', '.join(map(repr, known))}.",
        )


def _labels(signature: Signature, given: Sequence[str]) -> tuple[str, ...]:
    labels = (given,) if isinstance(given, str) else tuple(given)
    for label in labels:
        _require_choice(signature, "label", label, TOOL_LABELS)
    if "secret" in labels and "declassify" in labels:
        raise TraceError(
            f"{signature.name}() is labelled both secret and declassify",
            where=signature.where,
            next_step="Its result is the one or the other.",
        )
    return tuple(label for label in TOOL_LABELS if label in labels)


def _require_positive(signature: Signature, name: str, given: float | None) -> None:
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if given is not None and not (number and given > 0):
        raise TraceError(
            f"{name}={given!r} of {signature.name}() is not a positive number",
            where=signature.where,
            next_step=f"Write for example {name}=5.0.",
        )


def _require_count(signature: Signature, name: str, given: Any, *, minimum: int) -> None:
    if not isinstance(given, int) or isinstance(given, bool) or given < minimum:
        raise TraceError(
            f"{name}={given!r} of {signature.name}() is not a whole number of at least {minimum}",
            where=signature.where,
            next_step=f"Write for example {name}={max(minimum, 1)}.",
        )
