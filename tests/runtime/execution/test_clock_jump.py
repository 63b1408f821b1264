"""The system's time jumps while a job runs: nothing times out, expires or changes hands."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from gangline.ir.errors import LeaseLost
from gangline.runtime.dispatch.job import Job
from gangline.runtime.execution.executor import Executor
from gangline.runtime.store import Store

DAY_S = 86_400.0


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S])
def test_a_running_job_does_not_notice(
    builder: Any,
    plain_tool: Any,
    tools: Any,
    executor: Executor,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    jump_s: float,
) -> None:
    reached, release = threading.Event(), threading.Event()

    def wait() -> int:
        reached.set()
        release.wait(30)
        return 7

    tools["wait"] = plain_tool(wait)
    p = builder()
    program = p.done(p.tool("wait", timeout_s=300.0))
    job = Job("hand_made", program, {}, deadline_s=600.0, on_deadline="expire")
    future = executor.submit(job)
    assert reached.wait(20)
    store.flush()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump_s)
    (row,) = store.jobs()
    with Executor({}, tools.get, store=store) as other:
        # Its clock was read after the jump. The lease is ours all the same.
        if hasattr(store, "heartbeat"):
            with pytest.raises(LeaseLost):
                other.resume(row.id)
    release.set()
    result = future.result(20)
    assert (result.status, result.output, result.late) == ("succeeded", 7, False)
    assert result.actual.seconds is not None and 0.0 <= result.actual.seconds < 60.0
    assert all(0.0 <= (step.actual_s or 0.0) < 60.0 for step in result.steps)
