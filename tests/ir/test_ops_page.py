"""docs/ops.md says what the op table says."""

from __future__ import annotations

from pathlib import Path

import pytest

from gangline.ir.module import Module, walk
from gangline.ir.ops import (
    ANNOTATIONS,
    CONTROL_ATTRIBUTES,
    FUNCTION_ATTRIBUTES,
    OP_TABLE_VERSION,
    OPS,
)
from gangline.ir.ops_examples import EXAMPLES, example_of
from gangline.ir.ops_page import page
from gangline.ir.version import read_module
from tests.ir.iree_opt import refused

PAGE = Path(__file__).parents[2] / "docs" / "ops.md"


def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text() == page(), "run `make docs-ops`"


def test_every_row_of_the_table_says_what_it_is() -> None:
    for spec in OPS.values():
        assert f"### {spec.name}\n" in page()
        assert spec.doc and len(spec.operand_names) == len(spec.operands)
        assert len(spec.result_names) in (0, len(spec.results))
        assert all(row.doc for row in spec.attributes), spec.name
    for rows in (ANNOTATIONS, CONTROL_ATTRIBUTES, FUNCTION_ATTRIBUTES):
        assert all(row.doc for row in rows.values())


def current(text: str) -> str:
    return f"module attributes {{agent.version = {OP_TABLE_VERSION} : i64}} {{\n{text}}}"


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_is_valid_and_round_trips(title: str) -> None:
    module = read_module(current(EXAMPLES[title]))
    assert Module.parse(module.text).text == module.text
    assert Module.from_bytecode(module.bytecode).text == module.text


def test_iree_opt_takes_the_examples(tmp_path: Path) -> None:
    texts = [Module.parse(current(text)).text for text in EXAMPLES.values()]
    assert refused(tmp_path, texts) == []


def test_every_operation_of_the_table_has_an_example() -> None:
    used = {
        op.name
        for text in EXAMPLES.values()
        for function in Module.parse(text).functions()
        for op in walk(function)
    }
    assert set(OPS) <= used
    for name in OPS:
        statement, title = example_of(name)
        assert statement in "\n".join(line[2:] for line in EXAMPLES[title].splitlines()) or (
            "\n" not in statement and statement in EXAMPLES[title]
        )
        assert f"```mlir\n{statement}\n```" in page()
