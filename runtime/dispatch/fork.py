"""Fork a job at a step, or retry it from one: pure functions on events.

Both ask the same question: which recorded results still hold when a step is to run again? The
program is walked with the recorded results, the step's own is held back, and whatever becomes
ready and was recorded with the same operands still holds. The rest came after the step.

    fork        a new job whose log begins with the results that hold
    retry_from  data of a job.started event; `effective` then reads the log without the others
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gangline.ir.errors import ConflictError, NotFoundError
from gangline.ir.program import Program
from gangline.ir.specs.event import Event
from gangline.runtime.redact import redacted

from .expansion import WrittenPlan
from .interpreter import Activation, Interpreter, KvHandle
from .job import check_inputs, check_secrets
from .policing import GATE
from .programs import program_of

_KEPT = ("op", "stage", "device", "parents", "attempt", "value", "error", "kept", "step")
_STEP_EVENTS = frozenset(
    {"step.started", "step.planned", "step.completed", "step.failed", "step.retrying"}
)


def fork(
    events: Sequence[Event],
    step_id: str | None,
    *,
    job_id: str,
    now: float,
    inputs: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> list[Event]:
    """Give the log of a new, queued job that goes on from before `step_id`.

    What does not come after the step keeps its recorded result, unless other `inputs` reach it.
    Kept results cost and took nothing here. Without a step nothing is kept.

    Args:
        events: the old job's log; the job may be in any state.
        inputs: values for some of the inputs; the others stay.
        changes: other members of the job.queued data, such as `deadline_s` or `priority`.

    Raises:
        NotFoundError: the old job never came to this step.
        InputError: an input does not exist, or was a secret and is not given again.
    """
    log = effective(events)
    queued = log[0]
    given = {**queued.data["inputs"], **(inputs or {})}
    check_inputs(_program(queued), given)
    check_secrets(given)
    kept = [] if step_id is None else _kept(log, step_id, given)
    data = {**queued.data, **(changes or {}), "inputs": given}
    data.update(forked_from=queued.job_id, forked_at=step_id or "", recorded=len(kept))
    first = Event(job_id, 1, "job.queued", now, "", data)
    return [first, *(_copy(job_id, at, event, now) for at, event in enumerate(kept, 2))]


def _kept(log: Sequence[Event], step_id: str, given: Mapping[str, Any]) -> list[Event]:
    """Give the recorded results that still hold when a step runs again on these inputs."""
    queued, program, recorded = log[0], _program(log[0]), _Recorded(log)
    before, _ = _walk(program, _unmasked(queued.data["inputs"], given), recorded, _never)
    held = _held(step_id, before, queued.job_id)

    def stale(activation: Activation) -> bool:
        known = before.get(activation.id)
        same = known is not None and (known.operands, known.stage) == (
            activation.operands,
            activation.stage,
        )
        return activation.id in held or not same

    after, gone = _walk(program, given, recorded, stale)
    holds = _holding(after, recorded, gone)
    reading = recorded.lines.keys() & after.keys() - gone - holds
    return [
        event
        for event in log
        if (_ends(event) and event.step_id in holds)
        or (event.type == "step.planned" and event.step_id in reading)
    ]


def retry_from(events: Sequence[Event], step_id: str, rerun: Iterable[str] = ()) -> dict[str, Any]:
    """Give the data of the job.started event that runs a step, and what came after it, again.

    Args:
        rerun: writing steps after `step_id` that a person has confirmed may run a second time.

    Raises:
        NotFoundError: the job never came to this step.
        ConflictError: writing steps would run again and are not in `rerun`.
    """
    log = effective(events)
    program, recorded = _program(log[0]), _Recorded(log)
    before, _ = _walk(program, log[0].data["inputs"], recorded, _never)
    held = _held(step_id, before, log[0].job_id)

    def stale(activation: Activation) -> bool:
        return activation.id in held

    after, gone = _walk(program, log[0].data["inputs"], recorded, stale)
    holds = _holding(after, recorded, gone)
    # A step that is ready again but has no result yet keeps its history: what an attempt of it
    # may have written has to be asked about.
    known = holds | after.keys() - gone | {GATE}
    seen = dict.fromkeys(event.step_id for event in log if event.type in _STEP_EVENTS)
    dropped = [name for name in seen if name not in known]
    _must_be_confirmed([before[name] for name in dropped if name in before], held, rerun, log)
    spent_usd = sum(_usd(event) for event in log if event.step_id in set(dropped))
    return {"from_step": step_id, "dropped": dropped, "spent_usd": spent_usd}


def effective(events: Sequence[Event], dropped: Iterable[str] = ()) -> list[Event]:
    """Give a log without the step events that a later retry from a step took back.

    `dropped` are taken back by a retry that is about to be recorded.
    """
    gone = set(dropped)
    kept: list[Event] = []
    # Invariant: `gone` holds what the events after this one have taken back.
    for event in reversed(events):
        if event.type == "job.started":
            gone.update(event.data.get("dropped", ()))
        if not (event.step_id in gone and event.type in _STEP_EVENTS):
            kept.append(event)
    kept.reverse()
    return kept


def _never(_: Activation) -> bool:
    return False


def _program(queued: Event) -> Program:
    return program_of(queued.data["program"])


class _Recorded:
    """What a log says of steps: how they ended, and lines of plans by the expand's id."""

    def __init__(self, log: Sequence[Event]) -> None:
        self.ends = {event.step_id: event for event in log if _ends(event)}
        self.lines: dict[str, list[Any]] = {}
        for event in log:
            if event.type == "step.planned":
                self.lines.setdefault(event.step_id, []).append(event.data["step"])


