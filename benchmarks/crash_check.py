"""What benchmarks/crash.py holds against the servers: promises, calls and logs, compared."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.crash_workflow import NAMES, UNSAFE, outputs
from gangline.ir.specs.event import FINAL_STATUSES, Event
from gangline.runtime.store import Store
from gangline.runtime.store.job_row import RowChange, changed
from gangline.runtime.store.operations import queued_values

FOLDED = (
    "status",
    "updated_s",
    "usd",
    "last_seq",
    "deadline_at_s",
    "error_code",
    "steps",
    "started_s",
    "ended_s",
)
MAX_TOLD = 10
"""Faults of one kind that are told in full; all are counted."""


@dataclass(slots=True)
class Call:
    """One call of a tool: when it began and ended (inf: its process died), where, as what."""

    pid: int
    key: str
    began_s: float
    ended_s: float = math.inf


@dataclass(slots=True)
class Findings:
    """Faults by kind, and counts of what is no fault."""

    faults: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def fault(self, kind: str, what: str) -> None:
        """Note one."""
        self.faults[kind] += 1
        if self.faults[kind] <= MAX_TOLD:
            self.told.append(f"{kind}: {what}")


KINDS = (
    "accepted_jobs_lost",
    "jobs_doubled",
    "recorded_steps_run_again",
    "recorded_steps_never_run",
    "unsafe_steps_run_again",
    "steps_run_at_once",
    "keys_changed",
    "promises_broken",
    "logs_with_gaps",
    "rows_unlike_their_logs",
    "jobs_without_end",
    "wrong_outputs",
    "wrong_answers",
)
"""Every kind of fault, so that a report names those that were looked for and not found."""


def check(
    store: Store,
    folder: Path,
    died_s: Mapping[int, float],
    confirmed: Mapping[tuple[str, str], int],
) -> Findings:
    """Compare what was promised and done with what is stored.

    Args:
        folder: holds `promised` (of crash_load.py) and `effects` (of crash_workflow.py).
        died_s: when each process was killed, by its id.
        confirmed: how often a person allowed a step to run again, by job's id and step's id.
    """
    found = Findings()
    calls = calls_of(read_lines(folder / "effects"), died_s)
    promises = defaultdict[str, dict[str, list[Any]]](dict)
    for what, key, job_id, workflow, tag in read_lines(folder / "promised"):
        promises[job_id][what] = [key, workflow, tag]
    keys: Counter[str] = Counter()
    seen: set[str] = set()
    for job_id in _ids(store):
        events = store.raw_events(job_id)
        seen.add(job_id)
        keys[events[0].data["metadata"]["key"]] += 1
        check_log(found, store, job_id, events)
        check_steps(found, job_id, events, calls, confirmed)
        check_end(found, events)
        _check_promises(found, job_id, events, promises.get(job_id, {}))
    for job_id in promises.keys() - seen:
        found.fault("accepted_jobs_lost", f"{job_id} {promises[job_id]}")
    for key, count in keys.items():
        if count > 1:
            found.fault("jobs_doubled", f"{count} jobs of {key}")
    found.counts["accepted"] = sum("accepted" in promise for promise in promises.values())
    found.counts["jobs"] = len(seen)
    found.counts["calls"] = sum(map(len, calls.values()))
    return found


def calls_of(
    lines: Iterable[Sequence[Any]], died_s: Mapping[int, float]
) -> dict[tuple[str, str], list[Call]]:
    """Give the calls by the job's tag and the step's name, in the order they began."""
    calls = defaultdict[tuple[str, str], list[Call]](list)
    for at_s, pid, phase, tag, name, key in lines:
        found = calls[tag, name]
        if phase == "begin":
            found.append(Call(pid, key, at_s, died_s.get(pid, math.inf)))
        else:
            next(call for call in reversed(found) if call.pid == pid).ended_s = at_s
    return calls


def check_log(found: Findings, store: Store, job_id: str, events: Sequence[Event]) -> None:
    """A log has no gap, and its row is its fold."""
    if [event.seq for event in events] != list(range(1, len(events) + 1)):
        found.fault("logs_with_gaps", job_id)
    values = queued_values(events[0], "")
    for event in events[1:]:
        change = RowChange()
        change.add(event)
        changed(values, change)
    (row,) = store.database.read(f"SELECT {', '.join(FOLDED)} FROM jobs WHERE id = ?", (job_id,))
    for name, stored in zip(FOLDED, row, strict=True):
        if not _same(stored, values[name]):
            found.fault("rows_unlike_their_logs", f"{job_id}.{name}: {stored} {values[name]}")


def check_steps(
    found: Findings,
    job_id: str,
    events: Sequence[Event],
    calls: Mapping[tuple[str, str], Sequence[Call]],
    confirmed: Mapping[tuple[str, str], int],
) -> None:
    """A recorded step was run, and not again; an unsafe one never again, unless allowed."""
    queued = events[0].data
    tag, unsafe = queued["inputs"]["tag"], UNSAFE[queued["workflow"]]
    recorded = {e.step_id: e.at_s for e in events if e.type == "step.completed"}
    ran: set[str] = set()
    for name, made in _of(calls, tag):
        keys = {call.key for call in made}
        key = made[0].key
        step_id = key.partition("/")[2]
        ran.add(step_id)
        where = f"{job_id} {tag}/{name} {step_id}"
        if len(keys) > 1 or not key.startswith(f"{job_id}/"):
            found.fault("keys_changed", f"{where}: {sorted(keys)}")
        late = [call for call in made if call.began_s > recorded.get(step_id, math.inf)]
        if late:
            found.fault("recorded_steps_run_again", f"{where}: {late}")
        if name in unsafe:
            found.counts["unsafe_calls"] += len(made)
            if len(made) > 1 + confirmed.get((job_id, step_id), 0):
                found.fault("unsafe_steps_run_again", f"{where}: {made}")
        else:
            found.counts["safe_steps_run_again"] += len(made) > 1
        for one, other in pairwise(made):
            if other.began_s < one.ended_s and other.pid != one.pid:
                found.fault("steps_run_at_once", f"{where}: {one} {other}")
    # Questions and steps that compute only tell nobody of their calls.
    silent = ("ask", "names", "together", "together_with", "map")
    for step_id in recorded.keys() - ran:
        if step_id.rpartition("/")[2].split(".")[0].split("#")[0] not in silent:
            found.fault("recorded_steps_never_run", f"{job_id} {step_id}")


def check_end(found: Findings, events: Sequence[Event]) -> None:
    """A job ended, and where it succeeded its output is right."""
    last, queued = events[-1], events[0].data
    found.counts[last.type] += 1
    if last.type == "job.completed":
        if last.data.get("output") != outputs()[queued["workflow"]]:
            found.fault("wrong_outputs", f"{last.job_id}: {last.data.get('output')}")
    elif last.type == "job.failed":
        found.counts[f"failed: {last.data['error'].get('detail', '')[:40]}"] += 1
    elif last.type.removeprefix("job.") not in FINAL_STATUSES:
        found.fault("jobs_without_end", f"{last.job_id}: {last.type}")


def _check_promises(
    found: Findings, job_id: str, events: Sequence[Event], promises: Mapping[str, Any]
) -> None:
    types = {event.type for event in events}
    if "cancelled" in promises and events[-1].type != "job.cancelled":
        found.fault("promises_broken", f"{job_id} was cancelled, and is {events[-1].type}")
    answered = any(e.type == "step.completed" and e.step_id == "ask" for e in events)
    if "answered" in promises and not answered and "job.cancelled" not in types:
        found.fault("promises_broken", f"{job_id} was answered, and the answer is gone")


def _of(
    calls: Mapping[tuple[str, str], Sequence[Call]], tag: str
) -> Iterable[tuple[str, Sequence[Call]]]:
    names = (*NAMES, "end", *map(str, range(10)))
    return ((name, calls[tag, name]) for name in names if (tag, name) in calls)


def _same(stored: Any, folded: Any) -> bool:
    if isinstance(stored, float) and isinstance(folded, float):
        return math.isclose(stored, folded, rel_tol=1e-9, abs_tol=1e-9)
    return bool(stored == folded)


def _ids(store: Store) -> Iterable[str]:
    after = ""
    while page := store.jobs(500, after):
        yield from (row.id for row in page)
        after = page[-1].id


def read_lines(path: Path) -> list[list[Any]]:
    """Read a file of JSON lines; one that is not there is empty."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]
