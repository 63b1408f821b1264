"""`@gl.agent`, `gl.switch`, `gl.supervise`, `gl.network`: what they record, and what they refuse."""

# mypy: disable-error-code="empty-body,arg-type,return-value,type-var,call-arg,misc"
# mypy: disable-error-code="call-overload,dict-item,list-item"
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
from pydantic import BaseModel

import gangline as gl
from gangline.ir.errors import TraceError, VerifyError
from gangline.ir.module import Module
from gangline.ir.verifier import verify

Side = Literal["left", "right"]


class Board(BaseModel):
    log: list[str]
    left: list[str]


@gl.tool(effects="none")
def side(text: str) -> Side:
    return "left" if "l" in text else "right"


@gl.tool(effects="read")
def name_of(text: str) -> str:
    return text


@gl.tool(effects="read")
def see(text: str) -> str:
    return text


@gl.tool(effects="write")
def put_word(text: str) -> str:
    return text


@gl.llm(model="m", max_tokens=16)
def lead(log: list[str], agents: str, done: list[str]) -> str:
    """{agents} {log} {done}"""


@gl.llm(model="m", max_tokens=4)
def short_lead(log: list[str]) -> str:
    """{log}"""


@gl.llm(model="m", max_tokens=16)
def stranger(weather: str) -> str:
    """{weather}"""


@gl.llm(model="m", max_tokens=16)
def literal_lead(log: list[str]) -> Literal["reader", "nobody"]:
    """{log}"""


@gl.llm(model="m", max_tokens=16)
def say(talk: list[gl.Message]) -> str:
    """{talk}"""


@gl.agent(role="reads")
def reader(board: Board) -> Board:
    return gl.replace(board, log=board.log + [see("r")])  # noqa: RUF005 (a symbol cannot be unpacked)


@gl.agent
def writer(board: Board) -> Board:
    """Writes things down.

    And this is not part of the role."""
    return gl.replace(board, log=board.log + [put_word("w")])  # noqa: RUF005


@gl.agent(role="talks")
def talker(talk: list[gl.Message]) -> str:
    return say(talk)


@gl.agent
def passer(talk: list[gl.Message]) -> gl.Handoff[str]:
    return gl.handoff(to="finish", state=say(talk))


@gl.agent
def team(board: Board) -> Board:
    return gl.supervise(lead, [reader, writer], board, max_trips=2)


Body = Callable[[str, Any], Any]


def traced(body: Body, returns: Any = Any) -> Module:
    def flow(text: str, board: Board) -> Any:
        return body(text, board)

    flow.__annotations__["return"] = returns
    return gl.workflow(flow).trace()


def wrong(body: Body) -> TraceError:
    with pytest.raises(TraceError) as caught:
        traced(body)
    assert caught.value.next_step and "test_agents.py" in caught.value.where
    return caught.value


# Agents -------------------------------------------------------------------------------------


def test_what_an_agent_is() -> None:
    assert (reader.role, reader.pattern) == ("reads", None)
    assert writer.role == "Writes things down."
    assert "agent reader" in repr(reader)
    with pytest.raises(TraceError, match="Did you mean 'network'"):
        gl.agent(pattern="netwrk")(reader.fn)
    with pytest.raises(TraceError, match="no text"):
        gl.agent(role=3)(reader.fn)


@pytest.mark.parametrize(
    ("body", "pattern"),
    [
        (lambda t, b: reader(b), None),
        (lambda t, b: gl.supervise(lead, [reader], b, max_trips=1), "supervisor"),
        (lambda t, b: gl.supervise(lead, [reader, team], b, max_trips=1), "hierarchical"),
        (
            lambda t, b: gl.network(
                [passer], [gl.record(gl.Message, sender="u", text=t)], first=passer, max_trips=1
            ),
            "network",
        ),
        (lambda t, b: gl.expand([], tools=[see, reader]), "supervisor_as_tool"),
        (lambda t, b: gl.expand([], tools=[see]), None),
    ],
)
def test_the_pattern_of_a_workflow_is_found_out(body: Body, pattern: str | None) -> None:
    text = traced(body).text
    first = text.split("func.func private")[0]
    assert ("agent.pattern" in first) == (pattern is not None)
    assert pattern is None or f'agent.pattern = "{pattern}"' in first


def test_the_ir_shows_the_hierarchy() -> None:
    text = traced(lambda t, b: gl.supervise(lead, [team, reader], b, max_trips=2)).text
    assert 'callee = @team, name = "team", pattern = "supervisor"' in text
    assert 'callee = @reader, name = "reader", pattern = "single"' in text
    assert 'agent.pattern = "single", agent.role = "reads"' in text
    verify(Module.parse(text), level="agent")