def _ends(event: Event) -> bool:
    """Say whether an event gives a step's outcome, which may be a failure that is kept."""
    kept = event.type == "step.failed" and event.data.get("kept", False)
    return event.type == "step.completed" or kept


def _unmasked(inputs: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Put secrets that were given again where the log has only their mask."""
    return {
        name: given[name] if isinstance(value, str) and redacted(value) else value
        for name, value in inputs.items()
    }


def _walk(
    program: Program,
    inputs: Mapping[str, Any],
    recorded: _Recorded,
    stale: Callable[[Activation], bool],
) -> tuple[dict[str, Activation], set[str]]:
    """Run the program on recorded results.

    Gives every step that became ready, by id, and the ids of those whose record does not hold.
    """
    interpreter = Interpreter(program)
    interpreter.start([inputs.get(row.name, row.default) for row in program.inputs])
    found: dict[str, Activation] = {}
    gone: set[str] = set()
    # Invariant: every step in `found` that is recorded and not in `gone` has been finished. A
    # decode comes before the expand that reads what it writes.
    while interpreter.ready:
        activation = interpreter.ready.popleft()
        found[activation.id] = activation
        if stale(activation) or _writer(activation) in gone:
            gone.add(activation.id)
        else:
            _take(interpreter, activation, recorded)
    return found, gone


def _take(interpreter: Interpreter, activation: Activation, recorded: _Recorded) -> None:
    event = recorded.ends.get(activation.id)
    if event is None:
        for step in recorded.lines.get(activation.id, ()):
            interpreter.plan(activation, step)
    elif event.type == "step.failed":
        interpreter.fail(activation, event.data["error"]["detail"])
    else:
        interpreter.finish(activation, event.data.get("value"))


def _writer(activation: Activation) -> str:
    """Name the decode whose text an expand reads while it is written; empty for others."""
    plan = activation.operands[0] if activation.operands else None
    return plan.step_id if isinstance(plan, WrittenPlan) else ""


def _holding(
    found: Mapping[str, Activation],
    recorded: _Recorded,
    gone: set[str],
) -> set[str]:
    """Give the ids of recorded results that hold, with the prefills their decodes came from."""
    holds = (found.keys() & recorded.ends.keys()) - gone
    return holds | {found[name].operands[0].step_id for name in holds if _is_decode(found[name])}


def _held(step_id: str, before: Mapping[str, Activation], job_id: str) -> frozenset[str]:
    """Give the steps to hold back: the step itself, or the decodes of a prefill."""
    decodes = (step for step in before.values() if _is_decode(step))
    held = {step.id for step in decodes if step.operands[0].step_id == step_id}
    held.update({step_id} & before.keys())
    if not held:
        raise NotFoundError(
            f"Job {job_id} has not come to a step {step_id!r}",
            where=f"job {job_id}",
            next_step=f"Its steps are listed by: gangline jobs show {job_id}",
        )
    return frozenset(held)


def _is_decode(step: Activation) -> bool:
    return step.stage.op == "decode" and isinstance(step.operands[0], KvHandle)


def _must_be_confirmed(
    steps: Sequence[Activation], held: frozenset[str], rerun: Iterable[str], log: Sequence[Event]
) -> None:
    begun = {event.step_id for event in log if event.type == "step.started"}
    allowed = held | set(rerun)
    asked = [
        step.id
        for step in steps
        if step.id in begun
        and step.id not in allowed
        and step.stage.op == "tool"
        and step.stage.attributes.get("effects", "write") == "write"
        and not step.stage.attributes.get("idempotent")
    ]
    if asked:
        raise ConflictError(
            f"Steps that write would run a second time: {', '.join(asked)}",
            where=f"job {log[0].job_id}",
            next_step="Name each of them in `rerun` if they may.",
        )


def _usd(event: Event) -> float:
    ended = event.type in ("step.completed", "step.failed")
    return float(event.data.get("usd") or 0.0) if ended else 0.0


def _copy(job_id: str, seq: int, event: Event, now: float) -> Event:
    data = {name: event.data[name] for name in _KEPT if name in event.data}
    data["from_job"] = event.job_id
    if event.type != "step.planned":
        data.update(start_s=None, end_s=None, usd=0.0)
    return Event(job_id, seq, event.type, now, event.step_id, data)
