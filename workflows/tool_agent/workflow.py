"""The workflow: plan under the grammar of the tools, run while it is written, re-plan once, answer."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from gangline.ir.errors import InputError, TraceError
from gangline.workflows.branching import branch
from gangline.workflows.combinators import record
from gangline.workflows.decorators import llm, tool, workflow
from gangline.workflows.expanding import expand
from gangline.workflows.grammar import lark
from gangline.workflows.plan_outcome import PlannedCall, PlanOutcome
from gangline.workflows.sources import author_line
from gangline.workflows.tool import Tool
from gangline.workflows.values import Database
from gangline.workflows.workflow import Workflow

from . import prompts, settings
from .described import call_shape, report, signatures
from .grammar import plan_grammar
from .tools import BUNDLED


class ToolAnswer(BaseModel):
    """What a tool agent gives: the answer, every call it rests on, and how many plans it took."""

    answer: str
    calls: list[PlannedCall]
    plans: int
    error: str


@tool(effects="none", timeout=5.0)
def check_asked(question: str) -> str:
    """Give the question in one line; InputError when nothing is asked, or too much."""
    asked = " ".join(question.split())
    if not asked or len(asked) > settings.MAX_QUESTION_CHARS:
        raise InputError(
            "The question is empty" if not asked else "The question is too long",
            where="question",
            next_step='Ask something, for example question="How many miles are 42 km?".',
        )
    return asked


@tool(effects="none", timeout=5.0)
def told(outcome: PlanOutcome) -> str:
    """Tell a model what became of a plan."""
    return report(outcome) or "none"


@tool(effects="none", timeout=5.0)
def joined(first: PlanOutcome, second: PlanOutcome) -> PlanOutcome:
    """Join what a plan gave and what its re-plan gave; the second says whether it went well."""
    good = [call for call in first.calls if not call.error]
    later = [call.model_copy(update={"id": f"again.{call.id}"}) for call in second.calls]
    return PlanOutcome(ok=second.ok, calls=[*good, *later], error=second.error)


@tool(effects="none", timeout=5.0)
def is_answerable(outcome: PlanOutcome) -> bool:
    """Say whether a model may answer: a plan without calls, or with one that gave a result."""
    return not outcome.calls or any(not call.error for call in outcome.calls)


@tool(effects="none", timeout=5.0)
def no_answer(outcome: PlanOutcome) -> str:
    """Say why there is no answer. A small model would make one up."""
    return f"There is no answer: no call gave a result ({outcome.calls[0].error})."


def make_tool_agent(
    tools: Sequence[Tool[..., Any]],
    *,
    name: str = "assistant",
    model: str = settings.MODEL,
    max_steps: int = settings.MAX_STEPS,
    examples: Sequence[tuple[str, str]] = (),
    granted: Sequence[Tool[..., Any]] = (),
    deadline: float = settings.DEADLINE_S,
) -> Workflow[..., Any]:
    """Make a workflow that answers a question with tools, along a plan that a model writes.

    The plan is written under a grammar made from the tools' schemas, so that only known tools are
    called, with arguments of their types. Each call starts as soon as its line is written and
    what it refers to is there. If a call fails, the failures are shown to the model, which may
    plan once more; then it answers from what the calls gave.

    The workflow takes `question`, and `db` if a tool takes a `Database`. Give it a name of its
    own in your file: `assistant = gl.make_tool_agent([search, weather], name="assistant")`.

    Args:
        tools: what a plan may call, by the names of their functions; a docstring's first
            paragraph is what the model is told.
        name: what the workflow is called.
        model: the model that plans and answers.
        max_steps: most calls of a plan.
        examples: questions with their plans, as the model should write them; by default one
            that calls the first tool. A small model needs one of every kind of plan.
        granted: tools that write and that plans may call without asking a person first.
        deadline: seconds one question should take at most.

    Raises:
        TraceError: no tools, or one whose parameters no grammar can say.
    """
    given = _databases(tools)
    shapes = [call_shape(found, given) for found in tools]
    shown = "\n\n".join(
        f"Question: {asked}\nPlan:\n{written}"
        for asked, written in (examples or [_example(tools, given)])
    )
    listed, grammar = signatures(tools, given), lark(plan_grammar(shapes, max_steps))

    @llm(
        model=model,
        max_tokens=settings.MAX_PLAN_TOKENS,
        grammar=grammar,
        template=prompts.PLAN,
    )
    def plan(tools: str, examples: str, question: str) -> str:
        """Write a plan."""

    @llm(
        model=model,
        max_tokens=settings.MAX_PLAN_TOKENS,
        grammar=grammar,
        template=prompts.AGAIN,
    )
    def plan_again(tools: str, examples: str, question: str, report: str) -> str:
        """Write a plan, knowing what went wrong with the first."""

    @llm(model=model, max_tokens=settings.MAX_ANSWER_TOKENS, template=prompts.ANSWER)
    def answer(question: str, results: str) -> str:
        """Answer from the results."""

    def run(text: str, called: str, filled: Mapping[str, Any]) -> PlanOutcome:
        return expand(
            text,
            tools=tools,
            max_steps=max_steps,
            given=filled,
            granted=granted,
            name=called,
            form="lines",
            on_error="keep",
        )

    def flow(question: str, filled: Mapping[str, Any]) -> ToolAnswer:
        checked = check_asked(question)
        first = run(plan(listed, shown, checked), "calls", filled)

        def again() -> PlanOutcome:
            text = plan_again(listed, shown, checked, told(first))
            return joined(first, run(text, "more_calls", filled))

        last = branch(first.ok, lambda: first, again)
        return record(
            ToolAnswer,
            answer=branch(
                is_answerable(last),
                lambda: answer(checked, told(last)),
                lambda: no_answer(last),
            ),
            calls=last.calls,
            plans=branch(first.ok, lambda: 1, lambda: 2),
            error=last.error,
        )

    return workflow(deadline=deadline)(_named(name, flow, given))


def _named(
    name: str, flow: Callable[[str, Mapping[str, Any]], ToolAnswer], given: Sequence[str]
) -> Callable[..., ToolAnswer]:
    """Make the function of a workflow: a question, and a database where tools want one."""

    def with_database(question: str, db: Database = "example") -> ToolAnswer:
        return flow(question, dict.fromkeys(given, db))

    def plain(question: str) -> ToolAnswer:
        return flow(question, {})

    fn: Callable[..., ToolAnswer] = with_database if given else plain
    caller = sys._getframe(2).f_globals.get("__name__", __name__)
    fn.__name__ = fn.__qualname__ = name
    fn.__module__ = str(caller)
    fn.__doc__ = "Answer a question with tools, along a plan that a model writes."
    return fn


def _databases(tools: Sequence[Tool[..., Any]]) -> list[str]:
    """Name the parameters of tools that are databases: a plan may not choose them."""
    if not tools or not all(isinstance(found, Tool) for found in tools):
        raise TraceError(
            "a tool agent needs a list of tools",
            where=author_line(),
            next_step="Give functions decorated with @gl.tool.",
        )
    found = (
        key
        for each in tools
        for key, field in each.parameters.fields.items()
        if field.annotation == Database
    )
    return list(dict.fromkeys(found))


def _example(tools: Sequence[Tool[..., Any]], given: Sequence[str]) -> tuple[str, str]:
    """Make up an example: the first tool, twice, without and with a reference."""
    name = tools[0].fn.__name__
    arguments = ", ".join(f"{key}=..." for key in call_shape(tools[0], given).required)
    return "(another one)", f"1. {name}({arguments})\n2. join()"


tool_agent = make_tool_agent(BUNDLED, name="tool_agent", examples=prompts.EXAMPLES)
"""Answer a question with the bundled tools."""
