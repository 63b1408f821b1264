"""Modules and programs of other versions: old ones go on, new ones are refused with a reason."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from gangline.ir.decoding import decode_program
from gangline.ir.errors import VerifyError, VersionError
from gangline.ir.module import Module
from gangline.ir.ops import OP_TABLE_VERSION
from gangline.ir.program import Program
from gangline.ir.verifier import verify
from gangline.ir.version import read_module, upgraded, version_of

GOLDEN = Path(__file__).parents[1] / "golden"
OLD = (GOLDEN / "versions" / "research_plan.1.mlir").read_text()
NEW = (GOLDEN / "research_plan.stage.mlir").read_text()


def test_a_module_of_version_1_is_refused_as_it_is_and_read_when_upgraded() -> None:
    old = Module.parse(OLD)
    assert version_of(old) == 1
    with pytest.raises(VerifyError):
        verify(old, level="stage")
    made = upgraded(old)
    verify(made, level="stage")
    assert version_of(made) == OP_TABLE_VERSION
    assert "!stage.kv" not in made.text
    assert old.text == OLD, "upgrading leaves the module it was given alone"


def test_an_upgraded_module_is_the_program_it_was() -> None:
    program = decode_program(read_module(OLD, level="stage"))
    today = decode_program(read_module(NEW, level="stage"))
    assert [(s.op, s.name, s.operands) for s in program.stages] == [
        (s.op, s.name, s.operands) for s in today.stages
    ]


def test_an_expand_of_version_1_is_granted_every_tool_that_writes() -> None:
    writes = OLD.replace('tools = [{effects = "read"', 'tools = [{effects = "write"', 1)
    assert writes != OLD
    (expand,) = [s for s in decode_program(read_module(writes)).stages if s.op == "expand"]
    assert expand.attributes["granted"] == ["find"]
    (expand,) = [s for s in decode_program(read_module(OLD)).stages if s.op == "expand"]
    assert expand.attributes["granted"] == []


def test_bytecode_is_upgraded_too() -> None:
    assert read_module(Module.parse(OLD).bytecode).text == upgraded(Module.parse(OLD)).text


def test_a_module_of_this_version_is_given_back_as_it_is() -> None:
    module = Module.parse(NEW)
    assert upgraded(module) is module


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (f"{OP_TABLE_VERSION + 1} : i64", f"version {OP_TABLE_VERSION + 1} of the op table"),
        ("0 : i64", "no version"),
        ("-1 : i64", "no version"),
        ("true", "no version"),
        ('"2"', "no version"),
        ("2.0 : f64", "no version"),
        ("unit", "no version"),
        ("dense<1> : tensor<1xi8>", "no version"),
    ],
)
def test_a_version_that_is_not_known_is_refused_with_its_reason(version: str, reason: str) -> None:
    text = NEW.replace(f"agent.version = {OP_TABLE_VERSION} : i64", f"agent.version = {version}")
    assert text != NEW
    with pytest.raises(VersionError, match=reason) as caught:
        read_module(text)
    assert caught.value.where == "<text>:1"
    assert caught.value.next_step


@pytest.mark.parametrize(
    "old", ['"agent.expand"() : () -> !agent.json', '"agent.expand"() {tools = 3} : () -> i1']
)
def test_upgrading_survives_what_the_verifier_will_refuse(old: str) -> None:
    with pytest.raises(VerifyError):
        read_module(f"func.func @f() -> i1 {{ %0 = {old} return %0 : i1 }}")


def document(**more: Any) -> dict[str, Any]:
    """Give a stored program with one expand, as version 1 wrote it."""
    rows = [{"name": "save", "effects": "write"}, {"name": "look", "effects": "read"}]
    made = Program("p", (), (), (), text="module {}").to_json()
    del made["version"]
    stage = {"id": 0, "op": "expand", "name": "e", "attributes": {"tools": rows}, "where": ""}
    stage |= {"operands": [], "results": [], "regions": []}
    return {**made, "stages": [stage], **more}


def test_a_stored_program_of_version_1_keeps_its_hash_and_is_granted_what_it_was() -> None:
    program = Program.from_json(document())
    assert program.version == 1
    digest = hashlib.blake2b(b"op-table 1\nmodule {}", digest_size=16)
    assert program.hash == digest.hexdigest()
    assert program.stages[0].attributes["granted"] == ["save"]
    assert Program.from_json(program.to_json()) == program


def test_a_program_of_this_version_is_granted_nothing_it_does_not_say() -> None:
    program = Program.from_json(document(version=OP_TABLE_VERSION))
    assert program.version == OP_TABLE_VERSION
    assert "granted" not in program.stages[0].attributes


def test_a_stored_program_of_a_newer_version_is_refused() -> None:
    with pytest.raises(VersionError, match="this gangline knows versions 1 to"):
        Program.from_json(document(version=OP_TABLE_VERSION + 1))
