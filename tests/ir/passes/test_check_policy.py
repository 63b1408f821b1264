"""`check-policy` in a pipeline: what it lets through, what it refuses, and what it then says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gangline.ir.compiler import compile_module, to_stages
from gangline.ir.errors import PolicyError
from gangline.ir.module import Module
from gangline.ir.passes import DEFAULT_PASSES, CheckPolicy, Pass, run
from gangline.ir.specs.policy import Policy

GOLDEN = Path(__file__).parents[2] / "golden" / "passes"
SECRET = "input:name -> mail"


def golden(file: str = "check-policy") -> Module:
    text = (GOLDEN / f"{file}.before.mlir").read_text()
    return Module.parse("".join(row for row in text.splitlines(True) if row[:2] != "//"))


def check(module: Module, **policy: Any) -> Module:
    return run(module, [CheckPolicy(Policy.from_json(policy))])


def refusal(module: Module, **policy: Any) -> PolicyError:
    with pytest.raises(PolicyError) as raised:
        check(module, **policy)
    return raised.value


def steps(finding: Any) -> list[str]:
    return [hop["step"] for hop in finding["path"]]


def test_a_secret_on_its_way_out_is_refused_with_its_path() -> None:
    error = refusal(golden())
    (finding,) = error.findings
    assert finding["rule"] == "secret-to-external"
    assert steps(finding) == ["input:name", "greet", "loop", "mail"]
    assert "input:name -> greet" in error.detail and error.where == "workflow main"
    assert SECRET in error.next_step


@pytest.mark.parametrize(
    ("grants", "rules"),
    [
        ([], ["write-not-granted"]),
        (["mial"], ["write-not-granted"]),
        (["mail:1"], ["repeated-write"]),
        (["mail:2"], []),
        (["mail"], []),
    ],
)
def test_writes_are_counted_against_their_grants(grants: list[str], rules: list[str]) -> None:
    policy = {"authored": False, "flows": [SECRET], "grants": grants}
    if not rules:
        check(golden(), **policy)
        return
    error = refusal(golden(), **policy)
    assert [row["rule"] for row in error.findings] == rules
    assert steps(error.findings[0]) == ["loop", "mail"]


@pytest.mark.parametrize("on_violation", ["ask", "refuse"])
def test_nobody_is_asked_while_a_module_is_compiled(on_violation: str) -> None:
    refusal(golden(), on_violation=on_violation)


def test_a_module_of_stages_is_checked_as_well() -> None:
    stages = to_stages(golden())
    before = stages.text
    assert check(stages, flows=[SECRET]).text == before
    assert steps(refusal(stages).findings[0]) == ["input:name", "greet", "loop", "mail"]


def test_nested_agents_are_looked_into_before_they_are_inlined_and_after() -> None:
    nested = golden("inline-agents")
    policy = {"authored": False, "grants": ["log", "send"]}
    (first, second) = refusal(nested, **policy).findings
    assert steps(first) == ["expert", "note"] and steps(second) == ["expert#2", "note#2"]
    inlined = run(golden("inline-agents"), DEFAULT_PASSES)
    (first, second) = refusal(inlined, **policy).findings
    assert steps(first) == ["expert/note"] and steps(second) == ["expert#2/note#2"]


def test_nothing_after_it_runs_where_it_refuses() -> None:
    reached = []

    class Next(Pass):
        def apply(self, module: Module) -> None:
            reached.append(module)

    for flows, count in (([], 0), ([SECRET], 1)):
        policy = Policy.from_json({"flows": flows})
        try:
            compile_module(golden(), (CheckPolicy(policy), Next()))
        except PolicyError:
            assert not flows
        assert len(reached) == count