def test_an_agent_without_inputs_waits_for_the_write_before_it() -> None:
    @gl.agent
    def bare() -> str:
        return put_word("x")

    assert "agent.call" in traced(lambda t, b: bare()).text
    text = traced(lambda t, b: [put_word(t), bare()]).text
    assert '"agent.call"(%0) {callee = @bare' in text


# Switch -------------------------------------------------------------------------------------


def test_a_switch_is_nested_branches_that_name_their_cases() -> None:
    text = traced(
        lambda t, b: gl.switch(name_of(t), {"a": lambda: see("1"), "b": lambda: see("2")},
                               default=lambda: "none")
    ).text  # fmt: skip
    assert text.count("scf.if") == 2
    assert 'agent.arms = 3 : i64, agent.case = "a"' in text
    assert 'agent.arms = 2 : i64, agent.case = "b"' in text
    assert 'fn = "item"' not in text, "with a default any value will do"


def test_without_a_default_the_last_case_is_the_other_side() -> None:
    text = traced(
        lambda t, b: gl.switch(side(t), {"left": lambda: see("1"), "right": lambda: see("2")})
    ).text
    assert text.count("scf.if") == 1 and 'fn = "item"' in text


def test_a_switch_on_a_constant_is_no_branch() -> None:
    assert "scf.if" not in traced(lambda t, b: gl.switch("a", {"a": lambda: see(t)})).text
    assert "no case for 'c'" in wrong(lambda t, b: gl.switch("c", {"a": lambda: see(t)})).detail


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (lambda t, b: gl.switch(side(t), {}), "needs a dict of cases"),
        (lambda t, b: gl.switch(side(t), [1]), "needs a dict of cases"),
        (lambda t, b: gl.switch(side(t), {1: lambda: t}), "no text"),
        (lambda t, b: gl.switch(side(t), {"left": t}), "needs a function"),
        (lambda t, b: gl.switch(side(t), {"left": lambda x: x}), "of 0 arguments"),
        (lambda t, b: gl.switch(side(t), {"left": lambda: t}), "no case for 'right'"),
        (
            lambda t, b: gl.switch(side(t), {"lft": lambda: t, "right": lambda: t}),
            "never 'lft'",
        ),
        (lambda t, b: gl.switch(b.log, {"a": lambda: t}), "needs a text"),
        (
            lambda t, b: gl.switch(side(t), {"left": lambda: see(t), "right": lambda: b.log}),
            "give str and list",
        ),
        (lambda t, b: gl.switch(side(t), {"left": lambda: t}, default=3), "needs a function"),
        (lambda t, b: gl.switch(side(t), {"left": lambda: t}, name="a b"), "name of a step"),
    ],
)
def test_a_switch_that_makes_no_sense(body: Body, said: str) -> None:
    assert said in wrong(body).detail


# Teams --------------------------------------------------------------------------------------


def test_a_supervisor_answers_under_a_grammar_of_names() -> None:
    text = traced(lambda t, b: gl.supervise(lead, [reader, writer], b, max_trips=3)).text
    assert 'grammar = {kind = "regex", text = "reader|writer|finish"}' in text
    assert "reader: reads\\0Awriter: Writes things down.\\0Afinish: the work is done" in text
    assert 'agent.max_trips = 3 : i64, agent.name = "supervise"' in text


def test_functions_by_name_and_a_function_that_decides() -> None:
    text = traced(
        lambda t, b: gl.supervise(
            lambda board: name_of(board.left[0]),
            {"one": reader, "two": lambda board: gl.replace(board, left=[])},
            b,
            max_trips=3,
            name="rota",
        )
    ).text
    assert 'agent.name = "rota"' in text and 'agent.case = "one"' in text


def test_what_is_said_is_added_to_a_talk() -> None:
    first = [gl.Message(sender="user", text="Hi")]
    text = traced(
        lambda t, b: gl.supervise(lambda talk: name_of(t), [talker], first, max_trips=1),
        list[gl.Message],
    ).text
    assert 'keys = ["sender", "text"]' in text and 'value = "talker"' in text


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (lambda t, b: gl.supervise(lead, [reader], b, max_trips=0), "gl.supervise has no bound"),
        (lambda t, b: gl.supervise(lead, [], b, max_trips=1), "has no agents"),
        (lambda t, b: gl.supervise(lead, [see], b, max_trips=1), "needs a list of agents"),
        (lambda t, b: gl.supervise(lead, reader, b, max_trips=1), "needs a list of agents"),
        (lambda t, b: gl.supervise(lead, [reader, reader], b, max_trips=1), "two agents"),
        (lambda t, b: gl.supervise(lead, {"finish": reader}, b, max_trips=1), "'finish'"),
        (lambda t, b: gl.supervise(lead, {"a b": reader}, b, max_trips=1), "'a b'"),
        (lambda t, b: gl.supervise(lead, {"a": lambda: b}, b, max_trips=1), "of 1 argument"),
        (lambda t, b: gl.supervise(stranger, [reader], b, max_trips=1), "'weather'"),
        (lambda t, b: gl.supervise(lambda x: x.log, [reader], b, max_trips=1), "list"),
        (lambda t, b: gl.supervise(lead, {"a": lambda x: t}, b, max_trips=1), "gives a str"),
        (lambda t, b: gl.supervise(3, [reader], b, max_trips=1), "needs a function for decide"),
        (lambda t, b: gl.network([reader], b, first=reader, max_trips=1), "no gl.Handoff"),
        (lambda t, b: gl.network([reader], b, first="redaer", max_trips=1), "none of its agents"),
        (lambda t, b: gl.network([reader], b, first=reader, max_trips=None), "no bound"),
        (lambda t, b: gl.replace(t, log=[]), "needs a pydantic model"),
        (lambda t, b: gl.replace(b, lug=[]), "no field 'lug'"),
    ],
)
def test_a_team_that_cannot_work(body: Body, said: str) -> None:
    assert said in wrong(body).detail


