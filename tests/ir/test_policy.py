"""Where secrets go in a program: a table of flows, and a search by brute force beside ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

import gangline as gl
from gangline.ir.plan_policy import plan_findings, whole_plan_findings
from gangline.ir.policy import Origin, findings
from gangline.ir.program import Stage
from gangline.ir.specs.finding import Finding, Hop
from gangline.ir.specs.policy import Policy


class Pair(BaseModel):
    a: str
    b: str


@gl.tool(effects="read", labels=("secret",))
def vault(key: str) -> str:
    return key


@gl.tool(effects="none")
def plain(text: str) -> str:
    return text


@gl.tool(effects="none", labels=("declassify",))
def redact(text: str) -> str:
    return text


@gl.tool(effects="write", labels=("external",))
def post(text: str) -> str:
    return text


@gl.tool(effects="none")
def listing(text: str) -> list[str]:
    return [text]


@gl.tool(effects="write")
def note_down(text: str) -> str:
    return text


@gl.llm(model="m", max_tokens=8)
def draft(text: str) -> str:  # type: ignore[empty-body]
    """Write about {text}"""


@gl.workflow
def inner_post(text: str, other: str) -> str:
    return post(text)


@gl.workflow
def inner_pair(a: str, b: str) -> Pair:
    return gl.record(Pair, a=a, b=b)


Flows = Callable[[str, str], Any]
"""Takes a secret and a public text."""


def direct(s: str, p: str) -> str:
    return post(s)


def twice(s: str, p: str) -> str:
    return post(plain(plain(s)))


def added(s: str, p: str) -> str:
    return post(p + s)


def prompted(s: str, p: str) -> str:
    return post(draft(s))


def from_tool(s: str, p: str) -> str:
    return post(vault(p))


def in_dict(s: str, p: str) -> str:
    return post(gl.record(Pair, a=p, b=s).b)


def in_branch(s: str, p: str) -> str:
    return gl.branch(p == "x", lambda: post(s), lambda: p)


def decided(s: str, p: str) -> str:
    return gl.branch(s == "x", lambda: post(p), lambda: p)


def chosen(s: str, p: str) -> str:
    return post(gl.branch(s == "x", lambda: plain(p), lambda: p))


def decided_deep(s: str, p: str) -> str:
    def then() -> str:
        return gl.branch(p == "y", lambda: post(p), lambda: p)

    return gl.branch(s == "x", then, lambda: p)


def mapped(s: str, p: str) -> list[str]:
    return gl.map(post, listing(s))


def counted(s: str, p: str) -> list[str]:
    return gl.map(lambda _: post(p), listing(s))


def collected(s: str, p: str) -> str:
    return post(gl.map(lambda item: plain(item), listing(s))[0])


def looped(s: str, p: str) -> str:
    return post(gl.loop(lambda v: plain(v + s), p, until=lambda v: v == "x", max_trips=3))


def inside_loop(s: str, p: str) -> str:
    return gl.loop(lambda v: post(v) + s, p, until=lambda v: v == "x", max_trips=3)


def until_secret(s: str, p: str) -> str:
    return gl.loop(lambda v: post(p), p, until=lambda v: s == "x", max_trips=3)


def nested(s: str, p: str) -> str:
    return inner_post(s, p)


def key_of(entry: gl.Entry) -> str:
    return post(entry.key)


def remembered(s: str, p: str) -> list[str]:
    gl.remember(s, space="mem")
    return gl.map(key_of, gl.recall(p, space="mem"))


def offered(s: str, p: str) -> str:
    return post(gl.ask("Which?", choices=[s, p]))


def planned_text(s: str, p: str) -> dict[str, Any]:
    return gl.expand(draft(s), tools=[post], granted=[post])


def planned_result(s: str, p: str) -> str:
    return post(gl.expand(draft(p), tools=[vault])["a"])


# These keep the secret here.


def kept(s: str, p: str) -> str:
    return note_down(s)


def public(s: str, p: str) -> str:
    plain(s)
    return post(p)


def constant(s: str, p: str) -> str:
    return post("hello")


def redacted(s: str, p: str) -> str:
    return post(redact(draft(s)))


def other_member(s: str, p: str) -> str:
    note_down(s)
    return post(gl.record(Pair, a=p, b=s).a)


def other_argument(s: str, p: str) -> str:
    return inner_post(p, s)


def other_result(s: str, p: str) -> str:
    return post(inner_pair(p, s).a)


def after_a_write(s: str, p: str) -> str:
    note_down(s)  # the post waits for it, and learns nothing from it
    return post(p)


def call_after_a_write(s: str, p: str) -> str:
    note_down(s)
    return inner_post(p, p)


def own_length(s: str, p: str) -> list[str]:
    return gl.map(lambda _: post(p), [s, s])


def answered(s: str, p: str) -> str:
    return post(gl.ask("Is it " + s + "?"))


def other_space(s: str, p: str) -> list[str]:
    gl.remember(s, space="mem")
    return gl.map(key_of, gl.recall(p, space="other"))


def branch_beside(s: str, p: str) -> str:
    gl.branch(s == "x", lambda: note_down(p), lambda: p)
    return post(p)


def planned_internal(s: str, p: str) -> dict[str, Any]:
    return gl.expand(draft(s), tools=[plain, note_down], granted=[note_down])


DATA, DECIDES = "secret-to-external", "secret-decides-external"
LEAKS: list[tuple[Flows, str, str]] = [
    (direct, DATA, "input:s > post"),
    (twice, DATA, "input:s > plain > plain#2 > post"),
    (added, DATA, "input:s > post"),
    (prompted, DATA, "input:s > draft > post"),
    (from_tool, DATA, "vault > post"),
    (in_dict, DATA, "input:s > post"),
    (in_branch, DATA, "input:s > post"),
    (decided, DECIDES, "input:s > branch > post"),
    (chosen, DECIDES, "input:s > branch > post"),
    (decided_deep, DECIDES, "input:s > branch > branch#2 > post"),
    (mapped, DATA, "input:s > listing > map > post"),
    (counted, DECIDES, "input:s > listing > map > post"),
    (collected, DATA, "input:s > listing > map > plain > map > post"),
    (looped, DATA, "input:s > plain > loop > post"),
    (inside_loop, DATA, "input:s > loop > post"),
    (until_secret, DECIDES, "input:s > loop > post"),
    (nested, DATA, "input:s > inner_post/post"),
    (remembered, DATA, "input:s > remember > recall > map > post"),
    (offered, DATA, "input:s > ask > post"),
    (planned_text, DATA, "input:s > draft > expand > expand.post"),
    (planned_result, DATA, "expand.vault > post"),
]
SAFE: list[Flows] = [
    kept,
    public,
    constant,
    redacted,
    other_member,
    other_argument,
    other_result,
    after_a_write,
    call_after_a_write,
    own_length,
    answered,
    other_space,
    branch_beside,
    planned_internal,
]


def found_in(body: Flows, policy: Policy | None = None) -> tuple[Finding, ...]:
    def flow(s: Any, p: Any) -> Any:
        return body(s, p)

    flow.__name__ = f"flow_{body.__name__}"
    flow.__annotations__ = {"s": gl.Secret[str], "p": str, "return": Any}
    return findings(gl.workflow(flow).program(), policy or Policy())


def path(finding: Finding) -> str:
    return " > ".join(hop.step for hop in finding.path)


@pytest.mark.parametrize(("body", "rule", "route"), LEAKS, ids=lambda v: getattr(v, "__name__", ""))
def test_a_leak_is_found_with_its_path(body: Flows, rule: str, route: str) -> None:
    found = found_in(body)
    assert [(row.rule, path(row)) for row in found] == [(rule, route)]
    assert found[0].path[-1].where.rsplit(":", 1)[0].endswith("test_policy.py")


@pytest.mark.parametrize("body", SAFE, ids=lambda body: body.__name__)
def test_what_keeps_the_secret_is_let_pass(body: Flows) -> None:
    assert [path(row) for row in found_in(body)] == []


def test_a_policy_allows_one_flow_and_labels_more() -> None:
    assert found_in(direct, Policy.from_json({"flows": ["input:s -> post"]})) == ()
    assert len(found_in(direct, Policy.from_json({"flows": ["input:p -> post"]}))) == 1
    assert found_in(decided, Policy(implicit=False)) == ()
    assert [path(row) for row in found_in(kept, Policy(external=("note_down",)))] == [
        "input:s > note_down"
    ]
    assert [path(row) for row in found_in(public, Policy(secret=("input:p",)))] == [
        "input:p > post"
    ]


def test_what_an_author_calls_needs_a_grant_where_the_policy_says_so() -> None:
    def rules(body: Flows, *grants: str) -> list[str]:
        policy = Policy.from_json({"authored": False, "grants": list(grants), "implicit": False})
        return [row.rule for row in found_in(body, policy)]

    assert rules(kept) == ["write-not-granted"]
    assert rules(kept, "note_down:1") == []
    assert rules(public, "post:1") == []
    assert rules(counted, "post:9") == ["repeated-write"]
    assert rules(until_secret, "post:2") == ["repeated-write"]
    assert rules(until_secret, "post:3") == []


def row(name: str, effects: str = "read", *labels: str, given: tuple[str, ...] = ()) -> Any:
    made = {"tool": f"m.{name}", "name": name, "effects": effects, "given": list(given)}
    return {**made, "labels": list(labels), "parameters": {"x": {}}, "required": []}


ROWS = [
    row("look"),
    row("get_secret", "read", "secret"),
    row("hide", "none", "declassify"),
    row("send", "write", "external", given=("key",)),
    row("save", "write"),
]
EXPAND = Stage(
    0, "expand", "expand", attributes={"tools": ROWS, "granted": ["send:2", "save"], "names": []}
)


def step(name: str, tool: str, value: Any = 1, after: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"id": name, "tool": tool, "arguments": {"x": value}, "after": list(after)}


def ref(name: str) -> dict[str, str]:
    return {"$ref": name}


def test_a_secret_goes_through_other_planned_steps_to_an_external_one() -> None:
    steps = [
        step("c", "send", [{"deep": ref("b/part")}], after=("b",)),  # refers to a later step
        step("b", "look", ref("a"), after=("a",)),
        step("a", "get_secret"),
    ]
    (found,) = whole_plan_findings(EXPAND, {}, steps, Policy())
    assert (found.rule, found.source, found.sink) == (DATA, "m.get_secret", "m.send")
    assert path(found) == "expand/a > expand/b > expand/c"
    hidden = [step("a", "get_secret"), step("b", "hide", ref("a")), step("c", "send", ref("b"))]
    assert whole_plan_findings(EXPAND, {}, hidden, Policy()) == ()


def test_what_the_author_gives_and_what_the_plan_knows_is_followed() -> None:
    secrets = [Origin("input:s", (Hop("input:s"),))]
    assert plan_findings(EXPAND, {"key": secrets}, [], step("a", "look")) == ()
    (given,) = plan_findings(EXPAND, {"key": secrets}, [], step("a", "send"))
    assert path(given) == "input:s > expand/a"
    (knows,) = plan_findings(EXPAND, {"plan": secrets}, [], step("a", "send"))
    assert knows.rule == DATA
    decided = [Origin("input:s", (Hop("input:s"),), implicit=True)]
    (decides,) = plan_findings(EXPAND, {"": decided}, [], step("a", "send"))
    assert decides.rule == DECIDES


def test_a_plan_calls_what_it_was_granted_as_often_as_it_was() -> None:
    sends = [step(f"s{n}", "send") for n in range(4)]
    assert [row.rule for row in whole_plan_findings(EXPAND, {}, sends, Policy())] == [
        "repeated-write",
        "repeated-write",
    ]
    assert plan_findings(EXPAND, {}, [], step("a", "save")) == ()
    strict = Policy(authored=False)
    (found,) = plan_findings(EXPAND, {}, [], step("a", "save"), strict)
    assert (found.rule, path(found)) == ("write-not-granted", "expand > expand/a")
