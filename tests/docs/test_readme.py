"""The README is true: every block runs, and the first screen shows what it must."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def test_every_block_runs(workshop: Any, fences: Callable[[Path], Iterator[Any]]) -> None:
    assert workshop.run(fences(README)) >= 6


def test_the_first_screen_sets_up_and_runs_in_two_commands(
    fences: Callable[[Path], Iterator[Any]],
) -> None:
    first = next(fence for fence in fences(README) if fence.language == "bash")
    assert first.line < 40
    commands = [line for line in first.text.splitlines() if line]
    assert len(commands) == 2
    assert commands[0].startswith("git clone") and commands[1] == "make run"


def test_the_figure_was_drawn_by_the_tool(workshop: Any) -> None:
    """The picture shows the stages and devices that the command draws today."""
    (name,) = re.findall(r"!\[[^\]]*\]\((docs/images/[\w.]+\.svg)\)", README.read_text())
    what = ("examples/research_brief.py:brief", "--stage", "timeline")
    where = ("--fleet", "examples/mixed_fleet.toml", "--out", "drawn.svg")
    code = workshop.gangline(["explain", *what, *where])
    assert code == 0
    drawn = labels((workshop.folder / "drawn.svg").read_text())
    assert labels((ROOT / name).read_text()) == drawn and len(drawn) == 17


def test_the_figures_of_the_service_are_those_of_the_result() -> None:
    ours = json.loads((ROOT / "benchmarks" / "results" / "rest.json").read_text())["gangline"]
    text = " ".join(README.read_text().split())
    assert f"took {ours['one_at_a_time']['p50_ms']:.1f} ms from submit to result (p50" in text
    assert f"and {ours['in_flight_32']['per_s']:.0f} a second were done" in text


def labels(svg: str) -> list[str]:
    """Give the stage names of a timeline, top to bottom."""
    return re.findall(r">([\w.#/]+) \(\w+\)</text>", svg)
