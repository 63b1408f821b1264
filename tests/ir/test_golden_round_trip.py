"""Every golden module goes through text and bytecode exactly, and iree-opt takes each."""

from __future__ import annotations

from pathlib import Path

import pytest

from gangline.ir.errors import VerifyError
from gangline.ir.module import Module
from gangline.ir.version import read_module, upgraded
from tests.ir.iree_opt import refused

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = sorted(GOLDEN.rglob("*.mlir"))
OLD = [file for file in FILES if file.parent.name == "versions"]


def name_of(file: Path) -> str:
    return str(file.relative_to(GOLDEN))


def canonical(file: Path) -> str:
    """Give a golden without the comment at its top."""
    lines = file.read_text().splitlines(keepends=True)
    return "".join(lines[next(n for n, line in enumerate(lines) if not line.startswith("//")) :])


def test_every_folder_of_goldens_is_looked_at() -> None:
    assert {file.parent.name for file in FILES} >= {"golden", "passes", "versions"}
    assert OLD


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_text_and_bytecode_give_the_golden_back(file: Path) -> None:
    text = canonical(file)
    module = Module.parse(text, filename=file.name)
    assert module.text == text
    again = Module.from_bytecode(module.bytecode)
    assert again.text == text
    assert again.text_with_locations == module.text_with_locations
    assert Module.from_bytecode(again.bytecode).text_with_locations == module.text_with_locations


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_golden_is_read_upgraded_and_verified(file: Path) -> None:
    text = canonical(file)
    read = read_module(text, filename=file.name)
    assert (read.text == text) == (file not in OLD), "only what is old changes"
    assert read_module(read.text).text == read_module(read.bytecode).text == read.text


@pytest.mark.parametrize("file", OLD, ids=name_of)
def test_an_old_golden_is_refused_until_it_is_upgraded(tmp_path: Path, file: Path) -> None:
    from gangline.ir.verifier import verify

    text = canonical(file)
    with pytest.raises(VerifyError):
        verify(Module.parse(text))
    assert refused(tmp_path, [text]) == [0], "its types are those of version 1"


def test_iree_opt_takes_every_golden(tmp_path: Path) -> None:
    texts = [
        upgraded(Module.parse(canonical(file))).text if file in OLD else canonical(file)
        for file in FILES
    ]
    assert [name_of(FILES[at]) for at in refused(tmp_path, texts)] == []
