"""Jobs over HTTP: submit, wait, look, list."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import httpx


def submit(client: httpx.Client, workflow: str = "five_steps", **more: Any) -> httpx.Response:
    headers = more.pop("headers", {})
    body = {"workflow": workflow, "input": {"number": 1}, **more}
    return client.post("/v1/jobs", json=body, headers=headers)


def test_a_job_is_accepted_stored_and_found(client: httpx.Client) -> None:
    accepted = submit(client)
    assert accepted.status_code == 202
    job = accepted.json()
    assert accepted.headers["location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    assert client.get(accepted.headers["location"]).json()["id"] == job["id"]


def test_mode_wait_answers_when_the_job_is_done(client: httpx.Client) -> None:
    answer = submit(client, mode="wait")
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert answer.json()["output"] == 6
    assert answer.headers["preference-applied"].startswith("wait=")


def test_prefer_wait_answers_when_the_job_is_done(client: httpx.Client) -> None:
    answer = submit(client, headers={"prefer": "respond-async, wait=20"})
    assert answer.status_code == 200 and answer.json()["output"] == 6


def test_a_job_that_takes_longer_than_the_wait_is_accepted(
    client: httpx.Client, entrance: Any
) -> None:
    answer = submit(client, "gated", headers={"prefer": "wait=0"})
    assert answer.status_code == 202 and answer.json()["status"] in ("queued", "running")
    entrance.open()
    later = client.get(answer.headers["location"], headers={"prefer": "wait=20"})
    assert later.json()["status"] == "succeeded"


def test_a_wait_is_cut_to_what_the_server_allows(serve: Any, entrance: Any) -> None:
    from gangline.runtime.server.settings import ServerSettings

    with serve(ServerSettings(max_wait_s=0.05)) as served, served.client() as client:
        answer = submit(client, "gated", headers={"prefer": "wait=3600"})
        assert answer.status_code == 202
        assert answer.headers["preference-applied"] == "wait=0"
        entrance.open()


def test_a_failed_job_is_an_answer_with_its_error(client: httpx.Client) -> None:
    answer = submit(client, "failing", mode="wait")
    assert answer.status_code == 200
    assert answer.json()["error"]["code"] == "step"


def test_an_unknown_workflow_is_not_found(client: httpx.Client) -> None:
    answer = submit(client, "/etc/passwd")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "five_steps" in answer.json()["next_step"]


def test_a_wrong_input_is_refused_and_nothing_runs(fresh_client: httpx.Client) -> None:
    answer = fresh_client.post("/v1/jobs", json={"workflow": "five_steps", "input": {"no": 1}})
    assert answer.status_code == 422 and answer.json()["code"] == "input"
    assert fresh_client.get("/v1/jobs").json()["data"] == []


def test_every_fault_of_a_body_is_told_with_its_place(client: httpx.Client) -> None:
    answer = client.post("/v1/jobs", json={"workflow": "", "priority": "5", "tenant": "root"})
    assert answer.status_code == 422
    assert {fault["where"] for fault in answer.json()["errors"]} == {
        *("body.workflow", "body.priority", "body.tenant")
    }


def test_a_key_that_is_no_key_is_refused(client: httpx.Client) -> None:
    for key in ("", "a b", "k" * 256, "grün"):
        answer = submit(client, headers={"idempotency-key": key.encode("latin-1")})
        assert answer.status_code == 400, key
        assert answer.json()["where"] == "idempotency-key"


def test_the_job_has_an_etag(client: httpx.Client) -> None:
    path = submit(client, mode="wait").headers["location"]
    tag = client.get(path).headers["etag"]
    again = client.get(path, headers={"if-none-match": f'"other", W/{tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert client.get(path, headers={"if-none-match": '"0"'}).status_code == 200


def test_pages_cover_every_job_once(fresh_client: httpx.Client) -> None:
    made = [submit(fresh_client, mode="wait").json()["id"] for _ in range(5)]
    seen, after, pages = [], None, 0
    while True:
        page = fresh_client.get(
            "/v1/jobs", params={"limit": 2, **({"after": after} if after else {})}
        )
        rows = page.json()
        seen += [row["id"] for row in rows["data"]]
        assert "output" not in rows["data"][0]
        after, pages = rows["next"], pages + 1
        if after is None:
            break
    assert seen == made[::-1] and pages == 3


def test_unknown_and_doubled_parameters_are_refused(client: httpx.Client) -> None:
    for query in ("staus=failed", "limit=1&limit=2", "limit=0", "limit=1_0", "status=done", "a"):
        answer = client.get(f"/v1/jobs?{query}")
        assert answer.status_code == 422, query
        assert answer.json()["where"].startswith("query")


def test_what_is_no_json_is_malformed(client: httpx.Client) -> None:
    head = {"content-type": "application/json"}
    bodies = [
        *(b"", b"{", b"nul", b"\xff\xfe", b'{"workflow": NaN}', b'{"a": 1e999}'),
        *(
            b'{"workflow": "a", "workflow": "b"}',
            b"[" * 100_000,
            b'{"a":' * 500 + b"1" + b"}" * 500,
        ),
        *(b'{"workflow": "\\ud800"}', b'{"a": ' + b"9" * 10_000 + b"}", b'{"a": -Infinity}'),
    ]
    for body in bodies:
        answer = client.post("/v1/jobs", content=body, headers=head)
        assert answer.status_code == 400, body[:50]
        assert answer.json()["code"] == "request"


def test_json_of_another_shape_is_wrong(client: httpx.Client) -> None:
    head = {"content-type": "application/json"}
    bodies: list[Any] = [[], "text", None, 5, {"workflow": 10**400}]
    for body in bodies:
        answer = client.post("/v1/jobs", content=json.dumps(body), headers=head)
        assert answer.status_code == 422, body


def test_a_batch_answers_for_each_job(client: httpx.Client) -> None:
    good = {"workflow": "five_steps", "input": {"number": 1}}
    answer = client.post("/v1/jobs:batch", json={"jobs": [good, {"workflow": "nope"}, good]})
    items = answer.json()["data"]
    assert [item["status"] for item in items] == [202, 404, 202]
    assert items[1]["job"] is None and items[1]["error"]["code"] == "not_found"
    assert items[0]["job"]["id"] != items[2]["job"]["id"] and items[0]["error"] is None


def test_a_callers_trace_goes_through(client: httpx.Client) -> None:
    given = f"00-{uuid.uuid4().hex}-00f067aa0ba902b7-01"
    answer = client.get("/v1/jobs/nothing", headers={"traceparent": given, "x-request-id": "r-1"})
    assert answer.headers["traceparent"].split("-")[1] == given.split("-")[1]
    assert answer.headers["traceparent"] != given
    assert answer.json()["trace_id"] == given.split("-")[1]
    assert answer.headers["x-request-id"] == "r-1"


def test_a_trace_that_is_none_is_replaced(client: httpx.Client) -> None:
    for given in ("", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "ff-" + "a" * 32 + "-" + "b" * 16):
        answer = client.get("/healthz", headers={"traceparent": given, "x-request-id": "a\tb"})
        _, trace, span, _ = answer.headers["traceparent"].split("-")
        assert len(trace) == 32 and int(trace, 16) and len(span) == 16 and trace != "a" * 32
        assert answer.headers["x-request-id"] == span


def test_documents_hold_no_number_json_lacks(client: httpx.Client) -> None:
    job = submit(client, mode="wait").text
    json.loads(job, parse_constant=lambda name: (_ for _ in ()).throw(ValueError(name)))


def test_64_submitters_at_once_all_succeed(open_server: Any) -> None:
    """SQLite never says "database is locked" to anybody, and no key gives two jobs."""

    async def submit_all() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=64)
        async with httpx.AsyncClient(
            base_url=open_server.url, limits=limits, timeout=60.0
        ) as client:

            async def one(number: int) -> httpx.Response:
                given = {"number": number % 128}
                body = {"workflow": "five_steps", "input": given, "mode": "wait"}
                head = {"idempotency-key": f"k-{number % 128}"}
                return await client.post("/v1/jobs", json=body, headers=head)

            return await asyncio.gather(*(one(number) for number in range(256)))

    answers = asyncio.run(submit_all())
    assert {answer.status_code for answer in answers} == {200}
    jobs = {answer.json()["id"]: answer.json()["output"] for answer in answers}
    assert len(jobs) == 128 and sorted(jobs.values()) == list(range(5, 133))
