"""What users type is read, or refused with the right way to write it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gangline.ir.errors import InputError, UsageError
from gangline.ir.program import Parameter
from gangline.runtime.cli.arguments import (
    absolute_reference,
    parse_duration,
    parse_slo,
    read_inputs,
)

PARAMETERS = (
    Parameter("question", "text"),
    Parameter("rows", "int"),
    Parameter("tags", "list", required=False, default=[]),
)


def test_files_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.sqlite").touch()
    database = [Parameter("db", "database")]
    assert read_inputs(["db=shop.sqlite"], None, database) == {"db": str(tmp_path / "shop.sqlite")}
    for other in ("gone.sqlite", "postgresql://host/db"):
        assert read_inputs([f"db={other}"], None, database) == {"db": other}
    assert absolute_reference("flows.py:ask") == f"{tmp_path / 'flows.py'}:ask"
    assert absolute_reference("text_to_sql") == "text_to_sql"


@pytest.mark.parametrize(
    ("text", "seconds"), [("4s", 4.0), ("500ms", 0.5), ("2m", 120.0), ("1h", 3600.0), ("1.5", 1.5)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "4 parsecs", "-1s", "0s", "s", "1s2"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a duration"):
        parse_duration(text)


def test_objectives() -> None:
    assert parse_slo("p95=4s") == (95, 4.0)
    with pytest.raises(UsageError, match="not an objective"):
        parse_slo("fast")


def test_text_stays_text_and_the_rest_is_json() -> None:
    inputs = read_inputs(["question=2024", "rows=7", 'tags=["a"]'], None, PARAMETERS)
    assert inputs == {"question": "2024", "rows": 7, "tags": ["a"]}


def test_a_value_may_hold_equals_signs() -> None:
    assert read_inputs(["question=a=b", "rows=1"], None, PARAMETERS)["question"] == "a=b"


def test_pairs_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "in.json"
    file.write_text(json.dumps({"question": "old", "rows": 3}))
    assert read_inputs(["question=new"], str(file), PARAMETERS) == {"question": "new", "rows": 3}


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (["question=x"], "'rows' is missing"),
        (["question=x", "rows=1", "colour=red"], "no input 'colour'"),
    ],
)
def test_wrong_names_are_named(pairs: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read_inputs(pairs, None, PARAMETERS)
    assert "question (text)" in caught.value.next_step


@pytest.mark.parametrize("content", ["{", "[1]", None])
def test_a_bad_file_is_refused(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "in.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match="input file"):
        read_inputs([], str(file), PARAMETERS)
