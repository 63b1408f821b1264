"""Memory steps of jobs: recorded, written once through crashes, one tenant's, forked, refused."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gangline as gl
from gangline.backends.fake import FakeBackend
from gangline.ir.errors import GanglineError
from gangline.ir.specs.memory import vector_from_json
from gangline.runtime.api import fork_job, run_job
from gangline.runtime.dispatch.job import Job, JobResult
from gangline.runtime.execution import memory_calls, step_calls
from gangline.runtime.execution.executor import Executor
from gangline.runtime.store import JobRow, Store, open_store
from gangline.runtime.store.memory_rows import Write


@gl.workflow
def noting(text: str) -> list[gl.Entry]:
    alike = gl.recall(text, by="vector", model="m", limit=2)
    gl.remember(text, key="k", model="m")
    gl.observe(text, gl.length(alike))
    return alike


@gl.workflow
def reading(words: str) -> list[gl.Entry]:
    return gl.recall(words)


@gl.workflow
def both_models(text: str) -> str:
    gl.remember(text, model="one")
    return gl.remember(text, model="two")


@gl.workflow
def many(texts: list[str]) -> list[str]:
    return gl.map(lambda text: gl.remember(text), texts)


@gl.workflow
def slow_write(text: str) -> str:
    return gl.remember(text, key="k")


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if getattr(request, "param", "sqlite") == "sqlite":
        return f"sqlite:///{tmp_path / 'home' / 'jobs.sqlite'}"
    return str(request.getfixturevalue("postgres_server").new_schema())


both = pytest.mark.parametrize("url", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with open_store(url) as opened:
        yield opened


def run(store: Store, workflow: Any, **inputs: Any) -> JobResult:
    return run_job(workflow, inputs, backends={"cpu/0": FakeBackend()}, store=store)


def ran(result: JobResult) -> dict[str, Any]:
    return {step.id: step for step in result.steps}


@both
def test_a_later_job_recalls_what_an_earlier_one_remembered(store: Store) -> None:
    first = run(store, noting, text="red dogs")
    assert (first.status, first.output) == ("succeeded", [])
    second = run(store, noting, text="red dog")
    (entry,) = second.output
    assert (entry["key"], entry["value"]) == ("k", "red dogs") and 0.9 < entry["score"] < 1.0
    assert store.memory.entry("local", "notes", "k").value == "red dog"
    logged = [row.value for row in store.memory.entries("local", "observations")]
    assert logged == [{"event": "red dogs", "result": 0}, {"event": "red dog", "result": 1}]
    steps = ran(second)
    embed = steps["recall.embed"]
    assert (embed.op, embed.device, embed.prompt_tokens, embed.stage) == (
        "embed",
        "cpu/0",
        7,
        "recall.embed",
    )
    assert embed.end_s is not None and embed.cached_tokens == 0
    assert store.job(second.job_id).prompt_tokens == 7  # the text of both is embedded once
    recorded = {e.step_id: e.data for e in store.events(second.job_id) if "value" in e.data}
    model, vector = vector_from_json(recorded["recall.embed"]["value"])
    assert model == "m" and len(vector) == 4 * 32
    assert recorded["remember"]["value"] == "k" and recorded["observe"]["value"] == 2


def test_a_tenant_never_sees_another_s_entries(store: Store) -> None:
    backends = {"cpu/0": FakeBackend()}
    with Executor(backends, lambda name: None, store=store) as executor:
        for tenant, text in (("a", "secret of a"), ("b", "word of b")):
            job = Job("noting", noting.program(), {"text": text}, device="cpu/0", tenant=tenant)
            assert executor.run(job).output == []
        program = reading.program()
        found = executor.run(
            Job("reading", program, {"words": "secret word of"}, device="cpu/0", tenant="b")
        )
    assert [entry["value"] for entry in found.output] == ["word of b"]
    assert {row.tenant for row in store.memory.spaces()} == {"a", "b"}


def test_embeddings_of_another_model_fail_the_step_and_say_so(store: Store) -> None:
    result = run(store, both_models, text="x")
    assert result.status == "failed" and result.error is not None
    assert result.error["code"] == "conflict" and "one" in result.error["detail"]
    assert result.error["next_step"] and "test_memory.py:" in result.error["where"]


def test_each_item_of_a_map_is_an_entry_of_its_own(store: Store) -> None:
    result = run(store, many, texts=["x", "x", "y"])
    assert len(set(result.output)) == 3
    assert len(store.memory.entries("local", "notes")) == 3


def test_a_large_value_is_refused(store: Store) -> None:
    result = run(store, slow_write, text="x" * 300_000)
    assert result.status == "failed" and result.error is not None
    assert result.error["code"] == "too_large" and "262,144" in result.error["detail"]


def test_without_a_store_there_is_no_memory() -> None:
    with Executor({"cpu/0": FakeBackend()}, lambda name: None) as executor:
        job = Job("reading", reading.program(), {"words": "x"}, device="cpu/0")
        result = executor.run(job)
    assert result.status == "failed" and result.error is not None
    assert "stored" in result.error["detail"] and result.error["next_step"]


def test_a_recorded_lookup_is_not_made_again(store: Store) -> None:
    """A fork keeps what was recalled then, whatever is in memory now; what it writes is its own."""
    run(store, noting, text="red dogs")
    second = run(store, noting, text="red dog")
    store.memory.forget("local", "notes").result()
    forked = fork_job(second.job_id, "remember", backends={"cpu/0": FakeBackend()}, store=store)
    assert forked.status == "succeeded" and forked.output == second.output
    assert [row.key for row in store.memory.entries("local", "notes")] == ["k"]
    assert len(store.memory.entries("local", "observations")) == 3
    again = fork_job(second.job_id, "recall", backends={"cpu/0": FakeBackend()}, store=store)
    assert [entry["value"] for entry in again.output] == ["red dog"]


def first_job(store: Store) -> JobRow:
    """Give the one job; its step may begin a moment before it is stored."""
    limit = time.monotonic() + 20
    while not (rows := store.jobs()):
        assert time.monotonic() < limit
    (row,) = rows
    return row


def test_a_cancelled_job_waits_for_its_write(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    real = memory_calls.use_memory

    def slow(*args: Any) -> Any:
        begun.set()
        assert go_on.wait(20)
        return real(*args)

    monkeypatch.setattr(step_calls, "use_memory", slow)
    with Executor({"cpu/0": FakeBackend()}, lambda name: None, store=store) as executor:
        future = executor.submit(Job("w", slow_write.program(), {"text": "x"}, device="cpu/0"))
        assert begun.wait(20)
        row = first_job(store)
        executor.cancel(row.id)
        assert not future.done()
        go_on.set()
        result = future.result(20)
    assert result.status == "cancelled"
    assert ran(result)["remember"].status == "succeeded"
    assert store.memory.entry("local", "notes", "k").value == "x"


CHILD = """
import os, signal, sys
from gangline.backends.fake import FakeBackend
from gangline.runtime.api import run_job
from gangline.runtime.execution import step_calls
from gangline.runtime.store import open_store
sys.path.insert(0, {folder!r})
from crashing import crash

