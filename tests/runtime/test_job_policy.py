"""A policy in the life of a job: refused, asked before its first step, asked about a plan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gangline as gl
from gangline.ir.errors import ConfigError, PolicyError
from gangline.ir.specs.policy import Grant, Policy
from gangline.runtime.api import fork_job, resume_job, retry_job, run_job
from gangline.runtime.job_policy import allowed, load_policy, narrowed
from gangline.runtime.store import Store

SENT: list[str] = []


@gl.tool(effects="write", labels=("external",))
def send_out(text: str) -> str:
    SENT.append(text)
    return text


@gl.tool(effects="read", labels=("secret",))
def read_record(name: str) -> str:
    return name


@gl.tool(effects="none")
def two_sends(text: str) -> list[dict[str, Any]]:
    return [{"id": f"s{n}", "tool": "send_out", "arguments": {"text": text}} for n in range(2)]


@gl.workflow
def leaking(name: str) -> str:
    return send_out(read_record(name))


@gl.workflow
def planning(text: str) -> dict[str, Any]:
    return gl.expand(two_sends(text), tools=[send_out])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    SENT.clear()
    with Store(tmp_path / "jobs.db") as made:
        yield made


def run(workflow: Any, store: Store, *, policy: Policy | None = None, grants: Any = ()) -> Any:
    inputs = {next(iter(workflow.signature.fields)): "x"}
    return run_job(workflow, inputs, backends={}, store=store, policy=policy, grants=grants)


def answer(store: Store, job: str, value: str) -> Any:
    return resume_job(job, "", value, backends={}, store=store)


def test_a_refused_job_is_not_stored(store: Store) -> None:
    with pytest.raises(PolicyError, match=r"read_record .* -> send_out"):
        run(leaking, store, policy=Policy(on_violation="refuse"))
    assert store.jobs(9, "", None) == [] and SENT == []


def test_a_job_asks_before_its_first_step(store: Store) -> None:
    job = run(leaking, store)
    assert (job.status, [row["id"] for row in job.interrupts]) == (
        "input_required",
        ["policy.check"],
    )
    assert [step.id for step in job.steps] == ["policy.check"]
    done = answer(store, job.job_id, "yes")
    assert (done.status, done.output, SENT) == ("succeeded", "x", ["x"])


def test_no_ends_the_job_and_a_retry_or_a_fork_asks_again(store: Store) -> None:
    job = run(leaking, store)
    denied = answer(store, job.job_id, "no")
    assert (denied.status, denied.error["code"]) == ("failed", "policy")
    again = retry_job(job.job_id, backends={}, store=store)
    assert again.status == "input_required" and SENT == []
    assert answer(store, job.job_id, "yes").status == "succeeded"
    fork = fork_job(job.job_id, "send_out", backends={}, store=store)
    assert fork.status == "input_required" and SENT == ["x"]


@pytest.mark.parametrize(
    ("value", "status", "sent"), [("yes", "succeeded", 2), ("no", "failed", 0)]
)
def test_a_plan_that_was_not_granted_asks(store: Store, value: str, status: str, sent: int) -> None:
    job = run(planning, store)
    assert (job.status, SENT) == ("input_required", [])
    assert {row["rule"] for row in job.interrupts[0]["findings"]} == {"write-not-granted"}
    assert answer(store, job.job_id, value).status == status
    assert len(SENT) == sent


def test_grants_are_counted_and_a_refused_plan_fails(store: Store) -> None:
    assert run(planning, store, grants=[Grant("send_out", 2)]).status == "succeeded"
    strict = Policy(on_violation="refuse")
    job = run(planning, store, policy=strict, grants=[Grant("send_out", 1)])
    assert (job.status, job.error["code"], len(SENT)) == ("failed", "policy", 2)


def test_a_caller_may_only_narrow() -> None:
    server = Policy.from_json({"grants": ["send:3"], "flows": ["a -> b"], "secret": ["v"]})
    assert narrowed(server, None, None) == server
    assert narrowed(server, None, [Grant("send", 1)]).grants == (Grant("send", 1),)
    assert narrowed(server, Policy(on_violation="refuse"), None).grants == ()
    assert narrowed(server, Policy(), None).secret == ("v",)
    for policy in ({"grants": ["send"]}, {"grants": ["log"]}, {"flows": ["x -> y"]}):
        with pytest.raises(PolicyError, match="more than is allowed"):
            narrowed(server, Policy.from_json(policy), None)
    author = Policy.from_json({"grants": ["log"], "on_violation": "refuse"})
    assert allowed(author, server).grants == (Grant("send", 3), Grant("log"))
    assert allowed(author, Policy(authored=False)).grants == ()
    assert allowed(author, server).on_violation == "refuse"


@pytest.mark.parametrize("text", ["grant = []", 'grants = ["a b"]', "authored = 1", "x ="])
def test_a_wrong_policy_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        load_policy(path)
