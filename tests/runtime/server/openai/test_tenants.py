"""Tenants: nothing is shared, quotas hold, keys open only what they may."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import openai
import pytest

from gangline.ir.errors import QuotaError
from gangline.ir.specs.request import Finished, SamplingParams, Submit
from gangline.runtime.dispatch.outcome import DirectOutcome
from gangline.runtime.server.openai import limits
from gangline.runtime.server.openai.ledger import Ledger
from gangline.runtime.service.tenant import Tenant

MODEL = "smollm2-135m"
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


class _Clock:
    now_s = 86_400.0 * 3 + 86_300.0

    def __call__(self) -> float:
        return self.now_s


def _outcome(tenant: str, tokens: int, usd: float = 0.0) -> DirectOutcome:
    submit = Submit("r", "m", (1,), SamplingParams(1), cache_salt=tenant)
    finished = Finished("r", 0.0, (), "", "stop", tokens, 0)
    return DirectOutcome(submit, "cpu/0", finished, 0.0, 1.0, usd=usd)


def test_a_minute_later_the_tokens_are_there_again_and_a_day_later_the_dollars() -> None:
    clock = _Clock()
    ledger = Ledger(clock)
    tenant = Tenant("ann")
    left = {"in_flight": None, "tokens_this_minute": 100.0, "usd_today": 1.0}
    ledger.observe(_outcome("ann", 60))
    clock.now_s += 30
    ledger.observe(_outcome("bob", 1000, usd=9.0))
    with ledger.admitted(tenant, left):
        pass
    ledger.observe(_outcome("ann", 40))
    with pytest.raises(QuotaError) as caught, ledger.admitted(tenant, left):
        pass
    assert caught.value.retry_after_s == 30.0
    clock.now_s += 30
    with ledger.admitted(tenant, left):
        ledger.observe(_outcome("ann", 1, usd=1.5))
    with pytest.raises(QuotaError) as spent, ledger.admitted(tenant, left):
        pass
    assert spent.value.retry_after_s == 40.0
    clock.now_s += 40
    with ledger.admitted(tenant, left):
        pass
