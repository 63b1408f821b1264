"""What a workflow's Python becomes: stages, regions, order of effects, names, places, hashes."""

# mypy: disable-error-code="empty-body"
from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

import gangline as gl
from gangline.ir.compiler import compile_module
from gangline.ir.program import Program, Stage
from gangline.workflows.registry import load


class Answer(BaseModel):
    sql: str
    ok: bool
    error: str = ""


@gl.tool(effects="read")
def schema_rules(db: gl.Database) -> str:
    return "start: /.+/"


@gl.tool(effects="read")
def read_schema(db: gl.Database) -> str:
    return "create table t"


@gl.llm(model="m", max_tokens=16, grammar=schema_rules, stop=(";",))
def draft(question: str, schema: gl.Free[str], db: gl.Database, seed: int = 0) -> str:
    """Write one query.
    {schema}
    Question: {question} as {{json}}"""


@gl.llm(model="m", max_tokens=16, system="You fix {error}.")
def fix(sql: str, error: str) -> str:
    """Fix {sql}"""


@gl.tool(effects="none")
def agree(drafts: list[str]) -> str:
    return max(drafts)


@gl.tool(effects="read", timeout=5, retries=2)
def execute(db: gl.Database, sql: str) -> Answer:
    return Answer(sql=sql, ok=True)


@gl.workflow
def repair(db: gl.Database, a: Answer) -> Answer:
    return execute(db, fix(a.sql, a.error))


@gl.workflow(deadline=20.0, budget_usd=0.002)
def answer(question: str, db: gl.Database, tries: int = 3) -> Answer:
    schema = read_schema(db)
    drafts = gl.map(lambda seed: draft(question, schema, db, seed=seed), range(3))
    first = execute(db, agree(drafts))
    return gl.loop(lambda a: repair(db, a), first, until=lambda a: a.ok, max_trips=3)


@gl.tool(effects="write")
def save(text: str) -> int:
    return 1


def stages(program: Program, *names: str) -> tuple[Stage, ...]:
    found = {stage.name: stage for stage in program.stages}
    return tuple(found[name] for name in names)


def test_the_example_of_the_design_becomes_a_program() -> None:
    program = answer.program()
    assert (program.name, program.deadline_s, program.budget_usd) == ("answer", 20.0, 0.002)
    assert [(p.name, p.type, p.required, p.default) for p in program.inputs] == [
        ("question", "text", True, None),
        ("db", "database", True, None),
        ("tries", "int", False, 3),
    ]
    assert program.inputs[0].schema == {"type": "string"}
    ops = [program.stages[i].op for i in program.body.stages]
    # The prompt of the three drafts is one: it is computed before the map.
    assert ops[:5] == ["tool", "constant", "tool", "tokenize", "prefill"]
    assert ops[5:] == ["map", "tool", "tool", "loop"]
    mapped, loop, ran = stages(program, "map", "loop", "repair/execute#2")
    body = program.regions[mapped.regions[0]]
    inside = [program.stages[i].name for i in body.stages]
    assert inside == ["draft.decode", "draft.detokenize"]
    (decode, rules) = stages(program, "draft.decode", "schema_rules")
    assert decode.attributes["names"] == ["seed", "grammar"]
    assert decode.operands[1:] == (*body.arguments, *rules.results)
    until, trip = (program.regions[i] for i in loop.regions)
    assert loop.attributes == {"max_trips": 3}
    (tested,) = (program.stages[i] for i in until.stages)
    assert (tested.attributes, tested.operands) == ({"fn": "get", "key": "ok"}, until.arguments)
    assert until.yields == tested.results
    # The nested workflow `repair` stands in the loop's body, on the loop's own values.
    assert trip.stages[-1] == ran.id and trip.yields == ran.results
    assert ran.operands[0] == 1 and ran.attributes["agent.within"] == ["repair"]
    assert [program.stages[i].operands for i in trip.stages[:2]] == [trip.arguments] * 2
    assert Program.from_json(program.to_json()) == program


def test_a_prompt_keeps_its_marks_and_its_options() -> None:
    tokenize, decode = stages(answer.program(), "draft.tokenize", "draft.decode")
    assert tokenize.attributes["template"] == [
        {
            "role": "user",
            "text": "Write one query.\n{schema}\nQuestion: {question} as {{json}}",
        }
    ]
    assert tokenize.attributes["names"] == ["schema", "question"]
    assert tokenize.attributes["free"] == ["schema"]
    assert decode.attributes["stop"] == [";"] and decode.attributes["max_tokens"] == 16
    (fixed,) = stages(answer.program(), "repair/fix.tokenize")
    assert [row["role"] for row in fixed.attributes["template"]] == ["system", "user"]
    assert fixed.attributes["names"] == ["error", "sql"]


