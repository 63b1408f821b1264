"""The runtime as one call: what `Workflow.run` and the CLI use."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gangline.backends.base import Backend
from gangline.ir.errors import InputError, from_json
from gangline.ir.specs.event import Event
from gangline.ir.specs.fleet import Fleet
from gangline.ir.specs.policy import Grant, Policy

from .dispatch.answers import the_only
from .dispatch.fork import fork
from .dispatch.job import JobResult, result_of
from .execution.surroundings import OnEvent
from .job_id import new_job_id
from .session import Options, Session
from .store import Store

if TYPE_CHECKING:
    from gangline.workflows.workflow import Workflow

_sessions: dict[str, Session] = {}
"""Sessions by fleet, kept open until the process ends: engines stay warm between calls."""
_lock = threading.Lock()


def run_workflow(
    workflow: Workflow[..., Any],
    inputs: Mapping[str, Any],
    *,
    fleet: Fleet | str | None = None,
    deadline: float | None = None,
    on_deadline: str = "late",
    budget_usd: float | None = None,
    model: str | None = None,
    backends: Mapping[str, Backend] | None = None,
    store: Store | None = None,
    on_event: OnEvent | None = None,
    policy: Policy | None = None,
    grants: Sequence[Grant] = (),
) -> JobResult:
    """Run one job here and now; raises the job's error unless it succeeded."""
    result = run_job(
        workflow,
        inputs,
        fleet=fleet,
        deadline_s=deadline,
        on_deadline=on_deadline,
        budget_usd=budget_usd,
        model=model,
        backends=backends,
        store=store,
        on_event=on_event,
        policy=policy,
        grants=grants,
    )
    if result.status != "succeeded":
        raise from_json(dict(result.error or {"code": "job", "detail": f"It {result.status}."}))
    return result


def run_job(
    workflow: Workflow[..., Any],
    inputs: Mapping[str, Any],
    *,
    fleet: Fleet | str | None = None,
    deadline_s: float | None = None,
    on_deadline: str = "late",
    budget_usd: float | None = None,
    model: str | None = None,
    source: str = "",
    backends: Mapping[str, Backend] | None = None,
    store: Store | None = None,
    on_event: OnEvent | None = None,
    policy: Policy | None = None,
    grants: Sequence[Grant] = (),
) -> JobResult:
    """Run one job and give its result, failed or not.

    `on_deadline` is `late` (a late job finishes) or `expire` (it ends at its deadline). `policy`
    and `grants` say what the graph and its plans may do, beside what its author says.

    Raises:
        PolicyError: the policy refuses the workflow; nothing was stored.
    """
    options = Options(
        deadline_s,
        budget_usd,
        model,
        source,
        on_deadline=on_deadline,
        policy=policy,
        grants=tuple(grants),
    )
    with open_session(fleet, backends, store) as session:
        return session.run(workflow, inputs, options, on_event)


def retry_job(
    job: str,
    *,
    inputs: Mapping[str, Any] | None = None,
    rerun: frozenset[str] = frozenset(),
    from_step: str = "",
    fleet: Fleet | str | None = None,
    backends: Mapping[str, Backend] | None = None,
    store: Store | None = None,
    on_event: OnEvent | None = None,
) -> JobResult:
    """Continue a stored job; what is recorded is not run again.

    `job` may be a unique beginning or end of an id; `rerun` names writing steps that a person
    has confirmed may run a second time; `from_step` names a step to run again with all that came
    after it.
    """
    with open_session(fleet, backends, store) as session:
        job_id, _ = _stored(session, job)
        return session.executor.resume(
            job_id, inputs=inputs, rerun=rerun, from_step=from_step, on_event=on_event
        )


