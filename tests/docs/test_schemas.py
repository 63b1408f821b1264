"""The schemas describe every document and event, and refuse what is none."""

from __future__ import annotations

import copy
import json
import sqlite3
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gangline.backends.fake import FakeBackend
from gangline.ir.errors import GanglineError
from gangline.ir.specs.event import JOB_EVENTS, STEP_EVENTS, Event
from gangline.runtime.api import run_job
from gangline.runtime.cli import app
from gangline.runtime.store import Store
from gangline.workflows.registry import load

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "docs" / "schemas"
BRIEF = "examples/research_brief.py:brief"
DATABASE_ROWS = 4

Validate = Callable[[str, Any], None]
Document = Callable[..., Any]


@pytest.fixture
def document(home: Path, capsys: pytest.CaptureFixture[str]) -> Document:
    """Run a command with --json and give the one document it prints."""

    def run(*arguments: str, code: int = 0) -> Any:
        assert app.run([*arguments, "--json"]) == code
        out, err = capsys.readouterr()
        assert err == "" or code == 0
        return json.loads(out)

    return run


@pytest.fixture
def pairs(home: Path) -> Path:
    """A pairs file of two questions, with their database."""
    with sqlite3.connect(home / "small.sqlite") as database:
        database.execute("CREATE TABLE customer (id INTEGER PRIMARY KEY, country TEXT)")
        rows = [(index, "Sweden") for index in range(DATABASE_ROWS)]
        database.executemany("INSERT INTO customer VALUES (?, ?)", rows)
    database.close()
    gold = "SELECT country, COUNT(*) FROM customer GROUP BY country"
    rows_of = (
        {"id": name, "db": "small.sqlite", "question": "How many?", "gold": [gold]} for name in "ab"
    )
    path = home / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows_of))
    return path


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
def test_every_schema_is_one_and_closed(path: Path) -> None:
    schema = json.loads(path.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["title"] and schema["additionalProperties"] is False


def test_every_error_of_the_tree_has_its_code_in_the_schema() -> None:
    known = json.loads((SCHEMAS / "error.json").read_text())["properties"]["code"]["enum"]
    kinds, codes = [GanglineError], set[str]()
    while kinds:
        kind = kinds.pop()
        kinds.extend(kind.__subclasses__())
        if kind.__module__ == GanglineError.__module__:
            codes.add(kind.code)
    assert set(known) == codes


def test_a_job_that_succeeded(document: Document, validate: Validate) -> None:
    result = document("run", BRIEF, "-i", "topic=sled dogs")
    validate("job_result", result)
    assert result["status"] == "succeeded" and len(result["steps"]) > 10
    assert {step["op"] for step in result["steps"]} == {
        *("tool", "tokenize", "prefill", "decode", "detokenize")
    }
    validate("job_result", document("jobs", "show", result["job_id"]))
    listed = document("jobs", "list")
    validate("jobs", listed)
    assert [row["id"] for row in listed["data"]] == [result["job_id"]]


def test_a_job_that_failed_and_one_that_was_refused(document: Document, validate: Validate) -> None:
    inputs = ("-i", "question=How many?", "-i", "db=missing.sqlite")
    failed = document("run", "text_to_sql", *inputs, code=1)
    validate("job_result", failed)
    assert failed["error"]["code"] == "database"
    assert any(step.get("error") for step in failed["steps"])
    validate("job_result", document("jobs", "retry", failed["job_id"], code=1))
    refused = document("run", "text_to_sql", code=2)
    validate("failure", refused)
    assert refused["error"]["code"] == "input"


def test_a_cancelled_job(document: Document, validate: Validate) -> None:
    failed = document("run", BRIEF, "-i", "topic=dogs", "--budget-usd", "1e-12", code=1)
    validate("job_result", failed)
    validate("failure", document("jobs", "cancel", failed["job_id"], code=2))
    with Store() as store:
        data = store.events(failed["job_id"])[0].data
        queued = Event("waiting", 1, "job.queued", 1.0, data=data)
        store.create(queued, "brief", "nobody", 0.0).result()
    validate("job_cancelled", document("jobs", "cancel", "waiting"))
    validate("job_result", document("jobs", "show", "waiting"))


def test_models_and_devices(document: Document, validate: Validate) -> None:
    validate("models", document("models", "list"))
    validate("model_pull", document("models", "pull", "smollm2-135m"))
    validate("devices", document("devices"))
    everything = document("devices", "--all")
    validate("devices", everything)
    assert len(everything["catalogue"]) > 10


@pytest.mark.parametrize("fleet", ["laptop", "mixed_fleet", "own_device"])
def test_plans_and_fleets(fleet: str, document: Document, validate: Validate) -> None:
    path = f"examples/{fleet}.toml"
    validate("fleet", tomllib.loads(Path(path).read_text()))
    plan = document("plan", BRIEF, "--fleet", path)
    validate("plan", plan)
    assert len(plan["stages"]) == 17
    validate("plan", document("explain", BRIEF, "--stage", "timeline", "--fleet", path))


def test_what_is_infeasible(document: Document, validate: Validate) -> None:
    found = document("plan", BRIEF, "--slo", "p95=1ms", code=1)
    validate("failure", found)
    assert found["error"]["code"] == "infeasible"


@pytest.mark.parametrize("stage", ["agent", "stage"])
def test_explained_modules(stage: str, document: Document, validate: Validate) -> None:
    found = document("explain", BRIEF, "--stage", stage)
    validate("explain", found)
    assert f'"{stage}.tool"' in found["mlir"]


@pytest.mark.parametrize("more", [(), ("--self-check",)])
def test_evaluations(
    more: tuple[str, ...], document: Document, validate: Validate, pairs: Path
) -> None:
    where = ("--pairs", str(pairs), "--db-dir", str(pairs.parent))
    found = document("eval", "text_to_sql", *where, *more)
    validate("eval", found)
    assert (found["n"], found["correct"], found["accuracy"]) == (2, 2, 1.0)


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Event]]:
    """The events of a job that succeeded and of one that failed, streamed and stored."""
    seen: list[Event] = []
    with Store(tmp_path_factory.mktemp("events") / "jobs.sqlite") as store:
        for reply, budget in (("A fact of the dogs.", None), ("A fact.", 1e-12)):
            result = run_job(
                load(f"{ROOT}/{BRIEF}"),
                {"topic": "sled dogs"},
                budget_usd=budget,
                fleet=str(ROOT / "examples" / "laptop.toml"),
                backends={"cpu/0": FakeBackend({"": reply})},
                store=store,
                on_event=seen.append,
            )
            seen += store.events(result.job_id)
    yield seen


