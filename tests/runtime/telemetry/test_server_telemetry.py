"""Telemetry of a real server: what a scrape says of real jobs, who may scrape, whole traces."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind
from prometheus_client import parser

import gangline as gl
from gangline.backends.fake import FakeBackend
from gangline.ir.errors import NotFoundError
from gangline.runtime.client.app_transport import AppTransport
from gangline.runtime.client.asynchronous import AsyncClient
from gangline.runtime.server.app import create_app
from gangline.runtime.service.keys import hash_key
from gangline.runtime.service.service import Service, open_service
from gangline.runtime.store.records import KeyRow
from gangline.runtime.telemetry import server_telemetry
from gangline.runtime.telemetry.server_telemetry import open_telemetry
from gangline.runtime.telemetry.spans import JobIds, Spans

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@gl.tool(effects="read")
def shout(text: str) -> str:
    return text.upper()


@gl.llm(model="smollm2-135m", max_tokens=16)
def answer(text: str) -> str:
    """Answer {text}."""
    raise NotImplementedError


@gl.workflow
def loud(text: str) -> str:
    """Answer loudly."""
    return shout(answer(text))


@asynccontextmanager
async def served(folder: Path, **options: Any) -> AsyncIterator[tuple[Any, Service]]:
    backends = {"cpu/0": FakeBackend({"": "good day"})}
    async with (
        open_service([loud], store=folder / "jobs.sqlite", backends=backends) as service,
        open_telemetry(service, environment={}, **options) as telemetry,
    ):
        yield create_app(service, telemetry=telemetry), service


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_scrape_shows_what_happened(tmp_path: Path) -> None:
    async def go() -> None:
        async with served(tmp_path) as (app, _):
            async with AsyncClient("http://localhost", transport=AppTransport(app)) as client:
                for _ in range(3):
                    await (await client.submit(loud, text="hello")).result(timeout=30)
                with pytest.raises(NotFoundError):
                    await client.submit("nobody")
            async with httpx.AsyncClient(transport=AppTransport(app)) as plain:
                reply = await plain.get("http://localhost/metrics")
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith("text/plain; version=")
        found = samples(reply.text)
        ended = (("status", "succeeded"), ("workflow", "loud"))
        assert found["gangline_jobs_ended_total", ended] == 3
        assert found["gangline_jobs", (("status", "succeeded"),)] == 3
        assert found["gangline_running_jobs", ()] == 0
        assert found["gangline_store_up", ()] == 1
        assert found["gangline_store_commits_total", ()] >= 3
        assert found["gangline_telemetry_dropped_events_total", ()] == 0
        model = (("model_name", "smollm2-135m"),)
        assert found["vllm:generation_tokens_total", model] == 3 * len("good day")
        engine = (("device", "cpu/0"), *model)
        assert found["vllm:num_requests_running", engine] == 0
        assert 0 <= found["vllm:kv_cache_usage_perc", engine] <= 1
        submits = {
            labels: value
            for (name, labels), value in found.items()
            if name == "gangline_http_requests_total" and ("route", "/v1/jobs") in labels
        }
        by_status = {dict(labels)["status"]: value for labels, value in submits.items()}
        assert by_status == {"202": 3, "404": 1}

    asyncio.run(go())


def test_model_requests_of_no_job_count_too(tmp_path: Path) -> None:
    async def go() -> None:
        async with (
            served(tmp_path) as (app, _),
            httpx.AsyncClient(transport=AppTransport(app), base_url="http://localhost") as client,
        ):
            body = {"model": "smollm2-135m", "messages": [{"role": "user", "content": "hi"}]}
            reply = await client.post("/v1/chat/completions", json=body)
            assert reply.status_code == 200, reply.text
            found = samples((await client.get("/metrics")).text)
        usage = reply.json()["usage"]
        model = (("model_name", "smollm2-135m"),)
        assert found["vllm:prompt_tokens_total", model] == usage["prompt_tokens"]
        assert found["vllm:generation_tokens_total", model] == usage["completion_tokens"]
        assert found["vllm:e2e_request_latency_seconds_count", model] == 1
        assert found["vllm:time_to_first_token_seconds_count", model] == 1

    asyncio.run(go())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),  # from this machine too: tenants on it could tell what others do
        ({"authorization": "Bearer read-key"}, 403),
        ({"authorization": "Bearer admin-key"}, 200),
        ({"authorization": "Bearer wrong"}, 401),
    ],
)
def test_who_may_scrape(headers: dict[str, str], status: int, tmp_path: Path) -> None:
    async def go() -> None:
        async with served(tmp_path) as (app, service):
            for scope in ("read", "admin"):
                key = KeyRow(scope, hash_key(f"{scope}-key"), "t", (scope,), {}, 1.0)
                await asyncio.to_thread(service.store.add_key(key).result)
            async with httpx.AsyncClient(transport=AppTransport(app)) as client:
                reply = await client.get("http://localhost/metrics", headers=headers)
        assert reply.status_code == status, reply.text

    asyncio.run(go())


def test_a_stranger_s_address_needs_a_key(tmp_path: Path) -> None:
    async def go() -> None:
        async with served(tmp_path) as (app, service):
            key = KeyRow("k", hash_key("key"), "t", ("admin",), {}, 1.0)
            await asyncio.to_thread(service.store.add_key(key).result)

            async def from_afar(scope: Any, receive: Any, send: Any) -> None:
                await app({**scope, "client": ("203.0.113.9", 1)}, receive, send)

            async with httpx.AsyncClient(transport=AppTransport(from_afar)) as client:
                reply = await client.get("http://localhost/metrics")
        assert reply.status_code == 401

    asyncio.run(go())


def test_webhooks_are_counted_by_what_came_of_them(tmp_path: Path) -> None:
    async def go() -> None:
        async with served(tmp_path) as (app, _):
            async with AsyncClient("http://localhost", transport=AppTransport(app)) as client:
                hook = "https://localhost:9/hook"  # known to be private only when it is sent
                await (await client.submit(loud, text="x", webhook=hook)).result(timeout=30)
            name, labels = "gangline_webhook_deliveries_total", (("outcome", "failed"),)
            async with httpx.AsyncClient(transport=AppTransport(app)) as plain:
                async with asyncio.timeout(30):
                    while True:
                        reply = await plain.get("http://localhost/metrics")
                        if samples(reply.text).get((name, labels)) == 1:
                            return
                        await asyncio.sleep(0.02)

    asyncio.run(go())


def test_telemetry_leaves_nothing_behind(tmp_path: Path) -> None:
    async def go() -> None:
        backends = {"cpu/0": FakeBackend({"": "good day"})}
        async with open_service([loud], store=tmp_path / "j", backends=backends) as service:
            before = len(service.hub.taps), len(service.session.executor.direct.observers)
            async with open_telemetry(service, environment={}):
                assert len(service.hub.taps) == before[0] + 1
            after = len(service.hub.taps), len(service.session.executor.direct.observers)
            assert after == before

    asyncio.run(go())


# -- traces


def traced(
    folder: Path, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], sampler: Any = None
) -> list[ReadableSpan]:
    """Run a job over HTTP; gives every span."""
    ids, exporter = JobIds(), InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler, id_generator=ids, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(server_telemetry, "open_spans", lambda _: Spans(provider, ids))

    async def go() -> None:
        async with (
            served(folder) as (app, _),
            httpx.AsyncClient(
                transport=AppTransport(app), base_url="http://localhost", headers=headers
            ) as client,
        ):
            body = {"workflow": "loud", "input": {"text": "hi"}}
            reply = await client.post("/v1/jobs", json=body, headers={"prefer": "wait=30"})
            assert reply.json()["status"] == "succeeded"
            await client.get("/healthz")

    asyncio.run(go())
    return list(exporter.get_finished_spans())


def test_a_trace_reaches_from_the_caller_to_the_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = traced(tmp_path, monkeypatch, {"traceparent": f"00-{TRACE}-{SPAN}-01"})
    by_name = {span.name: span for span in spans}
    assert {f"{span.context.trace_id:032x}" for span in spans} == {TRACE}
    request, job = by_name["POST /v1/jobs"], by_name["invoke_workflow loud"]
    assert request.kind is SpanKind.SERVER
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == SPAN
    assert (request.attributes or {})["http.response.status_code"] == 200
    assert job.parent is not None
    assert job.parent.span_id == request.context.span_id
    for name in ("chat smollm2-135m", f"execute_tool {shout.name}"):
        parent = by_name[name].parent
        assert parent is not None
        assert parent.span_id == job.context.span_id
    assert not [name for name in by_name if "healthz" in name]


def test_without_a_caller_the_request_is_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = traced(tmp_path, monkeypatch, {})
    roots = [span.name for span in spans if span.parent is None]
    assert roots == ["POST /v1/jobs"]
    assert len({span.context.trace_id for span in spans}) == 1
    known = {span.context.span_id for span in spans}
    assert all(span.parent.span_id in known for span in spans if span.parent is not None)


def test_a_ratio_samples_requests_with_their_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no caller has decided: a trace has all its spans or none."""
    random.seed(7)  # of the ids the server makes
    full = len(traced(tmp_path / "full", monkeypatch, {}))
    sampler = ParentBased(TraceIdRatioBased(0.5))
    sizes = [len(traced(tmp_path / str(n), monkeypatch, {}, sampler)) for n in range(12)]
    assert set(sizes) == {0, full}