real = step_calls.use_memory

def killed(store, user, command, now):
    value = real(store, user, command, now)
    if command.step.stage.op == {op!r}:
        os.kill(os.getpid(), signal.SIGKILL)  # it is on disk, and not recorded
    return value

step_calls.use_memory = killed
run_job(crash, {{"text": "first"}}, backends={{"cpu/0": FakeBackend()}}, store=open_store({url!r}))
"""

CRASHING = """
import gangline as gl

@gl.workflow
def crash(text: str) -> list[gl.Entry]:
    key = gl.remember(text, key="k", model="m")
    number = gl.observe({"text": text}, key)
    return gl.branch(number > 0, lambda: gl.recall(text), lambda: gl.recall(text))
"""


@both
@pytest.mark.parametrize("op", ["store", "observe"])
def test_killed_between_the_write_and_its_record(url: str, op: str, tmp_path: Path) -> None:
    (tmp_path / "crashing.py").write_text(CRASHING)
    child = CHILD.format(folder=str(tmp_path), op=op, url=url)
    ended = subprocess.run(
        [sys.executable, "-c", child], capture_output=True, timeout=120, check=False
    )
    assert -ended.returncode == signal.SIGKILL, ended.stderr.decode()
    with open_store(url) as store:
        (row,) = store.jobs()
        assert row.status == "running"
        assert store.memory.entry("local", "notes", "k").value == "first"
        # Somebody else writes meanwhile; the step that runs again must not undo that.
        later = Write("other/step", "other")
        store.memory.remember("local", "notes", "later", later, 9.0, key="k").result()
        with Executor({"cpu/0": FakeBackend()}, lambda name: None, store=store) as executor:
            result = executor.resume(row.id)
        assert result.status == "succeeded", result.error
        assert store.memory.entry("local", "notes", "k").value == "later"
        assert len(store.memory.entries("local", "observations")) == 1
        assert store.memory.spaces("local")[0].entries == 1
        done = [e for e in store.events(row.id) if e.type == "step.completed"]
        assert sorted(e.step_id for e in done if e.data["op"] == op) == [
            {"store": "remember", "observe": "observe"}[op]
        ]


def test_a_server_that_lost_its_lease_writes_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = memory_calls.use_memory

    def taken(found: Store, user: Any, command: Any, now: float) -> Any:
        found._do(lambda database: database.run("UPDATE jobs SET epoch = epoch + 1")).result()
        return real(found, user, command, now)

    monkeypatch.setattr(step_calls, "use_memory", taken)
    with (
        Executor({"cpu/0": FakeBackend()}, lambda name: None, store=store) as executor,
        pytest.raises(GanglineError, match="owner"),
    ):
        executor.run(Job("w", slow_write.program(), {"text": "x"}, device="cpu/0"))
    assert store.memory.spaces() == []