def resume_job(
    job: str,
    interrupt: str,
    value: Any,
    *,
    inputs: Mapping[str, Any] | None = None,
    fleet: Fleet | str | None = None,
    backends: Mapping[str, Backend] | None = None,
    store: Store | None = None,
    on_event: OnEvent | None = None,
) -> JobResult:
    """Answer a question of a stored job and continue it here.

    Args:
        job: a unique beginning or end of its id.
        interrupt: the id of the question; empty where there is only one.
        value: the answer, as JSON (`answers.read_answer` reads what a person typed).

    Raises:
        ConflictError: the job does not ask this.
        InputError: the value does not fit the question's JSON Schema.
    """
    with open_session(fleet, backends, store) as session:
        job_id, events = _stored(session, job)
        name = interrupt or the_only(result_of(events).interrupts, job_id)
        return session.executor.resume(
            job_id, inputs=inputs, answers={name: value}, on_event=on_event
        )


def fork_job(
    job: str,
    step: str,
    *,
    inputs: Mapping[str, Any] | None = None,
    fleet: Fleet | str | None = None,
    backends: Mapping[str, Backend] | None = None,
    store: Store | None = None,
    on_event: OnEvent | None = None,
) -> JobResult:
    """Run a new job that goes on from before a step of a stored one, maybe with other inputs.

    Recorded results that do not come after the step, and that no changed input reaches, are kept.
    """
    with open_session(fleet, backends, store) as session:
        assert session.store is not None
        _, events = _stored(session, job)
        now = time.time()
        log = fork(events, step, job_id=new_job_id(now), now=now, inputs=inputs)
        owner, workflow = session.executor.owner, log[0].data.get("workflow", "")
        session.store.create(log[0], workflow, owner, more=log[1:]).result()
        return session.executor.resume(log[0].job_id, inputs=inputs, on_event=on_event)


def _stored(session: Session, part: str) -> tuple[str, list[Event]]:
    """Give the id and the events of a stored job, with the tools of its file registered."""
    assert session.store is not None
    job_id = session.store.resolve(part)
    events = session.store.events(job_id)
    source = events[0].data.get("source")
    if source:
        from gangline.workflows.registry import load

        load(source)
    return job_id, events


@contextmanager
def open_session(
    fleet: Fleet | str | None = None,
    backends: Mapping[str, Backend] | None = None,
    store: Store | None = None,
) -> Iterator[Session]:
    """Give a session: one that stays warm for the process, or one of one's own parts."""
    if backends is None and store is None:
        yield _shared(fleet)
        return
    with Session(_fleet(fleet), backends, store) as session:
        yield session


def _shared(fleet: Fleet | str | None) -> Session:
    key = fleet if isinstance(fleet, str) else repr(fleet)
    with _lock:
        if key not in _sessions:
            if not _sessions:
                atexit.register(_end)
            _sessions[key] = Session(_fleet(fleet))
        return _sessions[key]


def close_sessions() -> None:
    """Close the sessions that were kept open."""
    while _sessions:
        _sessions.popitem()[1].close()


def _end() -> None:
    """Close the sessions, and wait for models that still load: torch must not lose its
    interpreter in the middle of that."""
    close_sessions()
    for thread in threading.enumerate():
        if thread.name.startswith("engine-"):
            thread.join()


def _fleet(fleet: Fleet | str | None) -> Fleet | None:
    if not isinstance(fleet, str):
        return fleet
    if not Path(fleet).exists():
        raise InputError(
            "There is no such fleet file", where=fleet, next_step="Check the path of --fleet."
        )
    from gangline.planner.fleet_file import load_fleet

    from .machine.probe import detect

    return load_fleet(fleet, cpu=detect())


def open_fleet(fleet: Fleet | str | None) -> Fleet:
    """Give the fleet of a file, or this machine's own where none is named."""
    from .machine.default_backends import default_fleet

    return _fleet(fleet) or default_fleet()


def explain_workflow(workflow: Workflow[..., Any], inputs: Mapping[str, Any]) -> str:
    """Give a workflow as MLIR, and where on this machine its stages would run, as text.

    The inputs do not matter yet: a plan is made from what jobs of the workflow usually do.
    """
    from gangline.planner.proposal import propose
    from gangline.planner.report import text_table

    from .machine.models import catalogue

    plan = propose(workflow.program(), None, open_fleet(None), catalogue(), strict=False)
    return f"{workflow.trace().text}\n{text_table(plan)}"
