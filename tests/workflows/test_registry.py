"""Names of tools, and loading of workflow files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import gangline as gl
from gangline.ir.errors import TraceError, UsageError
from gangline.workflows.registry import TOOLS, load

FLOW = """
from __future__ import annotations
import gangline as gl

@gl.tool(effects="none")
def shout_registry(text: str) -> str:
    return text.upper() + MARK

@gl.workflow
def flow(text: str) -> str:
    return shout_registry(text)

not_a_flow = 3
"""


def write(folder: Path, name: str, mark: str) -> Path:
    file = folder / name / "flow.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text(FLOW.replace("MARK", repr(mark)))
    return file


def test_two_files_of_one_name_keep_their_own_tools(tmp_path: Path) -> None:
    flows = [load(f"{write(tmp_path, mark, mark)}:flow") for mark in ("one", "two")]
    names = [flow.program().stages[0].attributes["tool"] for flow in flows]
    assert names[0] == "shout_registry" and names[1].endswith(".shout_registry")
    assert [TOOLS[name].call({"text": "a"}) for name in names] == ["Aone", "Atwo"]


def test_a_file_is_imported_once(tmp_path: Path) -> None:
    file = write(tmp_path, "once", "")
    assert load(f"{file}:flow") is load(f"{file}:flow")


@pytest.mark.parametrize(
    ("reference", "detail", "hint"),
    [
        ("{dir}/flwo.py:flow", "there is no file", "flow.py?"),
        ("{file}:flwo", "no workflow 'flwo'", "Did you mean 'flow'?"),
        ("{file}:not_a_flow", "is no workflow", "flow"),
        ("text_to_sq", "no built-in workflow", "Did you mean 'text_to_sql'?"),
        ("nothing", "no built-in workflow", "path/to/file.py:name"),
        ("{file}", "say which of its workflows", "named/flow.py:flow"),
        ("{empty}", "say which of its workflows", "It has no workflow"),
        ("{dir}/flwo.py", "there is no file", "flow.py?"),
        ("{broken}:flow", "cannot be imported: ZeroDivisionError", "whole traceback"),
        ("{syntax}:flow", "cannot be imported: SyntaxError", "whole traceback"),
    ],
)
def test_what_cannot_be_loaded_says_why(
    tmp_path: Path, reference: str, detail: str, hint: str
) -> None:
    file = write(tmp_path, "named", "")
    broken, syntax = tmp_path / "broken.py", tmp_path / "syntax.py"
    broken.write_text("1 / 0\n")
    syntax.write_text("def\n")
    empty = tmp_path / "empty.py"
    empty.touch()
    places = {"dir": file.parent, "file": file, "broken": broken, "syntax": syntax, "empty": empty}
    with pytest.raises(UsageError) as caught:
        load(reference.format(**places))
    assert detail in caught.value.detail and hint in caught.value.next_step


def test_a_broken_file_can_be_loaded_once_it_is_mended(tmp_path: Path) -> None:
    file = tmp_path / "mended.py"
    file.write_text("1 / 0\n")
    with pytest.raises(UsageError):
        load(f"{file}:flow")
    file.write_text(FLOW.replace("MARK", "'mended'"))
    assert load(f"{file}:flow").name == "flow"


def test_a_file_imports_what_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "beside_the_flow.py").write_text("MARK = 'beside'\n")
    (tmp_path / "json.py").write_text("1 / 0\n")  # a name of the standard library is not taken
    file = tmp_path / "importing.py"
    file.write_text(FLOW + "import json\nfrom beside_the_flow import MARK\n")
    assert load(f"{file}:flow").name == "flow"
    monkeypatch.delitem(sys.modules, "beside_the_flow")


def test_an_error_of_gangline_inside_a_file_passes_through(tmp_path: Path) -> None:
    file = tmp_path / "untyped.py"
    file.write_text("import gangline as gl\n@gl.tool\ndef t(a) -> str:\n    return a\n")
    with pytest.raises(TraceError, match="has no type") as caught:
        load(f"{file}:flow")
    assert caught.value.where.endswith("untyped.py:2")


def test_two_different_tools_of_one_name_are_an_error() -> None:
    def define(kind: int) -> None:
        if kind == 1:

            @gl.tool(effects="none")
            def twin(text: str) -> str:
                return text

        else:

            @gl.tool(effects="none")
            def twin(text: str) -> str:
                return text + text

    # The name, the name with its module, and the qualified name are taken one after the other.
    define(1)
    define(1)
    define(2)
    other = TOOLS["twin"]
    assert other.call({"text": "a"}) == "a"


def test_an_unknown_tool_suggests_a_near_one() -> None:
    @gl.tool(effects="none")
    def unmistakable(text: str) -> str:
        return text

    with pytest.raises(UsageError, match="unmistakable"):
        TOOLS["unmistakeable"]
    assert TOOLS.get("unmistakeable") is None
    assert "unmistakable" in TOOLS and "unmistakable" in TOOLS.names()