def as_json(event: Event) -> dict[str, Any]:
    """Give an event as the store and a stream would write it."""
    fields = {name: getattr(event, name) for name in Event.__slots__}
    found: dict[str, Any] = json.loads(json.dumps(fields))
    return found


def test_every_event(events: list[Event], validate: Validate) -> None:
    for event in events:
        validate("event", as_json(event))
    types = {event.type for event in events}
    assert types >= {"job.queued", "job.started", "job.completed", "job.failed"}
    assert types >= {"step.started", "step.delta", "step.completed"}


def test_the_event_schema_names_the_events_there_are() -> None:
    schema = json.loads((SCHEMAS / "event.json").read_text())
    assert schema["properties"]["type"]["enum"] == [*JOB_EVENTS, *STEP_EVENTS]


STEP: dict[str, Any] = {
    "id": "a",
    "parents": [],
    "op": "tool",
    "stage": "a",
    "device": "cpu/0",
    "status": "succeeded",
    **dict.fromkeys(("start_s", "end_s", "actual_s", "usd"), 1.0),
    **dict.fromkeys(("predicted_s", "prompt_tokens", "cached_tokens", "output_tokens")),
}
ERROR = {"code": "usage", "title": "t", "detail": "d", "where": "", "next_step": ""}
TOTALS = {"seconds": 1.0, "usd": 0.0}
RESULT = {
    "status": "succeeded",
    "output": {},
    "job_id": "j",
    "workflow": "w",
    "late": False,
    "steps": [STEP],
    "predicted": TOTALS,
    "actual": TOTALS,
}
EVENT = {"job_id": "j", "seq": 1, "type": "job.started", "at_s": 1.0, "step_id": "", "data": {}}


@pytest.mark.parametrize(
    ("name", "good", "path", "bad"),
    [
        ("step", STEP, "op", "think"),
        ("step", STEP, "actual_s", None),
        ("step", STEP, "actual_s", -1.0),
        ("step", STEP, "output_tokens", 1.5),
        ("step", STEP, "colour", "red"),
        ("step", STEP, "id", ""),
        ("job_result", RESULT, "status", "done"),
        ("job_result", RESULT, "status", "failed"),  # without an error
        ("job_result", RESULT, "error", ERROR),  # although it succeeded
        ("job_result", RESULT, "steps.0.op", "think"),  # through the reference
        ("job_result", RESULT, "actual.usd", "free"),
        ("job_result", RESULT, "late", None),
        ("failure", {"status": "failed", "error": ERROR}, "status", "succeeded"),
        ("failure", {"status": "failed", "error": ERROR}, "error.code", "oops"),
        ("failure", {"status": "failed", "error": ERROR}, "error.detail", ""),
        ("event", EVENT, "seq", 0),
        ("event", EVENT, "step_id", "a"),
        ("event", EVENT, "type", "step.started"),  # without a step
        ("event", EVENT, "type", "job.completed"),  # without an output
        ("event", EVENT, "type", "job.failed"),  # without an error
        (
            "explain",
            {
                "workflow": "w",
                "stage": "agent",
                "program": "0" * 32,
                "mlir": "m",
                "nodes": [],
                "edges": [],
                "critical_path": [],
            },
            "stage",
            "plan",
        ),
    ],
)
def test_what_is_refused(name: str, good: Any, path: str, bad: Any, validate: Validate) -> None:
    validate(name, good)
    broken = copy.deepcopy(good)
    *parents, last = path.split(".")
    inner = broken
    for key in parents:
        inner = inner[int(key) if key.isdigit() else key]
    inner[last] = bad
    with pytest.raises(jsonschema.ValidationError):
        validate(name, broken)


@pytest.mark.parametrize(
    "schema", ["job_result", "plan", "eval", "devices", "models", "jobs", "fleet"]
)
def test_nothing_is_no_document(schema: str, validate: Validate) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validate(schema, {})
