"""The IRDL text of the op table accepts the goldens and refuses what the table forbids."""

from __future__ import annotations

from pathlib import Path

import pytest

from gangline.ir.module import Module
from gangline.ir.verifier import verify
from tests.ir.iree_opt import check

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = sorted(GOLDEN.glob("*.mlir"))


def test_there_are_goldens_of_both_levels() -> None:
    assert {file.name.split(".")[1] for file in FILES} == {"agent", "stage"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.name))
def test_goldens_pass_iree_opt_and_the_verifier(tmp_path: Path, file: Path) -> None:
    text = file.read_text()
    done = check(tmp_path, text)
    assert done.returncode == 0, done.stderr[:2000]
    module = Module.parse(text)
    verify(module, level=file.name.split(".")[1])
    assert module.text == text, "a golden is the canonical text"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("retries = 0 : i64, ", ""),
        ("retries = 0 : i64", 'retries = "none"'),
        (": (!agent.list) -> i64", ": (!agent.list) -> !agent.text"),
        ('"agent.until"', '"agent.unless"'),
        ("max_tokens = 48 : i64, ", ""),
    ],
)
def test_iree_opt_refuses_what_the_table_forbids(tmp_path: Path, old: str, new: str) -> None:
    text = (GOLDEN / "research_brief.agent.mlir").read_text()
    assert old in text
    assert check(tmp_path, text.replace(old, new, 1)).returncode != 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"agent.ask"', '"agent.asks"'),
        ("schema = {", "schemes = {"),
        ("max_steps = 8 : i64, ", ""),
        ("max_steps = 8 : i64", 'max_steps = "8"'),
        (") -> !agent.json\n", ") -> !agent.text\n"),
    ],
)
def test_iree_opt_refuses_wrong_questions_and_expansions(
    tmp_path: Path, old: str, new: str
) -> None:
    text = (GOLDEN / "research_plan.agent.mlir").read_text()
    head, mark, tail = text.partition('"agent.ask"')
    assert old in mark + tail
    broken = (mark + tail).replace(old, new, 1)
    if "text" in new:
        first, name, rest = (mark + tail).partition('"agent.expand"')
        broken = first + name + rest.replace(old, new, 1)
    assert check(tmp_path, head + broken).returncode != 0


def test_every_compute_function_of_a_program_is_in_the_table() -> None:
    from gangline.ir.ops import COMPUTE_ARITY
    from gangline.ir.program import COMPUTE_FUNCTIONS

    assert tuple(COMPUTE_ARITY) == COMPUTE_FUNCTIONS
