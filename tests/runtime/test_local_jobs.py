"""Jobs of this machine's store, cancelled while another process runs them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gangline.ir.errors import LeaseLost, UsageError
from gangline.ir.specs.event import Event
from gangline.runtime import local_jobs
from gangline.runtime.local_jobs import cancel_job
from gangline.runtime.store import Store


def begun(store: Store) -> int:
    """Store a job that somebody else runs."""
    epoch = store.create(Event("a", 1, "job.queued", 1.0, "", {}), "w", "server").result().epoch
    store.append("a", [Event("a", 2, "job.started", 2.0)], epoch).result()
    return epoch


@contextmanager
def serving(store: Store, ends: str) -> Iterator[None]:
    """Run the job elsewhere: it ends as `ends` says when a request comes."""
    stopped = threading.Event()

    def look() -> None:
        while not stopped.wait(0.01):
            for control in store.controls("server"):
                event = Event(control.job_id, 3, ends, 3.0, "", {"error": {}, "output": 1})
                store.append(control.job_id, [event], control.epoch).result()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def test_a_job_that_a_server_runs_is_cancelled_by_it() -> None:
    with Store() as store:
        begun(store)
        with serving(store, "job.cancelled"):
            assert cancel_job("a") == {"id": "a", "status": "cancelled"}
        assert [event.type for event in store.events("a")][-1] == "job.cancelled"


def test_a_job_that_ends_otherwise_meanwhile_was_not_cancelled() -> None:
    with Store() as store:
        begun(store)
        with serving(store, "job.completed"), pytest.raises(UsageError, match="succeeded"):
            cancel_job("a")


def test_a_request_nobody_hears_stays_for_who_takes_the_job_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local_jobs, "CANCEL_S", 0.1)
    with Store() as store:
        epoch = begun(store)
        with pytest.raises(LeaseLost):
            cancel_job("a")
        assert store.job("a").status == "running"
        store.append("a", [Event("a", 3, "step.started", 3.0, "s")], epoch).result()
        (asked,) = store.controls("server")
        assert asked.kind == "cancel"
