"""Tenants: nothing is shared, quotas hold, keys open only what they may."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import openai
import pytest

import gangline as gl
from gangline.runtime.server.openai import limits
from gangline.runtime.service.tenant import Tenant

MODEL = "smollm2-135m"


@gl.workflow
def doubled() -> str:
    """Need nothing."""
    return gl.ask("Why?", returns=str)


LONG: Any = [{"role": "user", "content": "the same words " * 20}]
Serve = Callable[..., Any]
MakeKey = Callable[..., Any]


def test_a_prompt_is_cached_for_its_tenant_only(serve: Serve, make_key: MakeKey) -> None:
    server = serve(keys=[make_key("a" * 32, "ann"), make_key("b" * 32, "bob")])

    def cached(key: str) -> int:
        answer = server.client(key).chat.completions.create(model=MODEL, messages=LONG)
        return int(answer.usage.prompt_tokens_details.cached_tokens)

    assert [cached("a" * 32), cached("b" * 32)] == [0, 0]
    assert cached("a" * 32) > 100 and cached("b" * 32) > 100
    assert {submit.cache_salt for submit in server.backend.submits} == {"ann", "bob"}


def test_keys_are_asked_for_in_openais_shape(serve: Serve, make_key: MakeKey) -> None:
    server = serve(keys=[make_key("a" * 32, "ann"), make_key("r" * 32, "reader", scopes=("read",))])
    with pytest.raises(openai.AuthenticationError) as wrong:
        server.client("x" * 32).models.list()
    assert wrong.value.code == "invalid_api_key"
    with pytest.raises(openai.PermissionDeniedError):
        server.client("r" * 32).chat.completions.create(model=MODEL, messages=LONG)
    assert server.client("r" * 32).models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError):
        server.client("r" * 32).models.retrieve("gpt-4")


def test_only_an_admin_goes_before_others(serve: Serve, make_key: MakeKey) -> None:
    server = serve(keys=[make_key("a" * 32, "ann"), make_key("r" * 32, "root", scopes=("admin",))])

    def ask(key: str, priority: int) -> None:
        server.client(key).chat.completions.create(
            model=MODEL, messages=LONG, max_tokens=1, extra_body={"priority": priority}
        )

    ask("a" * 32, 5)
    ask("r" * 32, -5)
    with pytest.raises(openai.PermissionDeniedError):
        ask("a" * 32, -1)
    assert [submit.priority for submit in server.backend.submits] == [5, -5]


def test_a_quota_of_tokens_is_kept(serve: Serve, make_key: MakeKey) -> None:
    keys = [make_key("a" * 32, "ann", quota={"tokens_per_min": 400}), make_key("b" * 32, "bob")]
    server = serve(keys=keys)
    ask = server.client("a" * 32).chat.completions.create
    ask(model=MODEL, messages=LONG, max_tokens=120)  # 300 and a few in the prompt
    ask(model=MODEL, messages=LONG, max_tokens=5)
    with pytest.raises(openai.RateLimitError) as caught:
        ask(model=MODEL, messages=LONG)
    assert caught.value.code == "rate_limit_exceeded"
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
    assert server.client("b" * 32).chat.completions.create(model=MODEL, messages=LONG).choices


def test_jobs_count_too(serve: Serve, make_key: MakeKey) -> None:
    keys = [make_key("a" * 32, "ann", quota={"max_in_flight": 1})]
    server = serve(keys=keys)

    async def nothing_left(tenant: Tenant) -> dict[str, float | None]:
        return {"in_flight": 0.0, "usd_today": None, "tokens_this_minute": None}

    server.service.quota_left = nothing_left
    with pytest.raises(openai.RateLimitError):
        server.client("a" * 32).chat.completions.create(model=MODEL, messages=LONG)


def test_a_server_that_stops_takes_nothing_more(serve: Serve) -> None:
    server = serve()
    server.service.draining = True
    with pytest.raises(openai.InternalServerError) as caught:
        server.client().chat.completions.create(model=MODEL, messages=LONG)
    assert caught.value.status_code == 503
    assert caught.value.response.headers["retry-after"] == "1"


def test_too_many_at_once_are_turned_away(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_IN_FLIGHT", 10)
    client = serve().client()
    assert len(client.embeddings.create(model=MODEL, input=["x"] * 10).data) == 10
    with pytest.raises(openai.InternalServerError, match="waiting"):
        client.embeddings.create(model=MODEL, input=["x"] * 11)


def test_a_stream_counts_as_in_flight_until_it_ends(
    serve: Serve, make_key: MakeKey, until: Callable[[Callable[[], bool]], None]
) -> None:
    keys = [make_key("a" * 32, "ann", quota={"max_in_flight": 1})]
    server = serve(keys=keys, num_output_tokens=lambda _: 10**9)
    client = server.client("a" * 32)
    client.chat.completions.create(model=MODEL, messages=LONG, max_tokens=1)
    runner, pause = server.backend.runners[0], threading.Event()
    execute = runner.execute

    def slowly(*args: Any) -> Any:
        pause.wait(0.01)
        return execute(*args)

    runner.execute = slowly
    stream = client.chat.completions.create(
        model=MODEL, messages=LONG, stream=True, max_tokens=7000
    )
    with stream:
        next(iter(stream))
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model=MODEL, messages=LONG, max_tokens=1)
        with pytest.raises(openai.RateLimitError):
            client.embeddings.create(model=MODEL, input="x")
    until(lambda: server.num_in_flight == 0)
    runner.execute = execute
    assert client.chat.completions.create(model=MODEL, messages=LONG, max_tokens=1).choices


def test_what_requests_use_counts_on_every_server_and_for_jobs(
    serve: Serve, make_key: MakeKey, until: Callable[[Callable[[], bool]], None]
) -> None:
    keys = [make_key("a" * 32, "ann", quota={"tokens_per_min": 100})]
    one, other = (serve(keys=keys, workflows=[doubled]) for _ in range(2))
    one.client("a" * 32).chat.completions.create(model=MODEL, messages=LONG, max_tokens=1)
    store = one.service.store
    until(lambda: store.usage("ann", time.time() - 60.0).tokens > 300)
    assert store.usage("bob", time.time() - 60.0).tokens == 0
    with pytest.raises(openai.RateLimitError):
        other.client("a" * 32).chat.completions.create(model=MODEL, messages=LONG, max_tokens=1)
    for server in (one, other):
        reply = server.http("a" * 32).post("/v1/jobs", json={"workflow": "doubled"})
        assert reply.status_code == 429 and reply.json()["code"] == "quota", reply.text
