"""Which profile a plan rests on, and that the shipped one fits the workflow it ships with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from gangline.ir.errors import ConfigError, InputError
from gangline.ir.program import Program
from gangline.planner.profile import Profile
from gangline.runtime.dispatch.job import JobResult
from gangline.runtime.history import History
from gangline.runtime.profiles import load_profile, profile_for, profile_of, write_profile
from gangline.runtime.session import with_model
from gangline.workflows.registry import load

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "workflows" / "text_to_sql" / "profile.json"


@pytest.fixture(scope="module")
def text_to_sql() -> Program:
    return load("text_to_sql").program()


def test_the_shipped_profile_follows_the_schema_and_names_no_machine() -> None:
    document = json.loads(SHIPPED.read_text(encoding="utf-8"))
    schema = json.loads((ROOT / "docs" / "schemas" / "profile.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema)
    assert document["num_jobs"] >= 20
    devices = {s["device"] for row in document["stages"].values() for s in row["samples"]}
    assert devices == {""}


def test_a_plan_for_a_model_never_run_here_rests_on_the_shipped_profile(
    text_to_sql: Program,
) -> None:
    profile = profile_for(with_model(text_to_sql, "llama-3.1-70b"))
    assert profile is not None and profile.num_jobs >= 20
    names = {stage.name for stage in text_to_sql.walk()}
    assert "draft.decode" in profile.stages and set(profile.stages) <= names
    assert profile.stages["draft.prefill"].prompt_tokens.mean > 200.0


def test_our_own_jobs_are_added_to_it(text_to_sql: Program, own_data_folder: Path) -> None:
    shipped = profile_for(text_to_sql)
    assert shipped is not None
    learn(text_to_sql, 3.0)
    known = profile_for(text_to_sql)
    assert known is not None and known.num_jobs == shipped.num_jobs + 1
    mine = known.stages["show_hints"]
    assert [sample.seconds for sample in mine.samples] == [3.0]  # a tool's seconds are local
    assert mine.source == "observed" and mine.seconds is not None and mine.seconds.mean == 3.0
    assert known.stages["attempt"].source == "measured"


def learn(program: Program, seconds: float) -> None:
    from gangline.ir.specs.event import StepRecord

    step = StepRecord(
        "s", (), "tool", "show_hints", "cpu/0", "succeeded", 0.0, seconds, None, seconds
    )
    History().learn(program, JobResult("id", program.name, "succeeded", steps=[step]))


def test_runs_with_another_model_count_without_their_device(text_to_sql: Program) -> None:
    mine = replace(text_to_sql, name="mine")
    learn(mine, 2.0)
    other = profile_for(with_model(mine, "llama-3.1-70b"))
    assert other is not None and other.num_jobs == 1
    assert {sample.device for sample in other.stages["show_hints"].samples} == {""}


def test_a_file_stands_alone(text_to_sql: Program, tmp_path: Path) -> None:
    shipped = profile_for(text_to_sql)
    assert shipped is not None
    path = tmp_path / "p.json"
    write_profile(path, replace(shipped, num_jobs=7), "text_to_sql", "")
    learn(text_to_sql, 3.0)
    found = profile_for(text_to_sql, path)
    assert found is not None and found.num_jobs == 7


def test_a_file_for_something_else_is_refused(text_to_sql: Program, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("ContextTokens,GeneratedTokens\n10,3\n")
    with pytest.raises(ConfigError, match="none of the workflow's stages"):
        profile_for(text_to_sql, path)
    with pytest.raises(InputError, match="cannot be read"):
        load_profile(tmp_path / "absent.json")


def test_a_workflow_without_a_shipped_profile_has_none(text_to_sql: Program) -> None:
    assert profile_for(replace(text_to_sql, name="no_such_workflow")) is None
    assert profile_for(replace(text_to_sql, name="../text_to_sql")) is None


def test_failed_jobs_make_no_profile() -> None:
    with pytest.raises(InputError, match="No job succeeded"):
        profile_of([JobResult("id", "w", "failed")])
    assert isinstance(Profile(), Profile)
