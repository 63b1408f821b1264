"""Events in on the loop, listeners elsewhere; nothing a listener does reaches the server."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from gangline.ir.specs.event import Event
from gangline.ir.specs.request import RequestFailed, SamplingParams, Submit
from gangline.runtime.dispatch.outcome import DirectOutcome
from gangline.runtime.telemetry import telemetry as module
from gangline.runtime.telemetry.access import Access
from gangline.runtime.telemetry.job_table import JobFacts, JobTable
from gangline.runtime.telemetry.telemetry import Telemetry


class Seen:
    """Keep what is told, and on which thread."""

    def __init__(self) -> None:
        self.told: list[tuple[Event, JobFacts]] = []
        self.threads: set[int] = set()
        self.requests: list[str] = []
        self.closed = False
        self.enough = threading.Event()

    def tell(self, event: Event, job: JobFacts) -> None:
        self.told.append((event, job))
        self.threads.add(threading.get_ident())
        self.enough.set()

    def request(self, access: Access) -> None:
        self.requests.append(access.route)

    def direct(self, outcome: DirectOutcome) -> None:
        self.requests.append(outcome.submit.model)

    def close(self) -> None:
        self.closed = True


class Faulty(Seen):
    def tell(self, event: Event, job: JobFacts) -> None:
        raise RuntimeError("broken")


def event(seq: int, kind: str = "job.started", job_id: str = "j1", **data: Any) -> Event:
    return Event(job_id, seq, kind, 100.0 + seq, "", data)


def test_events_come_in_order_on_another_thread() -> None:
    seen = Seen()
    telemetry = Telemetry([seen])
    telemetry.start()
    telemetry.on_events([event(1, "job.queued"), event(2)])
    telemetry.on_events([event(3, "job.failed")])
    assert seen.enough.wait(10)
    telemetry.close()
    assert [one.seq for one, _ in seen.told] == [1, 2, 3]
    assert threading.get_ident() not in seen.threads
    assert seen.closed


def test_close_takes_in_what_waits() -> None:
    seen = Seen()
    telemetry = Telemetry([seen])
    telemetry.on_events([event(1)])
    telemetry.close()
    assert len(seen.told) == 1


def test_requests_come_too() -> None:
    seen = Seen()
    telemetry = Telemetry([seen])
    telemetry.on_request(Access("GET", "/v1/jobs", 200, 0.1, "t", "r", "i"))
    done = RequestFailed("r", 1.0, {})
    telemetry.on_request(DirectOutcome(Submit("r", "m", (), SamplingParams(1)), "d", done, 0, 1))
    telemetry.drain()
    assert seen.requests == ["/v1/jobs", "m"]


def test_a_listener_that_fails_costs_nobody_else_anything(caplog: pytest.LogCaptureFixture) -> None:
    seen = Seen()
    telemetry = Telemetry([Faulty(), seen])
    telemetry.on_events([event(1), event(2)])
    telemetry.drain()
    assert len(seen.told) == 2
    assert "Faulty failed on job.started" in caplog.text


def test_what_is_too_much_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    seen = Seen()
    telemetry = Telemetry([seen])
    for seq in range(1, 5):
        telemetry.on_events([event(seq), event(seq)])
    assert telemetry.dropped == 4
    telemetry.drain()
    assert [one.seq for one, _ in seen.told] == [1, 1, 2, 2]
    telemetry.on_events([event(9)])
    telemetry.drain()
    assert len(seen.told) == 5


def test_an_event_costs_the_loop_less_than_two_microseconds() -> None:
    telemetry = Telemetry([])
    batch = [event(1)]
    rounds = []
    for _ in range(20):
        began = time.thread_time()
        for _ in range(1000):
            telemetry.on_events(batch)
        rounds.append((time.thread_time() - began) / 1000)
        telemetry.drain()
    assert min(rounds) < 2e-6


def test_facts_of_a_job() -> None:
    table = JobTable()
    stages = [{"name": "a.decode", "attributes": {"model": "m"}}]
    queued = event(
        1,
        "job.queued",
        workflow="w",
        tenant="t",
        trace="tp",
        program={"stages": stages},
        program_hash="h",
        plan={"seconds": 2.0, "usd": 0.1},
    )
    job = table.before(queued)
    assert (job.workflow, job.tenant, job.trace, job.queued_s) == ("w", "t", "tp", 101.0)
    assert (job.predicted_s, job.predicted_usd) == (2.0, 0.1)
    assert job.model(event(2, "step.completed", stage="a.decode")) == "m"
    assert table.before(event(2)).started_s == 102.0
    assert table.before(event(3, resumed=True)).started_s == 102.0
    # An equal program that came as a mere reference is known all the same.
    other = event(1, "job.queued", "j2", program={"ref": "h"}, program_hash="h")
    assert table.before(other).model(event(2, stage="a.decode")) == "m"


def test_a_job_that_began_elsewhere_is_read_from_its_log() -> None:
    log = [event(1, "job.queued", workflow="w"), event(2), event(3, "job.failed")]
    log += [event(4, resumed=True), event(5, "step.completed", usd=9.0)]
    table = JobTable(lambda _: log)
    job = table.before(event(5, "step.completed", usd=1.0))
    assert (job.workflow, job.queued_s, job.started_s, job.run) == ("w", 101.0, 102.0, 4)
    assert job.usd == 1.0  # the log's own copy of this event is not counted twice


def test_a_restart_begins_no_new_run() -> None:
    table = JobTable()
    for one in (event(1, "job.queued"), event(2), event(3, resumed=True)):
        job = table.before(one)
    assert job.run == 0


def test_jobs_are_forgotten() -> None:
    table = JobTable(max_jobs=3)
    for number in range(9):
        table.before(event(1, job_id=str(number)))
    assert len(table) == 3
    for number in range(6, 9):
        ending = event(2, "job.failed", job_id=str(number))
        table.before(ending)
        table.after(ending)
    assert len(table) == 0
