"""Names of tools in tests and examples: each is defined in one file.

All tests share one process, and a tool is found by its name. With two tools of one name, which of
them a job means depends on which file was imported first.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOL = re.compile(
    r"^[ \t]*@(?:gl\.)?(?:tool|retriever)\b[^\n]*\n(?:[^\n]*\n){0,4}?[ \t]*(?:async )?def (\w+)",
    re.MULTILINE,
)


def definitions(folders: tuple[str, ...]) -> dict[str, set[str]]:
    """Give the files that define a tool, by the tool's name (also files written by a test)."""
    found: dict[str, set[str]] = defaultdict(set)
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            for match in TOOL.finditer(path.read_text()):
                found[match[1]].add(str(path.relative_to(ROOT)))
    return found


def test_no_two_files_define_a_tool_of_one_name() -> None:
    found = definitions(("tests", "examples"))
    assert len(found) > 100  # the pattern finds them
    assert {name: files for name, files in found.items() if len(files) > 1} == {}
