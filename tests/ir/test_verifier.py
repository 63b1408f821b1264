"""Every broken module is refused, with the line of the operation that breaks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gangline.ir.errors import VerifyError
from gangline.ir.module import Module
from gangline.ir.rules import RULES, Facts
from gangline.ir.verifier import verify, violations
from tests.ir.iree_opt import check, refused
from tests.ir.malformed import BAD
from tests.ir.modules import GOOD, TOOL, function, tool


@pytest.mark.parametrize("name", GOOD)
def test_a_good_module_passes(name: str) -> None:
    verify(Module.parse(GOOD[name]))


def test_iree_opt_takes_the_good_modules(tmp_path: Path) -> None:
    assert refused(tmp_path, list(GOOD.values())) == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_module_is_refused_with_its_line(name: str) -> None:
    text, message, line, _ = BAD[name]
    try:
        found = list(violations(Module.parse(text)))
    except VerifyError as error:
        found = [error]
    assert any(message in error.detail for error in found), [error.detail for error in found]
    places = {error.where for error in found if message in error.detail}
    assert f"<text>:{line}" in places
    assert all(error.next_step for error in found)


@pytest.mark.parametrize("name", [name for name in BAD if BAD[name][3]])
def test_iree_opt_refuses_what_irdl_can_state(tmp_path: Path, name: str) -> None:
    assert check(tmp_path, BAD[name][0]).returncode != 0


def test_the_table_is_as_large_as_it_should_be() -> None:
    assert len(BAD) >= 100
    assert sum(irdl for *_, irdl in BAD.values()) >= 30


def test_every_rule_refuses_a_row() -> None:
    fired = set()
    for text, *_ in BAD.values():
        try:
            module = Module.parse(text)
        except VerifyError:
            continue  # MLIR's own verifier refuses it
        facts = Facts(module)
        fired |= {rule for rule in RULES if next(iter(rule(facts)), None) is not None}
    assert [rule.__name__ for rule in RULES if rule not in fired] == []


def test_the_line_is_the_operations() -> None:
    with pytest.raises(VerifyError) as caught:
        verify(Module.parse(function("\n\n" + tool(TOOL + ", color = 1"))))
    assert caught.value.where == "<text>:4"


def test_levels_do_not_mix() -> None:
    verify(Module.parse(GOOD["tool"]), level="agent")
    with pytest.raises(VerifyError, match="stage level"):
        verify(Module.parse(GOOD["tool"]), level="stage")
    with pytest.raises(VerifyError, match="agent level"):
        verify(Module.parse(GOOD["stages"]), level="agent")


@pytest.mark.parametrize("data", [b"", b"ML\xefR", b"not bytecode", b"ML\xefR" + bytes(64)])
def test_damaged_bytecode_is_refused(data: bytes) -> None:
    with pytest.raises(VerifyError):
        verify(Module.from_bytecode(data))


def test_a_file_that_was_named_is_in_every_location() -> None:
    module = Module.parse(function(tool(TOOL + ", color = 1")), filename="flow.mlir")
    with pytest.raises(VerifyError) as caught:
        verify(module)
    assert caught.value.where == "flow.mlir:2"
    assert 'loc("flow.mlir":2:' in module.copy().text_with_locations
    with pytest.raises(VerifyError) as caught:
        Module.parse("func.func @main(", filename="flow.mlir")
    assert caught.value.where == "flow.mlir:1"


def test_a_location_that_the_text_gives_is_kept() -> None:
    text = Module.parse(GOOD["tool"], filename="first.py").text_with_locations
    again = Module.parse(text, filename="second.mlir")
    assert again.text_with_locations == text


def test_deep_nesting_is_refused_and_ends_no_process() -> None:
    deep = "scf.if %b {\n" * 10_000 + "}" * 10_000
    with pytest.raises(VerifyError, match="nest deeper than") as caught:
        Module.parse(function(deep), filename="deep.mlir")
    assert caught.value.where == "deep.mlir:501"
    brackets = "[" * 10_000 + "]" * 10_000
    with pytest.raises(VerifyError, match="nest deeper than"):
        Module.parse(function(tool(TOOL + f", agent.within = {brackets}")))


def test_brackets_in_texts_and_comments_are_no_nesting() -> None:
    text = "{[(<" * 1_000 + '\\"' + "{" * 1_000
    verify(Module.parse(function(f"// {text}\n" + tool(TOOL.replace('"0"', f'"{text}"')))))
