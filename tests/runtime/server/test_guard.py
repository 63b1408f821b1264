"""What strangers, foreign pages and rebound names get: nothing."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest

from gangline.runtime.server.settings import ServerSettings

BODY = {"workflow": "five_steps", "input": {"number": 1}}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *[("evil.example", 403), ("localhost.evil.example", 403), ("", 403), ("127.0.0.1.x", 403)],
        *[("localhost", 200), ("LOCALHOST:80", 200), ("127.0.0.1:9", 200), ("[::1]:9", 200)],
        *[("192.0.2.7", 200), ("api.example", 200)],
    ],
)
def test_only_known_host_names_are_answered(serve: Any, host: str, status: int) -> None:
    """A name that an attacker's DNS points at this machine is not one of ours."""
    settings = ServerSettings(allowed_hosts=("api.example",))
    with serve(settings) as served, served.client() as client:
        for _ in range(2):  # a name refused once is not remembered as known
            answer = client.get("/healthz", headers={"host": host})
            assert answer.status_code == status


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_foreign_page_cannot_change_state(client: httpx.Client, headers: dict[str, str]) -> None:
    answer = client.post("/v1/jobs", json=BODY, headers=headers)
    assert answer.status_code == 403 and answer.json()["where"] == "origin"
    assert client.get("/v1/jobs", headers=headers).status_code == 200  # it cannot read this


def test_our_own_page_and_allowed_origins_may(serve: Any) -> None:
    settings = ServerSettings(allowed_origins=("https://app.example",))
    with serve(settings) as served, served.client() as client:
        for origin in (served.url, "https://app.example"):
            answer = client.post("/v1/jobs", json=BODY, headers={"origin": origin})
            assert answer.status_code == 202, origin


@pytest.mark.parametrize(
    "content_type",
    [
        *("", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "*/*"),
        *("application/json; charset=utf-16", "application/jsonp"),
    ],
)
def test_only_json_bodies_are_read(client: httpx.Client, content_type: str) -> None:
    """Forms of foreign pages can send text and forms, but not JSON, without being asked first."""
    answer = client.post("/v1/jobs", content=b"{}", headers={"content-type": content_type})
    assert answer.status_code == 415


def test_json_in_utf_8_may_say_so(client: httpx.Client) -> None:
    head = {"content-type": 'Application/JSON; charset="UTF-8"'}
    answer = client.post("/v1/jobs:batch", content=b'{"jobs": []}', headers=head)
    assert answer.status_code == 422


def test_large_bodies_are_refused_however_they_come(serve: Any) -> None:
    with serve(ServerSettings(max_body_bytes=1000)) as served, served.client() as client:
        head = {"content-type": "application/json"}
        announced = client.post("/v1/jobs", content=b" " * 1001, headers=head)
        chunked = client.post("/v1/jobs", content=iter([b" " * 600] * 2), headers=head)
        for answer in (announced, chunked):
            assert answer.status_code == 413 and answer.json()["code"] == "too_large"
            assert answer.headers["connection"] == "close"
        assert client.post("/v1/jobs", content=b" " * 1000, headers=head).status_code == 400


def test_every_answer_has_the_safe_headers(client: httpx.Client) -> None:
    paths = ("/healthz", "/nothing", "/v1/jobs", "/openapi.json", "/v1/jobs/nothing/events")
    answers = [client.get(path) for path in paths]
    answers += [client.put("/v1/jobs"), client.get("/", headers={"host": "evil.example"})]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-request-id"] and answer.headers["traceparent"]
        assert "server" not in answer.headers


def test_methods_of_a_path(client: httpx.Client) -> None:
    wrong = client.put("/v1/jobs")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    asked = client.options("/v1/jobs/x:cancel")
    assert (asked.status_code, asked.headers["allow"]) == (204, "OPTIONS, POST")
    assert "access-control-allow-origin" not in asked.headers
    head = client.head("/healthz")
    assert (head.status_code, head.content) == (200, b"") and int(head.headers["content-length"])
    assert client.request("TRACE", "/healthz").status_code == 405


def test_unknown_routes_are_problems(client: httpx.Client) -> None:
    for path in ("/v2", "/v2/jobs", "/v1/jobs/", "/v1/jobs/a/b", "/v1/jobs/a:explode", "//v1/jobs"):
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"


def test_an_answer_nobody_accepts(client: httpx.Client) -> None:
    for accept, status in [
        *[("text/csv", 406), ("text/html, image/*", 406), ("application/json;q=0", 406)],
        *[("application/*", 200), ("text/csv, */*;q=0.1", 200), ("application/json", 200)],
    ]:
        assert client.get("/healthz", headers={"accept": accept}).status_code == status, accept


def test_two_hosts_are_one_too_many(open_server: Any) -> None:
    with socket.create_connection(("127.0.0.1", open_server.port)) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\nhost: a.example\r\nhost: localhost\r\n\r\n")
        assert b" 400 " in line.recv(100)


def test_requests_are_told_to_observers(serve: Any) -> None:
    seen: list[Any] = []
    with serve(observers=[seen.append]) as served, served.client() as client:
        job = client.post("/v1/jobs", json=BODY, headers={"x-request-id": "r-1"})
        client.get(job.headers["location"] + "x/steps")
    accepted, missing = seen
    assert (accepted.method, accepted.route, accepted.status) == ("POST", "/v1/jobs", 202)
    assert (accepted.tenant, accepted.request_id) == ("local", "r-1") and accepted.seconds > 0
    assert accepted.trace_id in job.headers["traceparent"]
    assert (missing.route, missing.status) == ("/v1/jobs/{id}/steps", 404)