def test_a_supervisor_that_may_name_strangers_or_be_cut_short() -> None:
    error = wrong(lambda t, b: gl.supervise(short_lead, [reader], b, max_trips=1))
    assert "may cut the name 'reader' short" in error.detail
    error = wrong(lambda t, b: gl.supervise(literal_lead, [reader], b, max_trips=1))
    assert "'nobody', which is no agent" in error.detail


# Agents as tools ------------------------------------------------------------------------------


@gl.agent(role="looks")
def looker(topic: str, tries: int = 2) -> str:
    return see(topic)


def test_an_agent_is_a_row_of_an_expand() -> None:
    module = traced(lambda t, b: gl.expand([], tools=[looker, see]))
    text = module.text
    assert 'agent = "looker", effects = "read"' in text
    assert 'tries = {default = 2 : i64, type = "integer"}' in text
    assert 'required = ["topic"]' in text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('agent = "looker"', 'agent = "nobody"', "which is not there"),
        ("tries = {default", "tires = {default", "does not give the inputs"),
        ('agent = "looker"', "agent = 3 : i64", "no list of tools"),
    ],
)
def test_rows_that_name_no_agent(old: str, new: str, said: str) -> None:
    text = traced(lambda t, b: gl.expand([], tools=[looker])).text
    assert old in text
    with pytest.raises(VerifyError, match=said):
        verify(Module.parse(text.replace(old, new)))


def test_an_agent_that_a_plan_may_call_cannot_plan_itself() -> None:
    @gl.agent
    def planner(text: str) -> dict[str, Any]:
        return gl.expand([], tools=[planner])

    with pytest.raises(TraceError, match="calls itself"):
        planner.trace()


def test_effects_of_an_agent_count_for_the_plan() -> None:
    @gl.agent
    def scribe(text: str) -> str:
        return put_word(text)

    @gl.workflow
    def flow(text: str) -> list[Any]:
        before = see(text)
        return [before, gl.expand([], tools=[scribe]), see(text)]

    stages = {stage.name: stage for stage in flow.program().stages}
    assert stages["see"].results[0] in stages["expand"].operands
    assert stages["expand"].results[0] in stages["see#2"].operands


# Speculation ------------------------------------------------------------------------------------


@gl.agent
def asker(text: str) -> str:
    return gl.ask(text)


def both(then: Callable[[], Any], orelse: Callable[[], Any]) -> Body:
    return lambda t, b: gl.branch(gl.length(t) > 3, then, orelse, speculative=True)


def test_both_sides_of_a_branch_may_begin() -> None:
    text = traced(both(lambda: see("a"), lambda: say([]))).text
    assert "agent.speculative = true" in text
    plain = traced(lambda t, b: gl.branch(gl.length(t) > 3, lambda: t, lambda: "x")).text
    assert "speculative" not in plain


@pytest.mark.parametrize(
    ("side", "said"),
    [
        (lambda: put_word("x"), "put_word writes"),
        (lambda: gl.ask("x"), "ask asks a person"),
        (lambda: asker("x"), "ask asks a person"),
        (lambda: writer(gl.record(Board, log=[], left=[])).log[0], "put_word writes"),
        (lambda: gl.expand([], tools=[writer]), "expand writes"),
        (lambda: gl.expand([], tools=[put_word]), "expand writes"),
        (lambda: gl.expand([], tools=[asker]), "ask asks a person"),
        (lambda: gl.map(lambda x: put_word("x"), [1, 2]), "put_word writes"),
        (lambda: gl.remember("v", key="k"), "remember writes"),
    ],
)
@pytest.mark.parametrize("swap", [False, True])
def test_what_may_not_begin_too_early(side: Any, said: str, swap: bool) -> None:
    calm: Any = lambda: gl.expand([], tools=[see])["x"]
    error = wrong(both(calm, side) if swap else both(side, calm))
    assert said in error.detail and "speculative" in error.detail
