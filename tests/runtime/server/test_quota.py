"""What a tenant with limits is told about them."""

from __future__ import annotations

import re
from typing import Any

import httpx

BODY = {"workflow": "gated", "input": {"number": 1}}


def submit(client: httpx.Client, **headers: str) -> httpx.Response:
    return client.post("/v1/jobs", json=BODY, headers=headers)


def test_a_used_up_quota_is_told_with_what_is_left(serve: Any, key: Any, entrance: Any) -> None:
    quota = {"max_in_flight": 2, "usd_per_day": 1.5, "tokens_per_min": 1000}
    small = key("gl-small", "small", quota=quota)
    with serve(keys=[small]) as served, served.client("gl-small") as client:
        first, second, third = (submit(client) for _ in range(3))
        assert [first.status_code, second.status_code] == [202, 202]
        policy = first.headers["ratelimit-policy"]
        assert policy == '"in-flight";q=2, "usd-cents";q=150;w=86400, "tokens";q=1000;w=60'
        told = re.findall(r'"([a-z-]+)";r=(\d+);t=(\d+)', second.headers["ratelimit"])
        assert [(name, left) for name, left, _ in told] == [
            *(("in-flight", "0"), ("usd-cents", "150"), ("tokens", "1000"))
        ]
        assert third.status_code == 429 and third.json()["retryable"] is True
        assert int(third.headers["retry-after"]) >= 1
        assert '"in-flight";r=0' in third.headers["ratelimit"]
        entrance.open()
        ended = client.get(first.headers["location"], headers={"prefer": "wait=20"})
        assert ended.json()["status"] == "succeeded"


def test_a_tenant_without_limits_is_told_of_none(client: httpx.Client, entrance: Any) -> None:
    assert "ratelimit" not in submit(client).headers
    entrance.open()


def test_an_idempotency_key_gives_the_same_job(fresh_client: httpx.Client, entrance: Any) -> None:
    entrance.open()
    head = {"idempotency-key": "k-1"}
    first, again = submit(fresh_client, **head), submit(fresh_client, **head)
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    other = fresh_client.post("/v1/jobs", json={**BODY, "priority": 1}, headers=head)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency")
    assert len(fresh_client.get("/v1/jobs").json()["data"]) == 1
