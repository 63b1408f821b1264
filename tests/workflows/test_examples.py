"""The example runs end to end on a scripted model: every note, both branches, the loop."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gangline.backends.fake import FakeBackend
from gangline.runtime.api import run_job
from gangline.runtime.store import Store
from gangline.workflows.registry import load

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "research_brief.py"
GOOD = "Sled dogs run in teams on one line. They rest as long as they run."


def run(tmp_path: Path, topic: str, replies: list[str]) -> tuple[Any, list[str]]:
    """Run the example; answer briefs and rewrites with `replies` in order."""
    prompts: list[str] = []
    queue = iter(replies)

    def reply(prompt: str) -> str:
        prompts.append(prompt)
        return "A fact." if prompt.startswith("Say this") else next(queue)

    store = Store(tmp_path / "jobs")
    try:
        result = run_job(
            load(f"{EXAMPLE}:brief"),
            {"topic": topic},
            backends={"cpu/0": FakeBackend(reply)},
            store=store,
        )
    finally:
        store.close()
    assert result.status == "succeeded", result.error
    return result.output, prompts


def test_a_good_brief_needs_no_second_try(tmp_path: Path) -> None:
    output, prompts = run(tmp_path, "sled dogs", [GOOD])
    assert output["good"] and output["text"] == GOOD and len(output["sources"]) == 3
    assert sum(prompt.startswith("Say this") for prompt in prompts) == 3


def test_a_bad_brief_is_rewritten_until_it_is_good(tmp_path: Path) -> None:
    output, prompts = run(tmp_path, "sled dogs", ["Too short", GOOD])
    assert output["good"] and "Too short" in prompts[-1]


def test_the_loop_ends_without_success(tmp_path: Path) -> None:
    output, prompts = run(tmp_path, "sled dogs", ["No", "No", "No"])
    assert not output["good"] and len(prompts) == 6


def test_a_topic_without_notes_needs_no_model(tmp_path: Path) -> None:
    output, prompts = run(tmp_path, "quantum", [])
    assert prompts == [] and output["sources"] == []


@pytest.mark.parametrize(
    "example",
    [
        "research_brief.py:brief",
        "many_questions.py:reading",
        "research_plan.py:research",
        "agents/single.py:clerk",
        "agents/network.py:desk",
        "agents/supervisor.py:report",
        "agents/supervisor_as_tool.py:trip",
        "agents/hierarchical.py:handbook",
        "agents/custom.py:announce",
    ],
)
@pytest.mark.parametrize("level", ["agent", "stage"])
def test_goldens(level: str, example: str) -> None:
    """Write goldens anew by deleting them; a diff in review shows what a change does."""
    # In a process of its own: a tool's name depends on which names other tests have taken.
    made = "trace()" if level == "agent" else "program()"
    code = (
        "import sys; from gangline.workflows.registry import load\n"
        f"sys.stdout.write(load('examples/{example}').{made}.text)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    golden = ROOT / "tests" / "golden" / f"{_flat(example)}.{level}.mlir"
    if not golden.exists():
        golden.write_text(done.stdout)
        pytest.fail(f"{golden.name} was missing and has been written; look at it")
    assert done.stdout == golden.read_text()


def _flat(example: str) -> str:
    return example.partition(".")[0].replace("/", "_")
