"""How events get to disk: few commits, in order, and never a write call before its record."""

from __future__ import annotations

import threading
import time
from typing import Any

from gangline.runtime.dispatch.job import Job, result_of
from gangline.runtime.execution import journal
from gangline.runtime.execution.executor import Executor
from gangline.runtime.store import Store


def job(program: Any, **inputs: Any) -> Job:
    return Job("hand_made", program, inputs)


def counted(store: Store, monkeypatch: Any) -> list[int]:
    """Count the store's commits."""
    commits, commit = list[int](), store._writer._commit

    def counting(batch: Any) -> Any:
        commits.append(len(batch))
        return commit(batch)

    monkeypatch.setattr(store._writer, "_commit", counting)
    return commits


def write_chain(builder: Any, num_steps: int) -> Any:
    p = builder("n")
    value = p.inputs[0]
    for _ in range(num_steps):
        value = p.tool("add", value, effects="write")
    return p.done(value)


def test_a_completion_and_the_next_start_share_a_commit(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, store: Store, monkeypatch: Any
) -> None:
    tools["add"] = plain_tool(lambda a0: a0 + 1)
    commits = counted(store, monkeypatch)
    assert executor.run(job(write_chain(builder, 50), n=0)).output == 50
    # One per step, one for the end, and the creation where it does not share the first.
    assert 50 < len(commits) <= 52


def test_reads_do_not_wait_for_commits(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, store: Store, monkeypatch: Any
) -> None:
    ended, gate, commit = threading.Event(), threading.Event(), store._writer._commit

    def held(batch: Any) -> Any:
        gate.wait(60)
        return commit(batch)

    monkeypatch.setattr(store._writer, "_commit", held)
    tools.update(add=plain_tool(lambda a0: a0 + 1), end=plain_tool(lambda a0: ended.set()))
    p = builder("n")
    value = p.inputs[0]
    for _ in range(5):
        value = p.tool("add", value)
    future = executor.submit(job(p.done(p.tool("end", value)), n=0))
    assert ended.wait(20) and not future.done()
    gate.set()
    assert future.result(20).status == "succeeded"


def test_what_happens_during_a_commit_goes_together_in_the_next(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, store: Store, monkeypatch: Any
) -> None:
    ended, gate = threading.Event(), threading.Event()
    appends, append, commit = list[int](), store.append, store._writer._commit

    def held(batch: Any) -> Any:
        gate.wait(60)
        return commit(batch)

    def counting(job_id: str, events: Any, *rest: Any) -> Any:
        appends.append(len(events))
        return append(job_id, events, *rest)

    monkeypatch.setattr(store._writer, "_commit", held)
    monkeypatch.setattr(store, "append", counting)
    tools.update(add=plain_tool(lambda a0: a0 + 1), end=plain_tool(lambda a0: ended.set()))
    p = builder("n")
    value = p.inputs[0]
    for _ in range(8):
        value = p.tool("add", value)
    future = executor.submit(job(p.done(p.tool("end", value)), n=0))
    assert ended.wait(20)
    (driver,) = executor.running.values()
    limit = time.monotonic() + 20
    while not driver.run.ended:  # the last step's end comes a moment after the tool's
        assert time.monotonic() < limit
        time.sleep(0.001)
    gate.set()
    result = future.result(20)
    # job.started and the first step.started; then all the rest at once.
    assert appends == [2, 18]
    assert [event.seq for event in store.events(result.job_id)] == list(range(1, 22))


def test_what_was_gathered_is_kept_when_the_job_is_interrupted(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, store: Store, monkeypatch: Any
) -> None:
    """Steps that ended during a commit are on disk after an interrupt, and are not run again."""
    calls: list[str] = []
    reached, gate, release = threading.Event(), threading.Event(), threading.Event()
    commit = store._writer._commit

    def held(batch: Any) -> Any:
        gate.wait(60)
        return commit(batch)

    def wait(a0: int) -> int:
        calls.append("wait")
        reached.set()
        release.wait(20)
        return a0 + 1

    monkeypatch.setattr(store._writer, "_commit", held)

    def add(a0: int) -> int:
        calls.append("add")
        return a0 + 1

    tools.update(add=plain_tool(add), wait=plain_tool(wait))
    p = builder("n")
    future = executor.submit(job(p.done(p.tool("wait", p.tool("add", p.inputs[0]))), n=0))
    assert reached.wait(20)
    opener = threading.Timer(0.05, gate.set)
    opener.start()
    executor.interrupt()
    assert future.exception(20) is not None
    release.set()
    (row,) = store.jobs()
    assert executor.resume(row.id).output == 2
    assert calls == ["add", "wait", "wait"]
    opener.join()


