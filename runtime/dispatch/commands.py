"""What the dispatcher asks of the world around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gangline.ir.program import Stage
from gangline.ir.specs.request import SamplingParams

from .prefixes import Prefix


@dataclass(frozen=True, slots=True)
class Step:
    """One execution of a stage: what its record will say before anything is measured.

    `device` is what the plan says (a device name or id), `predicted_*` are per visit and None
    where the plan has no row for the stage. `attempt` counts from 1.
    """

    id: str
    stage: Stage
    device: str
    parents: tuple[str, ...] = ()
    attempt: int = 1
    predicted_s: float | None = None
    predicted_usd: float | None = None

    @property
    def where(self) -> str:
        """Name the step and the author's line, for errors."""
        return f"{self.stage.where}, step {self.id}" if self.stage.where else f"step {self.id}"


@dataclass(frozen=True, slots=True)
class RunTool:
    """Call the registered tool `name` with JSON `arguments`, if its signature still matches."""

    step: Step
    name: str
    arguments: Mapping[str, Any]
    signature: str
    effects: str
    timeout_s: float | None
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class Encode:
    """Turn chat messages into prompt tokens with the tokenizer of `model`.

    Of an `open` prompt the last message goes on (see `prompt.tokens_of`).
    """

    step: Step
    model: str
    messages: tuple[Mapping[str, str], ...]
    serving_device: str
    open: bool = False


@dataclass(frozen=True, slots=True)
class SubmitRequest:
    """Send one engine request that covers a prefill step and a decode step.

    `deadline_s` is absolute on the clock of the events; `remaining_s` is what the plan expects
    the job to need after this request. `prefixes` are beginnings that its prompt shares.
    """

    step: Step
    prefill: Step
    request_id: str
    model: str
    prompt_tokens: tuple[int, ...]
    sampling: SamplingParams
    deadline_s: float
    remaining_s: float
    prefixes: tuple[Prefix, ...] = ()


@dataclass(frozen=True, slots=True)
class Prefill:
    """Have an engine compute the beginning of prompts that are not known whole yet.

    It stays in the engine's prefix cache; requests that begin with these tokens find it there.
    """

    step: Step
    request_id: str
    model: str
    prompt_tokens: tuple[int, ...]
    deadline_s: float
    remaining_s: float
    prefixes: tuple[Prefix, ...] = ()


@dataclass(frozen=True, slots=True)
class Embed:
    """Have the engine of `model` embed a text: the value of an `embed` step.

    `prompt_tokens` is empty until the text is turned into tokens, which a worker does.
    """

    step: Step
    request_id: str
    model: str
    text: str
    deadline_s: float
    remaining_s: float
    prompt_tokens: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class UseMemory:
    """Look memory up, or change it: `lookup`, `store` or `observe`, as `step.stage.op` says.

    `named` are the values by the names of the stage's operands. A change happens once for one
    `idempotency_key`, however often it is asked for.
    """

    step: Step
    space: str
    named: Mapping[str, Any]
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class ParseOutput:
    """Turn generated text into the value of a `detokenize` step (`format`: text or json)."""

    step: Step
    text: str
    format: str


@dataclass(frozen=True, slots=True)
class AskPerson:
    """Ask a person; the answer, which must fit the JSON Schema, becomes the step's value.

    With `findings` the question is whether the step may run at all.
    """

    step: Step
    question: str
    schema: Mapping[str, Any]
    findings: Sequence[Mapping[str, Any]] = ()

    def interrupt(self) -> dict[str, Any]:
        """Give the question as `step.started` records it."""
        told = {
            "id": self.step.id,
            "question": self.question,
            "schema": dict(self.schema),
            "choices": self.schema.get("enum"),
        }
        return {**told, "findings": list(self.findings)} if self.findings else told


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """Check a plan written at run time and record it as the value of an `expand` step."""

    step: Step
    plan: Any


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """Read a plan line by line and record each line, as a `step.planned` of an `expand` step.

    `text` is the whole plan, or None while the decode step `writer` writes it.
    """

    step: Step
    writer: str
    text: str | None


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Tell the engine that nobody waits for this request any more."""

    request_id: str
    step_id: str


@dataclass(frozen=True, slots=True)
class CancelTool:
    """Tell a tool that nobody wants its result any more.

    One that writes is only told (`by_force` False): it may look and stop, and how it ended is
    waited for.
    """

    step_id: str
    by_force: bool


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Record `step.retrying` for the step once `delay_s` has passed."""

    step: Step
    delay_s: float


@dataclass(frozen=True, slots=True)
class Complete:
    """The job has its output; `late` if its soft deadline had passed."""

    output: Any
    late: bool


@dataclass(frozen=True, slots=True)
class Fail:
    """The job stops without output; `type` is the event to record, `error` says why.

    Without an error the job waits for answers to its questions.
    """

    type: str
    error: Mapping[str, str] | None
    step_id: str = ""


Command = (
    RunTool
    | Encode
    | SubmitRequest
    | Prefill
    | Embed
    | UseMemory
    | ParseOutput
    | AskPerson
    | CheckPlan
    | ReadPlan
    | CancelRequest
    | CancelTool
    | RetryAfter
    | Complete
    | Fail
)
Request = SubmitRequest | Prefill | Embed
"""Commands that engines carry out."""
Call = RunTool | Encode | UseMemory
"""Commands that a host carries out, and that give a value."""
Work = Call | Request | ParseOutput | AskPerson | CheckPlan | ReadPlan
"""Commands that carry out a step."""
