"""Workflows as A2A agents: the card, messages that become jobs, tasks that ask and are answered."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

import gangline as gl
from gangline.ir.specs.event import FINAL_STATUSES
from gangline.runtime.server.a2a_documents import STATES


@gl.tool
def repeat(word: str, times: int) -> str:
    return word * times


@gl.workflow
def parrot(word: str) -> str:
    """Say a word as often as somebody wants to hear it."""
    return repeat(word, gl.ask("How often?", returns=int))


@pytest.fixture
def open_server(fresh_server: Any) -> Any:
    """A server of its own for each test, as all messages here have the same id."""
    return fresh_server


def message(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    told = {"messageId": "m-1", "role": "ROLE_USER", "parts": list(parts), "unknown": 1, **more}
    return {"message": told}


def state(task: dict[str, Any]) -> str:
    return str(task["status"]["state"])


def test_the_card_describes_the_workflow(client: httpx.Client) -> None:
    card = client.get("/a2a/five_steps/.well-known/agent-card.json").json()
    assert card["name"] == "five_steps" and card["description"] == "Add one, five times."
    (interface,) = card["supportedInterfaces"]
    assert interface["protocolBinding"] == "HTTP+JSON" and interface["protocolVersion"] == "1.0"
    assert interface["url"] == f"{client.base_url}/a2a/five_steps".replace("//a2a", "/a2a")
    assert card["skills"][0]["tags"] and "number (int)" in card["skills"][0]["description"]
    assert client.get("/a2a/nothing/.well-known/agent-card.json").status_code == 404


def test_a_message_runs_a_job_and_gives_its_output(client: httpx.Client) -> None:
    body = message({"data": {"number": 1}}, contextId="talk")
    task = client.post("/a2a/five_steps/message:send", json=body).json()["task"]
    assert state(task) == "TASK_STATE_COMPLETED" and task["contextId"] == "talk"
    (artifact,) = task["artifacts"]
    assert artifact["parts"] == [{"data": 6, "mediaType": "application/json"}]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z", task["status"]["timestamp"])
    job = client.get(f"/v1/jobs/{task['id']}").json()
    assert (job["workflow"], job["output"]) == ("five_steps", 6)
    assert client.get(f"/a2a/five_steps/tasks/{task['id']}").json()["id"] == task["id"]
    assert client.get(f"/a2a/failing/tasks/{task['id']}").status_code == 404


def test_the_protocols_own_media_type_is_taken(client: httpx.Client) -> None:
    body = json.dumps(message({"data": {"number": 1}})).encode()
    headers = {"content-type": "application/a2a+json"}
    reply = client.post("/a2a/five_steps/message:send", content=body, headers=headers)
    assert reply.status_code == 200


def test_a_message_sent_twice_is_one_job(client: httpx.Client) -> None:
    body = message({"data": {"number": 1}})
    first, again = (
        client.post("/a2a/five_steps/message:send", json=body).json()["task"] for _ in range(2)
    )
    assert first["id"] == again["id"]
    assert len(client.get("/v1/jobs").json()["data"]) == 1


def test_a_failure_is_a_failed_task_with_words(client: httpx.Client) -> None:
    task = client.post("/a2a/failing/message:send", json=message({"data": {"number": 7}})).json()
    status = task["task"]["status"]
    assert status["state"] == "TASK_STATE_FAILED" and status["message"]["role"] == "ROLE_AGENT"
    assert "no 7" in status["message"]["parts"][0]["text"] and "artifacts" not in task["task"]


def test_a_task_asks_and_goes_on_when_it_is_answered(open_server: Any) -> None:
    open_server.do(lambda: open_server.service.offers.add(parrot))
    with open_server.client() as client:
        path = "/a2a/parrot/message:send"
        asked = client.post(path, json=message({"text": "hey"})).json()["task"]
        assert state(asked) == "TASK_STATE_INPUT_REQUIRED"
        text, data = asked["status"]["message"]["parts"]
        assert text["text"] == "How often?" and data["data"]["schema"]["type"] == "integer"
        wrong = message({"data": "twice"}, taskId=asked["id"], messageId="m-2")
        refused = client.post(path, json=wrong)
        assert refused.status_code == 400
        assert refused.json()["error"]["status"] == "INVALID_ARGUMENT"
        right = message({"data": 2}, taskId=asked["id"], messageId="m-3")
        done = client.post(path, json=right).json()["task"]
        assert state(done) == "TASK_STATE_COMPLETED"
        assert done["artifacts"][0]["parts"] == [{"text": "heyhey", "mediaType": "text/plain"}]
        late = client.post(path, json=right)
        assert late.status_code == 409
        assert late.json()["error"]["status"] == "FAILED_PRECONDITION"


def test_a_task_may_be_left_running_and_cancelled(client: httpx.Client, entrance: Any) -> None:
    body = {**message({"data": {"number": 1}}), "configuration": {"returnImmediately": True}}
    task = client.post("/a2a/gated/message:send", json=body).json()["task"]
    assert state(task) in ("TASK_STATE_SUBMITTED", "TASK_STATE_WORKING")
    assert entrance.entered.wait(20)
    stopped = client.post(f"/a2a/gated/tasks/{task['id']}:cancel").json()
    assert stopped["id"] == task["id"]
    entrance.open()
    events = client.get(f"/v1/jobs/{task['id']}/events", timeout=20).text
    assert "job.cancelled" in events
    assert state(client.get(f"/a2a/gated/tasks/{task['id']}").json()) == "TASK_STATE_CANCELED"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "message"),
        (message(), "parts"),
        (message({"url": "file:///etc/passwd"}), "text, or one data part"),
        (message({"data": 1}, {"data": 2}), "one data part"),
        (message({"data": {"number": "x"}}), "number"),
        ({"message": {**message({"text": "1"})["message"], "role": "ROLE_AGENT"}}, "ROLE_USER"),
    ],
)
def test_refusals_have_the_protocols_shape(
    client: httpx.Client, body: dict[str, Any], words: str
) -> None:
    reply = client.post("/a2a/five_steps/message:send", json=body)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
    assert words in error["message"] and error["details"][0]["domain"] == "gangline"


def test_tasks_are_their_tenants_own(locked: Any, keys: dict[str, Any]) -> None:
    with locked.client(keys["anna"].key) as anna, locked.client(keys["bert"].key) as bert:
        body = message({"data": {"number": 1}})
        task = anna.post("/a2a/five_steps/message:send", json=body).json()["task"]
        assert bert.get(f"/a2a/five_steps/tasks/{task['id']}").status_code == 404
        assert bert.post(f"/a2a/five_steps/tasks/{task['id']}:cancel").status_code == 404
        own = bert.post("/a2a/five_steps/message:send", json=body).json()["task"]
        assert own["id"] != task["id"], "a message id is the tenant's own"
    with locked.client() as nobody:
        path = "/a2a/five_steps/.well-known/agent-card.json"
        assert nobody.get(path).json()["error"]["status"] == "UNAUTHENTICATED"
    with locked.client(keys["reader"].key) as reader:
        assert reader.post("/a2a/five_steps/message:send", json=body).status_code == 403


def test_every_status_has_a_state() -> None:
    assert {"queued", "running", "input_required", *FINAL_STATUSES} <= set(STATES)


@pytest.mark.parametrize("given", [None, f"00-{'a' * 32}-{'b' * 16}-01"])
def test_a_job_keeps_whose_trace_it_belongs_to(
    client: httpx.Client, open_server: Any, given: str | None
) -> None:
    """Where no caller began one, that is kept too: nobody has decided yet whether to sample it."""
    headers = {"traceparent": given} if given else {}
    body = message({"data": {"number": 1}})
    task = client.post("/a2a/five_steps/message:send", json=body, headers=headers).json()["task"]
    queued = open_server.service.store.events(task["id"])[0]
    assert queued.data["trace"].endswith("-root") is (given is None)
    assert given is None or queued.data["trace"].split("-")[1] == "a" * 32
