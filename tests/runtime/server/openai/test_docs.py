"""docs/openai.md is true: its Python runs, block by block, against a server."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp")

import gangline as gl

PAGE = Path(__file__).parents[4] / "docs" / "openai.md"
Serve = Callable[..., Any]


@gl.tool
def twofold(number: int) -> int:
    return 2 * number


@gl.workflow
def double(number: int) -> int:
    """Double a number."""
    return twofold(number)


def says(prompt: str) -> str:
    if "42 mm" in prompt:
        return "It rains."
    if "raining" in prompt:
        return '{"name": "weather", "arguments": {"town": "Rome"}}'
    return '{"names": ["Togo"]}' if "JSON" in prompt else "Togo, Balto and Fritz."


def test_the_page_runs(serve: Serve) -> None:
    server = serve(says, workflows=[double])
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "page"}
    with contextlib.redirect_stdout(io.StringIO()) as out:
        for block in blocks:
            here = block.replace("http://127.0.0.1:8080", server.url)
            exec(compile(here, str(PAGE), "exec", dont_inherit=True), names)  # noqa: S102 (ours)
    names["client"].close()
    assert len(blocks) == 8
    assert out.getvalue().splitlines() == [
        "['qwen2.5-coder-1.5b', 'smollm2-135m']",
        "Togo, Balto and Fritz. 0",
        "Togo, Balto and Fritz.22",
        "['Togo']",
        "weather Rome",
        "It rains.",
        "3 32 22",
        "404 model_not_found",
        "['double', 'resume_job']",
        "{'result': 42} False",
        "TASK_STATE_COMPLETED 42",
    ]