def test_a_stored_job_s_log_does_not_grow_in_memory(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, store: Store, monkeypatch: Any
) -> None:
    monkeypatch.setattr(journal, "MAX_LOG", 40)
    tools["add"] = plain_tool(lambda a0: a0 + 1, is_inline=True)
    logs: list[int | None] = []

    def watch(event: Any) -> None:
        (driver,) = executor.running.values()
        log = driver.journal.log
        logs.append(None if log is None else len(log))

    p = builder("n")
    value = p.inputs[0]
    for _ in range(100):
        value = p.tool("add", value)
    result = executor.submit(job(p.done(value), n=0), watch).result(20)
    assert logs[-1] is None and max(size for size in logs if size is not None) <= 40
    assert (result.output, len(result.steps)) == (100, 100)
    assert result_of(store.events(result.job_id)).to_json() == result.to_json()


def test_steps_wait_when_they_end_faster_than_they_can_be_stored(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, store: Store, monkeypatch: Any
) -> None:
    monkeypatch.setattr(journal, "MAX_GATHERED", 10)
    gate, commit = threading.Event(), store._writer._commit
    calls: list[int] = []
    idle = threading.Event()

    def held(batch: Any) -> Any:
        gate.wait(60)
        return commit(batch)

    def add(a0: int) -> int:
        calls.append(a0)
        return a0 + 1

    monkeypatch.setattr(store._writer, "_commit", held)
    tools["add"] = plain_tool(add, is_inline=True)
    p = builder("n")
    value = p.inputs[0]
    for _ in range(50):
        value = p.tool("add", value)
    future = executor.submit(job(p.done(value), n=0))
    executor._mailbox.post(idle.set)
    assert idle.wait(20) and not future.done()
    assert 0 < len(calls) <= 10  # two events each, and then no more without a commit
    gate.set()
    assert future.result(20).output == 50


def on_threads(store: Store, monkeypatch: Any) -> list[str]:
    """Note on which thread each commit is made."""
    names, commit = list[str](), store._writer._commit

    def noting(batch: Any) -> Any:
        names.append(threading.current_thread().name)
        return commit(batch)

    monkeypatch.setattr(store._writer, "_commit", noting)
    return names


def test_a_job_that_is_alone_commits_on_its_own_thread(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, store: Store, monkeypatch: Any
) -> None:
    tools["add"] = plain_tool(lambda a0: a0 + 1)
    names = on_threads(store, monkeypatch)
    assert executor.run(job(write_chain(builder, 20), n=0)).output == 20
    assert names.count("gangline-loop") >= 18


def test_nobody_waits_for_the_commit_of_another(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, store: Store, monkeypatch: Any
) -> None:
    """With a second job, or with a tool under way, the loop must stay free."""
    release, added = threading.Event(), threading.Event()
    calls: list[int] = []

    def add(a0: int) -> int:
        calls.append(a0)
        if len(calls) % 20 == 0:
            added.set()
        return a0 + 1

    tools.update(add=plain_tool(add), wait=plain_tool(lambda: release.wait(20)))
    names = on_threads(store, monkeypatch)
    p = builder()
    other = executor.submit(job(p.done(p.tool("wait"))))
    assert executor.run(job(write_chain(builder, 20), n=0)).output == 20
    assert "gangline-loop" not in names
    release.set()
    assert other.result(20).status == "succeeded"

    release.clear()
    added.clear()
    names.clear()
    side = builder("n")
    value = side.inputs[0]
    for _ in range(20):
        value = side.tool("add", value, effects="write")
    both = side.done(side.compute("list", value, side.tool("wait")))
    future = executor.submit(job(both, n=0))
    assert added.wait(20) and "gangline-loop" not in names
    release.set()
    assert future.result(20).output == [20, True]
