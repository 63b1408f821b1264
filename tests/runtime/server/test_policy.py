"""A policy over REST: what a server refuses, what a request may leave of it, and what is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

import gangline as gl
from gangline.ir.specs.policy import Policy
from gangline.runtime.client import testing
from gangline.runtime.service.settings import Settings

SENT: list[str] = []


@gl.tool(effects="write", labels=("external",))
def rest_mail(text: str) -> str:
    SENT.append(text)
    return text


@gl.tool(effects="read", labels=("secret",))
def rest_record(name: str) -> str:
    return name


@gl.tool(effects="none")
def rest_plan(count: int) -> list[dict[str, Any]]:
    return [{"id": f"s{n}", "tool": "rest_mail", "arguments": {"text": "t"}} for n in range(count)]


@gl.workflow
def rest_leak(name: str) -> str:
    """Mail a record."""
    return rest_mail(rest_record(name))


@gl.workflow
def rest_public(name: str) -> str:
    """Mail a name."""
    return rest_mail(name)


@gl.workflow
def rest_mails(count: int) -> dict[str, Any]:
    """Carry out a plan of mails."""
    return gl.expand(rest_plan(count), tools=[rest_mail])


LEAK = {"workflow": "rest_leak", "input": {"name": "x"}, "mode": "wait"}
PUBLIC = {"workflow": "rest_public", "input": {"name": "x"}, "mode": "wait"}
MAIL = rest_mail.name


@contextmanager
def served(**policy: Any) -> Iterator[httpx.Client]:
    SENT.clear()
    settings = Settings(policy=Policy.from_json(policy))
    workflows = (rest_leak, rest_public, rest_mails)
    with (
        testing.server(*workflows, settings=settings) as address,
        httpx.Client(base_url=address, timeout=30.0) as client,
    ):
        yield client


def mails(count: int, **more: Any) -> dict[str, Any]:
    return {"workflow": "rest_mails", "input": {"count": count}, "mode": "wait", **more}


def jobs(client: httpx.Client) -> list[Any]:
    rows: list[Any] = client.get("/v1/jobs").json()["data"]
    return rows


def test_a_refused_workflow_is_a_problem_that_names_the_path() -> None:
    with served(on_violation="refuse") as client:
        answer = client.post("/v1/jobs", json=LEAK)
        assert answer.status_code == 403
        assert answer.headers["content-type"] == "application/problem+json"
        told = answer.json()
        assert (told["type"], told["status"], told["code"]) == (
            "urn:gangline:problem:policy",
            403,
            "policy",
        )
        assert (told["instance"], told["retryable"]) == ("/v1/jobs", False)
        assert told["title"] and told["where"] == "rest_leak"
        (finding,) = told["findings"]
        assert finding["rule"] == "secret-to-external"
        assert [hop["step"] for hop in finding["path"]] == ["rest_record", "rest_mail"]
        assert f"{rest_record.name} -> {MAIL}" in told["next_step"]
        assert "rest_record" in told["detail"]
        assert jobs(client) == [] and SENT == []
        assert client.post("/v1/jobs", json=PUBLIC).json()["status"] == "succeeded"


@pytest.mark.parametrize(
    "more",
    [
        {"policy": {}},
        {"policy": {"on_violation": "ask"}},
        {"policy": {"implicit": False}},
        {"policy": {"secret": [], "external": []}},
        {"grants": []},
    ],
    ids=str,
)
def test_no_request_makes_a_server_less_strict(more: dict[str, Any]) -> None:
    with served(on_violation="refuse") as client:
        assert client.post("/v1/jobs", json={**LEAK, **more}).status_code == 403
        assert jobs(client) == [] and SENT == []


@pytest.mark.parametrize(
    ("more", "beyond"),
    [
        ({"grants": [MAIL]}, f"grant {MAIL}"),
        ({"grants": [f"{MAIL}:3"]}, f"grant {MAIL}:3"),
        ({"policy": {"grants": ["other"]}}, "grant other"),
        ({"policy": {"flows": ["a -> b"]}}, "flow a -> b"),
        ({"policy": {"flows": [f"{rest_record.name} -> {MAIL}"]}, "grants": []}, "flow "),
    ],
    ids=str,
)
def test_a_request_that_asks_for_more_is_refused(more: dict[str, Any], beyond: str) -> None:
    with served(grants=[f"{MAIL}:2"]) as client:
        for path in ("/v1/jobs", "/v1/jobs:plan"):
            answer = client.post(path, json=mails(1, **more))
            told = answer.json()
            assert (answer.status_code, told["code"], told["instance"]) == (403, "policy", path)
            assert beyond in told["detail"]
        assert jobs(client) == [] and SENT == []


def test_a_request_takes_less_than_the_server_grants() -> None:
    with served(grants=[f"{MAIL}:2"]) as client:
        assert client.post("/v1/jobs", json=mails(2)).json()["status"] == "succeeded"
        SENT.clear()
        less = client.post("/v1/jobs", json=mails(2, grants=[f"{MAIL}:1"])).json()
        assert (less["status"], SENT) == ("input_required", [])
        assert [row["rule"] for row in less["interrupt"]["findings"]] == ["repeated-write"]
        none = client.post("/v1/jobs", json=mails(1, policy={})).json()
        assert [row["rule"] for row in none["interrupt"]["findings"]] == ["write-not-granted"]
        strict = client.post("/v1/jobs", json=mails(1, policy={"on_violation": "refuse"})).json()
        assert (strict["status"], strict["error"]["code"]) == ("failed", "policy")
        assert SENT == []


def test_a_request_labels_more_and_can_trust_the_author_less() -> None:
    with served() as client:
        labelled = client.post("/v1/jobs", json={**PUBLIC, "policy": {"secret": ["input:name"]}})
        (finding,) = labelled.json()["interrupt"]["findings"]
        assert (finding["source"], finding["sink"]) == ("input:name", MAIL)
        careful = client.post("/v1/jobs", json={**PUBLIC, "policy": {"authored": False}})
        (finding,) = careful.json()["interrupt"]["findings"]
        assert finding["rule"] == "write-not-granted"
        assert SENT == []


def test_trust_that_the_server_has_not_is_not_given_back() -> None:
    with served(authored=False) as client:
        answer = client.post("/v1/jobs", json={**PUBLIC, "policy": {"authored": True}}).json()
        assert (answer["status"], SENT) == ("input_required", [])


@pytest.mark.parametrize(
    "more",
    [
        {"policy": {"grant": []}},
        {"policy": {"on_violation": "allow"}},
        {"policy": {"authored": 1}},
        {"policy": []},
        {"grants": ["a b"]},
        {"grants": ["send:0"]},
    ],
    ids=str,
)
def test_a_policy_that_cannot_be_read_is_a_wrong_request(more: dict[str, Any]) -> None:
    with served() as client:
        answer = client.post("/v1/jobs", json={**PUBLIC, **more})
        assert (answer.status_code, answer.json()["code"]) == (422, "request")
        assert answer.json()["next_step"] and jobs(client) == []


def test_a_plan_tells_the_verdict_and_runs_nothing(validate: Any) -> None:
    with served() as client:
        told = client.post("/v1/jobs:plan", json=LEAK).json()
        validate("job_plan", told)
        assert told["policy"]["verdict"] == "asks"
        assert [row["rule"] for row in told["policy"]["findings"]] == ["secret-to-external"]
        strict = client.post("/v1/jobs:plan", json={**LEAK, "policy": {"on_violation": "refuse"}})
        assert (strict.status_code, strict.json()["policy"]["verdict"]) == (200, "refused")
        free = client.post("/v1/jobs:plan", json=PUBLIC).json()
        assert free["policy"] == {"verdict": "allowed", "findings": []}
        assert jobs(client) == [] and SENT == []


def test_a_batch_refuses_each_on_its_own() -> None:
    with served(on_violation="refuse") as client:
        rows = [{key: row[key] for key in ("workflow", "input")} for row in (LEAK, PUBLIC)]
        answer = client.post("/v1/jobs:batch", json={"jobs": rows}).json()["data"]
        assert [(row.get("error") or {}).get("code") for row in answer] == ["policy", None]
        assert len(jobs(client)) == 1


def test_a_question_is_answered_once_with_yes_or_no() -> None:
    with served() as client:
        asked = client.post("/v1/jobs", json=LEAK).json()
        path, interrupt = asked["links"]["self"], asked["interrupt"]["id"]
        assert asked["status"] == "input_required" and asked["interrupt"]["choices"] == [
            "yes",
            "no",
        ]
        wrong = client.post(f"{path}:resume", json={"interrupt": interrupt, "value": "maybe"})
        assert wrong.status_code == 422
        told = client.post(f"{path}:resume", json={"interrupt": interrupt, "value": "no"})
        assert told.status_code < 300
        ended = client.get(path, headers={"prefer": "wait=20"}).json()
        assert (ended["status"], ended["error"]["code"]) == ("failed", "policy")
        assert [hop["step"] for hop in ended["error"]["findings"][0]["path"]] == [
            "rest_record",
            "rest_mail",
        ]
        late = client.post(f"{path}:resume", json={"interrupt": interrupt, "value": "yes"})
        assert late.status_code == 409 and SENT == []
