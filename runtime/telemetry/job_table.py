"""What telemetry must know of a job to make sense of its next event."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gangline.ir.specs.event import END_EVENTS, Event

MAX_JOBS = 50_000
"""Jobs kept; one that is pushed out is read from the log again when it goes on."""

NO_ATTRIBUTES: Mapping[str, Any] = {}

ReadLog = Callable[[str], Sequence[Event]]


@dataclass(slots=True)
class JobFacts:
    """One job.

    Attributes:
        trace: the W3C traceparent of whoever submitted it, or empty.
        stages: attributes of the program's stages by name.
        run: the number of the event that began this run: 0 for the first one, which a restart
            of the server does not end; a job that ended and is retried begins another.
        sampled: whether the job's trace is kept; None before anybody asked.
        prefills: start and end of prefill steps, in seconds since the job started.
        tokens_at_s: when the last tokens of a running step came.
    """

    job_id: str
    workflow: str = ""
    tenant: str = ""
    trace: str = ""
    queued_s: float = 0.0
    started_s: float = 0.0
    predicted_s: float | None = None
    predicted_usd: float | None = None
    stages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    run: int = 0
    ended: bool = False
    usd: float = 0.0
    sampled: bool | None = None
    prefills: dict[str, tuple[float, float]] = field(default_factory=dict)
    tokens_at_s: dict[str, float] = field(default_factory=dict)

    def attributes(self, event: Event) -> Mapping[str, Any]:
        """Give the attributes of the stage that a step's event is about."""
        return self.stages.get(str(event.data.get("stage", "")), NO_ATTRIBUTES)

    def model(self, event: Event) -> str:
        """Give the model of a step, or empty."""
        return str(self.attributes(event).get("model", ""))


class JobTable:
    """Facts of the jobs that are under way.

    Args:
        read_log: gives all events of a job, for one that began elsewhere.
    """

    def __init__(self, read_log: ReadLog | None = None, max_jobs: int = MAX_JOBS) -> None:
        self._read_log = read_log
        self._max_jobs = max_jobs
        self._jobs: OrderedDict[str, JobFacts] = OrderedDict()
        self._programs: OrderedDict[str, Mapping[str, Mapping[str, Any]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._jobs)

    def before(self, event: Event) -> JobFacts:
        """Give the job as it is with this event; call `after` once the event has been told."""
        job = self._jobs.get(event.job_id)
        if job is None:
            job = self._jobs[event.job_id] = self._found(event)
            if len(self._jobs) > self._max_jobs:
                self._jobs.popitem(last=False)
        self._fold(job, event)
        return job

    def after(self, event: Event) -> None:
        """Forget what the event has made needless."""
        if event.type in END_EVENTS:
            self._jobs.pop(event.job_id, None)

    def _found(self, event: Event) -> JobFacts:
        job = JobFacts(event.job_id, queued_s=event.at_s, started_s=event.at_s)
        if event.type == "job.queued" or self._read_log is None:
            return job
        for past in self._read_log(event.job_id):
            if 0 < event.seq <= past.seq:
                break
            self._fold(job, past)
        return job

    def _fold(self, job: JobFacts, event: Event) -> None:
        data = event.data
        match event.type:
            case "job.queued":
                self._queued(job, event)
            case "job.started":
                if job.ended:
                    job.run, job.ended = event.seq, False
                if not data.get("resumed"):
                    job.started_s = event.at_s
            case "step.completed" | "step.failed":
                job.usd += data.get("usd") or 0.0
                if data.get("op") == "prefill" and event.type == "step.completed":
                    span = (float(data.get("start_s", 0.0)), float(data.get("end_s", 0.0)))
                    job.prefills[event.step_id] = span
        if event.type in END_EVENTS:
            job.ended = True

    def _queued(self, job: JobFacts, event: Event) -> None:
        data = event.data
        job.workflow = str(data.get("workflow", ""))
        job.tenant = str(data.get("tenant") or "")
        job.trace = str(data.get("trace") or "")
        job.queued_s = job.started_s = event.at_s
        plan = data.get("plan")
        if isinstance(plan, Mapping):
            job.predicted_s, job.predicted_usd = plan.get("seconds"), plan.get("usd")
        job.stages = self._stages(str(data.get("program_hash", "")), data.get("program"))

    def _stages(self, digest: str, program: Any) -> Mapping[str, Mapping[str, Any]]:
        """Give the attributes of a program's stages; equal programs are read once."""
        found = self._programs.get(digest)
        if found is None:
            found = dict(_stages_of(program))
            if digest and found:
                self._programs[digest] = found
                if len(self._programs) > 256:
                    self._programs.popitem(last=False)
        return found


def _stages_of(program: Any) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Read a Program, or its JSON; anything else has no stages."""
    rows = program.get("stages", ()) if isinstance(program, Mapping) else None
    for row in getattr(program, "stages", ()) if rows is None else rows:
        if isinstance(row, Mapping):
            yield str(row.get("name")), row.get("attributes") or NO_ATTRIBUTES
        else:
            yield row.name, row.attributes
