"""docs/ops.md says what the op table says."""

from __future__ import annotations

from pathlib import Path

from gangline.ir.ops import ANNOTATIONS, CONTROL_ATTRIBUTES, FUNCTION_ATTRIBUTES, OPS
from gangline.ir.ops_page import page

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
