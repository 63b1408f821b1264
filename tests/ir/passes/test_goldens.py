"""Every pass does what its golden files show, and what its section of docs/passes.md says.

A golden pair is tests/golden/passes/NAME.before.mlir and NAME.after.mlir; further pairs are
NAME.2.before.mlir and so on. A `before` may begin with `//` lines that say what to see in it; the
rest is the module's canonical text. After a change that should show, write the pairs anew with
GANGLINE_WRITE_GOLDENS=1 and read the difference.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gangline.ir import passes
from gangline.ir.module import Module
from gangline.ir.passes import Pass, run
from gangline.ir.verifier import verify
from tests.ir.iree_opt import refused

GOLDEN = Path(__file__).parents[2] / "golden" / "passes"
PAGE = Path(__file__).parents[3] / "docs" / "passes.md"
WRITE = bool(os.environ.get("GANGLINE_WRITE_GOLDENS"))


def exported() -> dict[str, type[Pass]]:
    """Give the passes that gangline.ir.passes exports, by name."""
    found = [getattr(passes, name) for name in passes.__all__]
    return {
        kind.name: kind
        for kind in found
        if isinstance(kind, type) and issubclass(kind, Pass) and kind is not Pass
    }


PASSES = exported()
BEFORE = sorted(GOLDEN.glob("*.before.mlir"))


def pass_of(file: Path) -> type[Pass]:
    name = file.name.partition(".")[0]
    assert name in PASSES, f"{file.name} belongs to no pass: {', '.join(PASSES)}"
    return PASSES[name]


def after_of(file: Path) -> Path:
    return file.with_name(file.name.replace(".before.", ".after."))


def body_of(file: Path) -> str:
    """Give a golden's module without the comment at its top."""
    lines = file.read_text().splitlines(keepends=True)
    while lines and lines[0].startswith("//"):
        del lines[0]
    return "".join(lines)


def header_of(file: Path) -> str:
    text = file.read_text()
    return text.removesuffix(body_of(file))


def level_of(text: str) -> str:
    return "stage" if '"stage.' in text else "agent"


def defined() -> Iterator[type[Pass]]:
    """Yield every pass of the room, exported or not."""
    for found in pkgutil.iter_modules(passes.__path__, f"{passes.__name__}."):
        importlib.import_module(found.name)
    pending = list(Pass.__subclasses__())
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        if kind.name and kind.__module__.startswith(passes.__name__):
            yield kind


def test_every_pass_of_the_room_is_exported_under_a_name_of_its_own() -> None:
    assert {kind.name: kind.__name__ for kind in defined()} == {
        name: kind.__name__ for name, kind in PASSES.items()
    }
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in PASSES)
    exports = [getattr(passes, name) for name in passes.__all__]
    kinds = [e for e in exports if isinstance(e, type) and issubclass(e, Pass) and e is not Pass]
    assert len(kinds) == len(PASSES), "two passes have one name"


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_has_goldens_and_a_section(name: str) -> None:
    assert (GOLDEN / f"{name}.before.mlir").exists(), "a pass needs a golden pair"
    sections = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]
    (section,) = [text for text in sections if text.partition("\n")[0] == name]
    told = " ".join(section.partition("\n")[2].split())
    first = (PASSES[name].__doc__ or "").partition("\n")[0]
    assert first and told.startswith(first), f"the section of {name} begins with: {first}"
    assert "```mlir" in section, "a section shows an excerpt"


@pytest.mark.parametrize("file", BEFORE, ids=lambda file: file.name.removesuffix(".before.mlir"))
def test_a_pass_turns_before_into_after(file: Path) -> None:
    instance = pass_of(file).example()
    before, after = body_of(file), after_of(file)
    module = Module.parse(before, filename=file.name)
    verify(module, level=level_of(before))
    if WRITE:
        file.write_text(header_of(file) + module.text)
        before = module.text
    assert module.text == before, "a golden is the canonical text"
    changed = run(module, [instance])
    assert changed is module
    verify(changed, level=level_of(changed.text))
    if WRITE:
        after.write_text(changed.text)
    assert changed.text == after.read_text()
    assert (changed.text != before) == instance.changes, "a golden shows a change"
    if instance.idempotent:
        assert run(Module.parse(changed.text), [instance]).text == changed.text, "not idempotent"


def test_every_after_has_its_before() -> None:
    assert sorted(GOLDEN.glob("*.mlir")) == sorted([*BEFORE, *map(after_of, BEFORE)])


def test_iree_opt_accepts_every_golden(tmp_path: Path) -> None:
    files = [*BEFORE, *map(after_of, BEFORE)]
    wrong = refused(tmp_path, [body_of(file) for file in files])
    assert [files[at].name for at in wrong] == []
