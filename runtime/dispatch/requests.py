"""From an activation to the command that carries it out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gangline.ir.errors import StepError
from gangline.ir.specs.request import Grammar, SamplingParams

from .commands import (
    AskPerson,
    CheckPlan,
    Embed,
    Encode,
    ParseOutput,
    Prefill,
    ReadPlan,
    RunTool,
    Step,
    SubmitRequest,
    UseMemory,
    Work,
)
from .expansion import WrittenPlan
from .interpreter import Activation, KvHandle
from .layout import reads_lines
from .prompt import render


def work_for(
    activation: Activation,
    step: Step,
    job_id: str,
    prefill: Step | None,
    due: tuple[float, float],
    serving_device: str,
) -> Work:
    """Build the command of a step that is no tool; StepError if the values it reads do not fit.

    `due` is (absolute deadline, seconds expected after this step); `prefill` belongs to decode;
    `serving_device` is where the tokens of a tokenize step will be read.
    """
    attributes, named = step.stage.attributes, _named(activation)
    match step.stage.op:
        case "tokenize":
            messages = render(attributes["template"], named, step.where)
            is_open = bool(attributes.get("open", False))
            return Encode(step, attributes["model"], messages, serving_device, is_open)
        case "decode":
            handle = activation.operands[0]
            assert isinstance(handle, KvHandle) and prefill is not None
            return SubmitRequest(
                step=step,
                prefill=prefill,
                request_id=f"{job_id}:{step.id}:{step.attempt}",
                model=attributes["model"],
                prompt_tokens=handle.tokens,
                sampling=_sampling(attributes, named, step.where),
                deadline_s=due[0],
                remaining_s=due[1],
                prefixes=handle.prefixes,
            )
        case "prefill":
            begun: KvHandle = activation.operands[0]
            return Prefill(
                step=step,
                request_id=f"{job_id}:{step.id}:{step.attempt}",
                model=attributes["model"],
                prompt_tokens=begun.tokens,
                deadline_s=due[0],
                remaining_s=due[1],
                prefixes=begun.prefixes,
            )
        case "embed":
            return Embed(
                step=step,
                request_id=f"{job_id}:{step.id}:{step.attempt}",
                model=attributes["model"],
                text=_plain_text(activation.operands[0]),
                deadline_s=due[0],
                remaining_s=due[1],
            )
        case "detokenize":
            text = activation.operands[0]["text"]
            return ParseOutput(step, text, attributes.get("format", "text"))
        case "ask":
            return _ask(step, attributes, named)
        case "expand":
            return _plan(step, named["plan"])
        case op:
            raise StepError(f"The dispatcher cannot run a stage of op {op!r}", where=step.where)


def _plain_text(value: Any) -> str:
    """Give the text to embed: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _plan(step: Step, plan: Any) -> CheckPlan | ReadPlan:
    if isinstance(plan, WrittenPlan):
        return ReadPlan(step, plan.step_id, plan.text)
    if not reads_lines(step.stage):
        return CheckPlan(step, plan)
    text = plan.get("text") if isinstance(plan, Mapping) else plan
    if not isinstance(text, str):
        raise StepError(
            f"The plan of {step.stage.name} is no text, but a {type(plan).__name__}",
            where=step.where,
            next_step='Give gl.expand the text of a plan, or leave form="lines" out.',
        )
    return ReadPlan(step, "", text)


def _named(activation: Activation) -> dict[str, Any]:
    skip = 1 if activation.stage.op == "decode" else 0
    names = activation.stage.attributes.get("names", ())
    return dict(zip(names, activation.operands[skip:], strict=False))


def tool_call(activation: Activation, step: Step, idempotency_key: str) -> RunTool:
    """Build the command of a tool step; the key stays the same for all its attempts."""
    attributes = step.stage.attributes
    return RunTool(
        step=step,
        name=attributes["tool"],
        arguments=_named(activation),
        signature=attributes.get("signature", ""),
        effects=attributes.get("effects", "write"),
        timeout_s=attributes.get("timeout_s"),
        idempotency_key=idempotency_key,
    )


def memory_call(activation: Activation, step: Step, idempotency_key: str) -> UseMemory:
    """Build the command of a step that uses memory; the key as that of `tool_call`."""
    space = step.stage.attributes["space"]
    return UseMemory(step, space, _named(activation), idempotency_key)


def _ask(step: Step, attributes: Mapping[str, Any], named: Mapping[str, Any]) -> AskPerson:
    question, schema = named["question"], attributes["schema"]
    if not isinstance(question, str):
        raise StepError("The question of gl.ask is no text", where=step.where)
    if "choices" in named:
        choices = named["choices"]
        if not isinstance(choices, list) or not choices:
            raise StepError(
                "The choices of gl.ask are no list, or an empty one",
                where=step.where,
                next_step="Give gl.ask a list with at least one choice.",
            )
        schema = {**schema, "enum": choices}
    return AskPerson(step, question, schema)


def _sampling(
    attributes: Mapping[str, Any], named: Mapping[str, Any], where: str
) -> SamplingParams:
    options = {key: value for key, value in {**attributes, **named}.items() if value is not None}
    try:
        return SamplingParams(
            max_tokens=int(options["max_tokens"]),
            temperature=float(options.get("temperature", 0.0)),
            top_p=float(options.get("top_p", 1.0)),
            seed=int(options.get("seed", 0)),
            stop=tuple(options.get("stop", ())),
            grammar=_grammar(options.get("grammar")),
            ignore_eos=bool(options.get("ignore_eos", False)),
        )
    except (TypeError, ValueError, KeyError) as error:
        raise StepError(
            f"A sampling option cannot be used: {error}",
            where=where,
            next_step="Check seed, temperature, max_tokens and grammar of this llm call.",
        ) from None


def _grammar(value: Any) -> Grammar | None:
    if value is None or isinstance(value, Grammar):
        return value
    if isinstance(value, str):
        return Grammar("lark", value)
    return Grammar(str(value["kind"]), str(value["text"]))
