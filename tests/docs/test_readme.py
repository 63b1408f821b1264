"""The README is true: every block runs, and the first screen shows what it must."""

from __future__ import annotations

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


def test_the_figure_was_drawn_by_the_tool() -> None:
    (name,) = re.findall(r"!\[[^\]]*\]\((docs/images/[\w.]+\.svg)\)", README.read_text())
    text = (ROOT / name).read_text()
    assert text.startswith("<svg") and "research" in name
    for stage in ("find_notes", "summarise.decode", "write_brief.prefill"):
        assert stage in text
