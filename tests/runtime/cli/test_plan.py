"""`gangline plan` and `gangline calibrate` as users call them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gangline.planner.calibration import Key
from gangline.runtime.cli.app import run
from gangline.runtime.history import History

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"
FLEET = """
[[device]]
name = "host"
type = "cpu"
usd_per_hour = 0.2
[[device]]
name = "card"
type = "acme"
usd_per_hour = 2.0
count = 2
[device.spec]
kind = "gpu"
flops = { bf16 = 3e14 }
memory_bytes = 80_000_000_000
memory_bytes_per_s = 2e12
tdp_w = 400
"""

Call = Callable[..., Any]
Validate = Callable[[str, Any], None]


@pytest.fixture
def fleet(tmp_path: Path) -> str:
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET)
    return str(path)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], validate: Validate) -> Call:
    """Run a command; give its document (checked against its schema), or its text."""

    def go(*arguments: str, code: int = 0, schema: str = "") -> Any:
        assert run([*arguments, *(["--json"] if schema else [])]) == code
        out, err = capsys.readouterr()
        if not schema:
            return out + err
        document = json.loads(out)
        validate(schema, document)
        return document

    return go


def test_a_percentile_is_predicted_and_simulated(call: Call, fleet: str) -> None:
    History().calibrate([(Key("cpu", "decode", "m", "t16 c256 b1"), 3.0, 1.0)] * 12)
    arguments = ("plan", "text_to_sql", "--fleet", fleet, "--slo", "p90=20s", "--rate", "1")
    document = call(*arguments, schema="plan")
    assert document["slo"] == {"percent": 90, "seconds": 20.0, "rate": 1.0}
    assert document["simulated"]["p90_s"] <= 20.0
    assert document["predicted"]["p50_s"] < document["predicted"]["p95_s"]
    text = call(*arguments)
    assert document["calibration"][0]["num_runs"] == 11 and "before calibration" in text
    assert "p90:" in text and "simulated" in text and "% busy" in text


def test_the_same_seed_gives_the_same_document(call: Call, fleet: str) -> None:
    arguments = ("plan", "text_to_sql", "--fleet", fleet, "--rate", "1", "--seed")
    first, again, other = (call(*arguments, seed, schema="plan") for seed in ("4", "4", "5"))
    assert first == again
    assert other["simulated"]["mean_s"] != first["simulated"]["mean_s"]


def test_an_impossible_objective_exits_1_with_advice(call: Call, fleet: str) -> None:
    arguments = ("plan", "text_to_sql", "--fleet", fleet, "--slo", "p95=0.001s")
    document = call(*arguments, code=1, schema="failure")
    error = document["error"]
    assert error["code"] == "infeasible"
    assert error["advice"]["nearest_slo_s"] > 0.001
    assert error["where"] == f"stage {error['advice']['binding_stage']}"
    text = " ".join(call(*arguments, code=1).split())
    assert "Ask for p95=" in text
    assert "each millisecond more" in text or "makes no job cheaper" in text


def test_a_model_nothing_here_runs_can_be_planned_for(call: Call, fleet: str) -> None:
    document = call(
        "plan", "text_to_sql", "--fleet", fleet, "--model", "llama-3.1-8b", schema="plan"
    )
    rows = {row["op"]: row for row in document["stages"]}
    assert rows["decode"]["device"] == "card" and rows["decode"]["joules"] > 0.0


def test_an_unknown_model_is_refused(call: Call) -> None:
    document = call("plan", "text_to_sql", "--model", "nonesuch-9b", code=1, schema="failure")
    assert document["error"]["code"] == "model"


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf"])
def test_a_bad_rate_is_wrong_use(call: Call, fleet: str, rate: str) -> None:
    document = call(
        "plan", "text_to_sql", "--fleet", fleet, "--rate", rate, code=2, schema="failure"
    )
    assert document["error"]["where"] == "--rate"


def test_a_profile_file_moves_the_plan(call: Call, fleet: str, tmp_path: Path) -> None:
    shipped = json.loads(
        (SCHEMAS.parents[1] / "workflows" / "text_to_sql" / "profile.json").read_text()
    )
    stage = shipped["stages"]["draft.decode"]
    stage["samples"] = []
    stage["output_tokens"] = {"mean": 2000.0, "low": 1500.0, "high": 2500.0}
    path = tmp_path / "long.json"
    path.write_text(json.dumps(shipped))
    arguments = ("plan", "text_to_sql", "--fleet", fleet)
    usual = call(*arguments, schema="plan")
    longer = call(*arguments, "--profile", str(path), schema="plan")
    assert longer["seconds"] > 2.0 * usual["seconds"]


def test_a_bad_profile_is_refused(call: Call, fleet: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("ContextTokens,GeneratedTokens\n5,-3\n")
    arguments = ("plan", "text_to_sql", "--fleet", fleet, "--profile", str(path))
    document = call(*arguments, code=2, schema="failure")
    assert document["error"]["where"] == f"{path}:2"


def test_explain_shows_the_error_before_and_after(call: Call) -> None:
    key = Key("cpu", "decode", "m", "t16 c256 b1")
    History().calibrate([(key, 3.0, 1.0)] * 12)
    document = call("explain", "text_to_sql", "--stage", "plan", schema="plan")
    (report,) = document["calibration"]
    assert report["before"] == pytest.approx(2 / 3) and report["after"] < 0.1
    for stage in ("plan", "timeline"):
        text = call("explain", "text_to_sql", "--stage", stage)
        assert "off by 67 % before calibration, 0 % after" in " ".join(text.split())


def test_explain_writes_a_page_that_loads_nothing(call: Call, tmp_path: Path) -> None:
    History().calibrate([(Key("cpu", "decode", "m", "t16 c256 b1"), 3.0, 1.0)] * 12)
    out = tmp_path / "plan.html"
    call("explain", "text_to_sql", "--stage", "plan", "--out", str(out))
    page = out.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "<svg" in page
    assert "before calibration" in page and "draft.decode" in page
    assert "<script" not in page and "href" not in page and "src=" not in page


def test_calibrate_from_an_empty_history_learns_nothing(call: Call) -> None:
    document = call("calibrate", "--from-history", schema="calibrate")
    assert document["new_runs"] == 0 and document["errors"] == []
    assert "0 new runs" in call("calibrate", "--from-history")


def test_calibrate_measures_with_a_model_that_is_here(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gangline.backends.fake import FakeBackend
    from gangline.runtime.machine import default_backends, models

    monkeypatch.setattr(models, "verified_path", lambda spec: Path())
    monkeypatch.setattr(
        default_backends,
        "default_backends",
        lambda fleet, clock: {"cpu/0": FakeBackend(clock=clock.now)},
    )
    document = call("calibrate", "--model", "smollm2-135m", "--rounds", "1", schema="calibrate")
    assert document["new_runs"] == 10
    assert len(History().calibration().runs) == 10
    again = call("calibrate", "--model", "smollm2-135m", "--fresh", schema="calibrate")
    assert again["new_runs"] == 20
    assert all(len(bucket["runs"]) == 2 for bucket in again["calibration"]["buckets"])


def test_calibrate_without_any_model_says_how_to_get_one(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gangline.runtime.machine import models

    monkeypatch.setattr(models, "is_present", lambda spec: False)
    document = call("calibrate", code=1, schema="failure")
    assert "models pull" in document["error"]["next_step"]


def test_explain_draws_the_graph(call: Call, tmp_path: Path) -> None:
    for level, one in (("agent", ">draft<"), ("stage", ">draft.prefill<")):
        for suffix in ("svg", "html"):
            out = tmp_path / f"{level}.{suffix}"
            call("explain", "text_to_sql", "--stage", level, "--out", str(out))
            text = out.read_text()
            assert "<svg" in text and one in text
    out = tmp_path / "plan.svg"
    call("explain", "text_to_sql", "--stage", "plan", "--out", str(out))
    assert "critical path" in out.read_text() and ">draft.prefill<" in out.read_text()
    out = tmp_path / "stage.mlir"
    call("explain", "text_to_sql", "--stage", "stage", "--out", str(out))
    assert "stage.prefill" in out.read_text() and "<svg" not in out.read_text()


NESTED = """
import gangline as gl

@gl.tool(effects="none")
def doubled_twice(text: str) -> str:
    return text + text

@gl.workflow
def inner_agent(text: str) -> str:
    return doubled_twice(doubled_twice(text))

@gl.workflow
def outer_agent(text: str) -> str:
    return inner_agent(doubled_twice(text))
"""


def test_explain_gives_nodes_and_edges_of_nested_agents(call: Call, tmp_path: Path) -> None:
    (tmp_path / "nested.py").write_text(NESTED)
    name = f"{tmp_path / 'nested.py'}:outer_agent"
    found = call("explain", name, "--stage", "agent", schema="explain")
    parents = {node["id"]: (node["label"], node["parent"]) for node in found["nodes"]}
    assert parents["inner_agent"] == ("inner_agent", None)
    inside = [label for label, parent in parents.values() if parent == "inner_agent"]
    assert inside == ["doubled_twice", "doubled_twice"]
    assert {"source": "doubled_twice", "target": "inner_agent"} in found["edges"]
    assert found["critical_path"] and all(node["critical"] for node in found["nodes"])
    out = tmp_path / "nested.svg"
    call("explain", name, "--stage", "agent", "--out", str(out))
    assert out.read_text().count('<rect class="box') == 1
