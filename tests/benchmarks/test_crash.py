"""The crash benchmark finds what it looks for: every kind of fault, made up here, is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import crash
from benchmarks.crash_check import KINDS, Findings, check
from benchmarks.crash_workflow import outputs
from gangline.ir.specs.event import Event
from gangline.runtime.store import Store, open_store

JOB = "01900000-0000-7000-8000-000000000001"
DIED_S = 2.5


class Scene:
    """One job of the workflow `quick` or `writes`, as it should be; tests spoil it."""

    def __init__(self, folder: Path, workflow: str = "writes") -> None:
        self.folder = folder
        self.workflow = workflow
        self.calls: list[list[Any]] = []
        self.spoil_rows: Callable[[Store], object] = lambda store: None
        self.promised = [["accepted", "key", JOB, workflow, "t"]]
        step_ids = ("once", "once_inline", "once_async", "once#2")
        queued = {"workflow": workflow, "inputs": {"tag": "t"}, "metadata": {"key": "key"}}
        self.events: list[tuple[str, str, dict[str, Any]]] = [
            ("job.queued", "", queued),
            ("job.started", "", {}),
        ]
        for number, step_id in enumerate(step_ids):
            at_s = 10.0 * number
            self.call(str(number + 1), step_id, at_s + 2, 1)
            self.events.append(("step.completed", step_id, {"value": "x", "at_s": at_s + 4}))
        self.events.append(("job.completed", "", {"output": outputs()[workflow], "at_s": 99.0}))

    def call(self, name: str, step_id: str, at_s: float, pid: int, ends: bool = True) -> None:
        self.calls.append([at_s, pid, "begin", "t", name, f"{JOB}/{step_id}"])
        if ends:
            self.calls.append([at_s + 1, pid, "end", "t", name, f"{JOB}/{step_id}"])

    def findings(self, store: Store, **known: Any) -> Findings:
        made = [
            Event(JOB, seq, kind, data.get("at_s", 0.0), step_id, data)
            for seq, (kind, step_id, data) in enumerate(self.events, 1)
        ]
        epoch = store.create(made[0], self.workflow, "me").result().epoch
        store.append(JOB, made[1:], epoch).result()
        self.spoil_rows(store)
        for name, rows in (("effects", self.calls), ("promised", self.promised)):
            (self.folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return check(store, self.folder, known.get("died_s", {}), known.get("confirmed", {}))


def faults(scene: Scene, **known: Any) -> dict[str, int]:
    with open_store(scene.folder / "jobs.sqlite") as store:
        return dict(scene.findings(store, **known).faults)


def test_nothing_is_wrong_with_what_is_right(tmp_path: Path) -> None:
    assert faults(Scene(tmp_path)) == {}


def test_a_lost_and_a_doubled_job(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.promised.append(["accepted", "other", "no-such-job", "chain", "u"])
    assert faults(scene) == {"accepted_jobs_lost": 1}
    double = Scene(tmp_path / "two")
    (tmp_path / "two").mkdir()

    def again(store: Store) -> None:
        data = {"workflow": "quick", "inputs": {"tag": "u"}, "metadata": {"key": "key"}}
        end = Event("other", 2, "job.cancelled", 1.0, "", {})
        epoch = store.create(Event("other", 1, "job.queued", 0.0, "", data), "quick", "me").result()
        store.append("other", [end], epoch.epoch).result()

    double.spoil_rows = again
    assert faults(double) == {"jobs_doubled": 1}


def test_a_recorded_step_that_runs_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.call("1", "once", 50.0, 2)
    assert faults(scene) == {"recorded_steps_run_again": 1, "unsafe_steps_run_again": 1}


@pytest.mark.parametrize("confirmed", [False, True])
def test_an_unsafe_step_runs_again_if_a_person_allows_it(tmp_path: Path, confirmed: bool) -> None:
    scene = Scene(tmp_path)
    scene.calls.insert(0, [0.5, 2, "begin", "t", "1", f"{JOB}/once"])
    allowed = {(JOB, "once"): 1} if confirmed else {}
    found = faults(scene, died_s={2: 0.7}, confirmed=allowed)
    assert found == ({} if confirmed else {"unsafe_steps_run_again": 1})


def test_two_processes_at_once(tmp_path: Path) -> None:
    """A call of a killed process ends when it died, not when it began."""
    scene = Scene(tmp_path)
    scene.calls.insert(0, [1.5, 2, "begin", "t", "1", f"{JOB}/once"])
    allowed = {(JOB, "once"): 1}
    (tmp_path / "b").mkdir()
    found = faults(scene, died_s={2: DIED_S}, confirmed=allowed)
    assert found == {"steps_run_at_once": 1}


def test_other_keys_and_steps_nobody_ran(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.calls[0][5] = scene.calls[1][5] = "other-job/once"
    assert faults(scene)["keys_changed"] == 1
    (tmp_path / "b").mkdir()
    absent = Scene(tmp_path / "b")
    del absent.calls[:2]
    assert faults(absent) == {"recorded_steps_never_run": 1}


def test_broken_promises_and_wrong_ends(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.promised += [["cancelled", "key", JOB, "writes", "t"]]
    scene.promised += [["answered", "key", JOB, "writes", "t"]]
    scene.events[-1] = ("job.completed", "", {"output": "else"})
    assert faults(scene) == {"promises_broken": 2, "wrong_outputs": 1}
    (tmp_path / "b").mkdir()
    endless = Scene(tmp_path / "b")
    del endless.events[-1]
    assert faults(endless) == {"jobs_without_end": 1}


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("UPDATE jobs SET steps = 3", "rows_unlike_their_logs"),
        ("UPDATE jobs SET status = 'failed'", "rows_unlike_their_logs"),
        ("DELETE FROM events WHERE seq = 2", "logs_with_gaps"),
    ],
)
def test_spoilt_logs_and_rows(tmp_path: Path, sql: str, kind: str) -> None:
    scene = Scene(tmp_path)
    scene.spoil_rows = lambda store: store._do(lambda database: database.run(sql)).result()
    assert kind in faults(scene)


def test_kills_are_shared_out_evenly() -> None:
    shared = crash.scenes(10, "both", "both", 1)
    assert [(s.store, s.servers, s.kills) for s in shared] == [
        ("sqlite", 1, 3),
        ("sqlite", 2, 3),
        ("postgres", 1, 2),
        ("postgres", 2, 2),
    ]
    assert [s.kills for s in crash.scenes(7, "sqlite", "2", 1)] == [7]
    assert len(KINDS) == len(set(KINDS)) == 13