def test_tool_options_reach_the_stage() -> None:
    execute_stage, again = stages(answer.program(), "execute", "repair/execute#2")
    kept = execute_stage.attributes
    assert (kept["timeout_s"], kept["retries"], kept["effects"]) == (5.0, 2, "read")
    assert kept["names"] == ["db", "sql"] and kept["signature"] == again.attributes["signature"]
    assert len(kept["signature"]) == 16


def test_every_stage_knows_its_line() -> None:
    source = Path(__file__).read_text().splitlines()
    for stage in answer.program().stages:
        file, _, line = stage.where.rpartition(":")
        assert file.endswith("test_tracing.py")
        assert any(word in source[int(line) - 1] for word in ("draft(", "execute(", "gl.", "read_"))


def test_tracing_is_deterministic() -> None:
    first, second = answer.trace(), answer.trace()
    assert first.text == second.text
    assert first.text_with_locations == second.text_with_locations


def test_the_hash_does_not_see_where_the_source_stands(tmp_path: Path) -> None:
    source = (
        "from __future__ import annotations\nimport gangline as gl\n"
        "@gl.tool(effects='read')\ndef look(t: str) -> str:\n    return t\n"
        "@gl.workflow\ndef flow(t: str) -> str:\n    return look(TEXT)\n"
    )
    programs = []
    for name, text in (("a", source), ("b", "\n\n" + source), ("c", source)):
        file = tmp_path / name / "flow.py"
        file.parent.mkdir()
        file.write_text(text.replace("TEXT", "'x'" if name == "c" else "t"))
        programs.append(load(f"{file}:flow").program())
    first, moved, _ = (program.stages[-1] for program in programs)
    assert first.where != moved.where
    names = [program.stages[-1].attributes["tool"] for program in programs]
    assert len(set(names)) == 3, "three files, three tools"
    texts = [
        program.text.replace(name, "look") for program, name in zip(programs, names, strict=True)
    ]
    assert programs[0].hash != programs[1].hash, "two files' tools are two tools"
    assert texts[0] == texts[1] != texts[2]


def test_branches_may_differ_in_type_when_one_holds_the_other() -> None:
    @gl.workflow
    def flow(a: Answer) -> Any:
        return gl.branch(a.ok, lambda: a.sql, lambda: maybe(a))

    program = flow.program()
    (branch,) = stages(program, "branch")
    then, other = (program.regions[i] for i in branch.regions)
    assert [program.stages[i].op for i in (*then.stages, *other.stages)] == ["compute", "tool"]
    assert branch.operands == stages(program, "get")[0].results
    assert program.body.yields == branch.results


@gl.tool(effects="none")
def maybe(a: Answer) -> str | None:
    return a.error or None


def test_a_constant_condition_takes_its_side_at_once() -> None:
    @gl.workflow
    def flow(t: str) -> str:
        return gl.branch(True, lambda: t, lambda: save(t))  # type: ignore[return-value]

    assert flow.program().stages == ()
    assert flow.program().body.yields == (0,)


def test_containers_of_symbols_are_built_by_computes() -> None:
    class Record(BaseModel):
        names: list[str]
        both: dict[str, int]
        size: int = 7

    @gl.workflow
    def flow(t: str, n: int) -> Record:
        return gl.record(Record, names=[t, "x", t + "!"], both={"n": n + 1, "m": n * n - 2})

    program = flow.program()
    made = [s.attributes for s in program.stages if s.op == "compute"]
    assert [m["fn"] for m in made] == ["add", "add", "mul", "sub", "list", "dict", "dict"]
    assert made[-1]["keys"] == ["names", "both", "size"]
    assert made[-2]["keys"] == ["n", "m"]
    constants = [s.attributes["value"] for s in program.stages if s.op == "constant"]
    assert set(map(repr, constants)) == {"'x'", "'!'", "1", "2", "7"}


def test_conditions_combine() -> None:
    @gl.workflow
    def flow(a: Answer, n: int) -> bool:
        return (a.ok & (n < 3)) | ~(a.error == "x")  # type: ignore[return-value]

    fns = [s.attributes["fn"] for s in flow.program().stages if s.op == "compute"]
    assert fns == ["get", "lt", "and", "get", "eq", "not", "or"]


def test_a_map_counts_and_indexes() -> None:
    @gl.workflow
    def flow(n: int, words: list[str]) -> list[str]:
        return gl.map(lambda i: draft(words[i], words[0], "db"), n)

    program = flow.program()
    fns = [s.attributes["fn"] for s in program.stages if s.op == "compute"]
    assert fns == ["range", "item", "item"]


def test_typed_answers_are_written_under_a_schema_and_parsed() -> None:
    @gl.llm(model="m", max_tokens=4)
    def pick(t: str) -> Literal["yes", "no"]:
        """Is {t} good?"""

    @gl.llm(model="m", max_tokens=4, output=Answer)
    def fill(t: str) -> Answer:
        """Fill {t}"""

    @gl.llm(model="m", max_tokens=4, grammar=gl.regex("[0-9]+"))
    def digits(t: str) -> str:
        """Count {t}"""

    @gl.workflow
    def flow(t: str) -> str:
        return digits(fill(pick(t)).sql)

    program = flow.program()
    decode = [s.attributes["grammar"] for s in program.stages if s.op == "decode"]
    assert [g["kind"] for g in decode] == ["json_schema", "json_schema", "regex"]
    assert '"enum":["yes","no"]' in decode[0]["text"] and '"sql"' in decode[1]["text"]
    formats = [s.attributes["format"] for s in program.stages if s.op == "detokenize"]
    assert formats == ["json", "json", "text"]


def test_a_tool_that_writes_waits_for_what_came_before_it() -> None:
    @gl.workflow
    def flow(db: gl.Database) -> str:
        before = read_schema(db)
        save("a")
        save("b")
        after = read_schema(db)
        return before + after

    program = flow.program()
    before, one, two, after = stages(program, "read_schema", "save", "save#2", "read_schema#2")
    assert one.operands[1:] == before.results
    assert two.operands[1:] == one.results
    assert after.operands[1:] == two.results
    assert one.attributes["names"] == ["text"], "what is waited for is no argument"


def test_effects_inside_bodies_and_calls_are_ordered_too() -> None:
    @gl.workflow
    def store(text: str) -> int:
        return save(text)

    @gl.workflow
    def flow(ok: bool) -> int:
        gl.branch(ok, lambda: save("in"), lambda: 0)
        store("called")
        return save("after")

    program = flow.program()
    inside, branch, called, last = stages(program, "save", "branch", "store/save#2", "save#3")
    assert len(inside.operands) == 1
    assert called.operands[1:] == branch.results
    assert last.operands[1:] == called.results


def test_a_call_that_stays_one_waits_for_effects_before_it() -> None:
    @gl.workflow
    def store() -> int:
        return save("stored")

    @gl.workflow
    def flow(text: str) -> int:
        save(text)
        store()
        return save("after")

    program = compile_module(flow.trace(), ())
    first, call, last = stages(program, "save", "store", "save#3")
    assert call.operands == first.results
    assert last.operands[1:] == call.results


def test_programs_without_writes_wait_for_nothing() -> None:
    for stage in answer.program().stages:
        if stage.op == "tool":
            assert len(stage.operands) == len(stage.attributes["names"])


def test_importing_the_front_end_is_cheap() -> None:
    code = (
        "import sys, gangline as gl\n"
        "assert not [m for m in sys.modules if m.startswith(('iree', 'torch', 'pydantic'))]\n"
        "gl.workflow, gl.llm, gl.tool, gl.map\n"
        "heavy = [m for m in sys.modules if m.startswith(('iree', 'torch', 'gangline.runtime'))]\n"
        "assert not heavy, heavy\n"
        "assert set(gl.__all__) <= set(dir(gl))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_hundred_operations_compile_in_a_moment() -> None:
    @gl.workflow
    def long(a: str) -> str:
        for _ in range(50):
            a = fix(a, read_schema("db"))
        return a

    from gangline.ir.compiler import compile_module

    compile_module(long.trace())
    times = []
    for _ in range(5):
        start = time.process_time()
        program = compile_module(long.trace())
        times.append(time.process_time() - start)
    assert sum(stage.op == "decode" for stage in program.stages) == 50
    # The target is 50 ms on an idle core; the margin is for a loaded test machine.
    assert min(times) < 0.2


def test_public_names_are_there_and_others_are_not() -> None:
    for name in gl.__all__:
        assert getattr(gl, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gl.nothing  # noqa: B018


def test_what_is_the_same_for_every_item_runs_once_before_the_map() -> None:
    @gl.workflow
    def flow(db: gl.Database, items: list[int]) -> list[str]:
        fixed = gl.map(lambda i: read_schema(db), [1, 2])
        unknown = gl.map(lambda i: read_schema(db), items)
        writing = gl.map(lambda i: [read_schema(db), save("x")], [1, 2])
        gl.length(writing)
        return fixed + unknown

    program = flow.program()
    fixed, unknown, writing = stages(program, "map", "map#2", "map#3")
    counts = [
        sum(program.stages[i].op == "tool" for i in program.regions[s.regions[0]].stages)
        for s in (fixed, unknown, writing)
    ]
    assert counts == [0, 1, 2], "only a map that surely has items, and does not write, is left"
