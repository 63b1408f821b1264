"""Workflows as MCP tools, with the official client against a real server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("mcp")

import httpx2
from mcp import Client, ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel

import gangline as gl
from gangline.runtime.server import mcp_tools

Serve = Callable[..., Any]


class Route(BaseModel):
    """A way between towns."""

    towns: list[str]
    km: float


@gl.tool
def plan_route(start: str, km: float) -> Route:
    return Route(towns=[start, "Rome"], km=km)


@gl.workflow
def route(start: str) -> Route:
    """Plan a way to Rome."""
    return plan_route(start, gl.ask("How far may it be?", returns=float))


@asynccontextmanager
async def session(url: str, key: str = "") -> AsyncIterator[ClientSession]:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=20) as http,
        streamable_http_client(f"{url}/mcp", http_client=http) as streams,
        ClientSession(streams[0], streams[1]) as opened,
    ):
        await opened.initialize()
        yield opened


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(limited())


def cancels(service: Any) -> threading.Event:
    """Give an event that is set once a cancel was taken; a tool that writes goes on to its end."""
    cancel, told = service.cancel, threading.Event()

    async def cancel_and_tell(*args: Any) -> Any:
        try:
            return await cancel(*args)
        finally:
            told.set()

    service.cancel = cancel_and_tell
    return told


def texts(result: Any) -> list[str]:
    return [part.text for part in result.content]


@pytest.fixture
def url(open_server: Any) -> Iterator[str]:
    yield open_server.url


def test_workflows_are_listed_with_their_schemas(url: str) -> None:
    async def test() -> None:
        async with session(url) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert set(tools) == {"five_steps", "failing", "gated", "resume_job"}
            tool = tools["five_steps"]
            assert tool.description == "Add one, five times."
            assert tool.input_schema["properties"]["number"]["type"] == "integer"
            assert tool.input_schema["required"] == ["number"]
            assert tool.output_schema is not None
            assert tool.output_schema["properties"]["result"]["type"] == "integer"

    run(test)


def test_a_call_is_a_job_with_progress_and_structured_content(open_server: Any) -> None:
    seen: list[tuple[float, str | None]] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, message))

    async def test() -> None:
        async with session(open_server.url) as client:
            result = await client.call_tool("five_steps", {"number": 1}, progress_callback=progress)
            assert not result.is_error and result.structured_content == {"result": 6}
            assert texts(result) == ["6"]
            job_id = (result.meta or {})["gangline/job_id"]
            with open_server.client() as http:
                job = http.get(f"/v1/jobs/{job_id}").json()
            assert (job["status"], job["output"]) == ("succeeded", 6)

    run(test)
    values = [value for value, _ in seen]
    assert len(values) >= 5 and values == sorted(set(values))
    assert any("step.completed" in (message or "") for _, message in seen)


def test_what_fails_is_told_to_the_model_not_to_the_protocol(url: str) -> None:
    async def test() -> None:
        async with session(url) as client:
            result = await client.call_tool("failing", {"number": 7})
            assert result.is_error and result.structured_content is None
            assert "no 7" in texts(result)[0]
            wrong = await client.call_tool("five_steps", {"number": "x"})
            assert wrong.is_error and "number" in texts(wrong)[0]
            missing = await client.call_tool("five_steps", {})
            assert missing.is_error
            with pytest.raises(MCPError, match="No workflow is called"):
                await client.call_tool("rm_rf", {})

    run(test)


def test_a_call_given_up_cancels_its_job(open_server: Any, entrance: Any) -> None:
    told = cancels(open_server.service)

    async def test() -> None:
        async with session(open_server.url) as client:
            call = asyncio.create_task(client.call_tool("gated", {"number": 1}))
            await asyncio.to_thread(entrance.entered.wait, 20)
            with open_server.client() as http:
                (job,) = http.get("/v1/jobs?workflow=gated").json()["data"]
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
                assert await asyncio.to_thread(told.wait, 20)
                entrance.open()
                await _until(lambda: [http.get(f"/v1/jobs/{job['id']}").json()], "cancelled")

    run(test)


def test_keys_tenants_and_origins_are_checked(locked: Any, keys: dict[str, Any]) -> None:
    ask = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    accept = {"accept": "application/json, text/event-stream"}
    with locked.client() as http:
        assert http.post("/mcp", json=ask, headers=accept).status_code == 401
    with locked.client(keys["reader"].key) as http:
        assert http.post("/mcp", json=ask, headers=accept).status_code == 403
    with locked.client(keys["anna"].key) as http:
        foreign = {**accept, "origin": "https://evil.example"}
        assert http.post("/mcp", json=ask, headers=foreign).status_code == 403
        named = {**accept, "host": "evil.example"}
        assert http.post("/mcp", json=ask, headers=named).status_code in (400, 403)

    async def test() -> None:
        async with session(locked.url, keys["anna"].key) as client:
            result = await client.call_tool("five_steps", {"number": 0})
            job_id = (result.meta or {})["gangline/job_id"]
        with locked.client(keys["bert"].key) as http:
            assert http.get(f"/v1/jobs/{job_id}").status_code == 404
        with locked.client(keys["anna"].key) as http:
            assert http.get(f"/v1/jobs/{job_id}").json()["tenant"] == "anna"

    run(test)


def test_a_session_is_its_tenants_own(locked: Any, keys: dict[str, Any]) -> None:
    begin = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        },
    }
    accept = {"accept": "application/json, text/event-stream"}
    with locked.client(keys["anna"].key) as anna, locked.client(keys["bert"].key) as bert:
        opened = anna.post("/mcp", json=begin, headers=accept)
        assert opened.status_code == 200
        own = {**accept, "mcp-session-id": opened.headers["mcp-session-id"]}
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        assert anna.post("/mcp", json=ping, headers=own).status_code == 200
        assert bert.post("/mcp", json=ping, headers=own).status_code == 404


def test_without_the_package_the_rest_works(
    fresh_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "mcp.server.streamable_http_manager", None)
    with fresh_server.client() as http:
        reply = http.post("/mcp", json={})
        assert reply.status_code == 503 and "gangline[mcp]" in reply.json()["next_step"]
        assert http.get("/healthz").status_code == 200


def test_a_job_that_asks_tells_how_to_answer_and_goes_on(
    fresh_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_tools, "SETTLE_S", 0.0)  # the last event is the last word
    fresh_server.do(lambda: fresh_server.service.offers.add(route))

    async def test() -> None:
        async with session(fresh_server.url) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert (tools["route"].output_schema or {})["required"] == ["towns", "km"]
            asked = await client.call_tool("route", {"start": "Oslo"})
            assert asked.is_error and asked.meta is not None
            (told,) = texts(asked)
            assert "How far may it be?" in told and "resume_job" in told and '"number"' in told
            job_id = asked.meta["gangline/job_id"]
            with fresh_server.client() as http:
                interrupt = http.get(f"/v1/jobs/{job_id}").json()["interrupt"]["id"]
            assert job_id in told and interrupt in told
            answer = {"job": job_id, "interrupt": interrupt, "value": "far"}
            wrong = await client.call_tool("resume_job", answer)
            assert wrong.is_error and "gangline/job_id" not in (wrong.meta or {})
            done = await client.call_tool("resume_job", {**answer, "value": 1650.5})
            assert not done.is_error
            assert done.structured_content == {"towns": ["Oslo", "Rome"], "km": 1650.5}
            late = await client.call_tool("resume_job", {**answer, "value": 1.0})
            assert late.is_error

    run(test)


def test_nobody_answers_for_another_tenant(locked: Any, keys: dict[str, Any]) -> None:
    locked.do(lambda: locked.service.offers.add(route))

    async def test() -> None:
        async with session(locked.url, keys["anna"].key) as anna:
            asked = await anna.call_tool("route", {"start": "Oslo"})
        job_id = (asked.meta or {})["gangline/job_id"]
        async with session(locked.url, keys["bert"].key) as bert:
            answer = {"job": job_id, "interrupt": "ask", "value": 3.0}
            theirs = await bert.call_tool("resume_job", answer)
            nobodys = await bert.call_tool("resume_job", {**answer, "job": job_id[:-1] + "0"})
        assert theirs.is_error and nobodys.is_error
        assert texts(theirs)[0].replace(job_id, "") == texts(nobodys)[0].replace(
            job_id[:-1] + "0", ""
        )

    run(test)


def test_the_newer_generation_of_the_protocol_works_too(fresh_server: Any, entrance: Any) -> None:
    seen: list[float] = []
    told = cancels(fresh_server.service)

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async def test() -> None:
        async with Client(f"{fresh_server.url}/mcp") as client:
            assert client.protocol_version > "2026"
            assert len((await client.list_tools()).tools) == 4
            done = await client.call_tool("five_steps", {"number": 1}, progress_callback=progress)
            assert done.structured_content == {"result": 6} and len(seen) >= 5
            call = asyncio.create_task(client.call_tool("gated", {"number": 1}))
            await asyncio.to_thread(entrance.entered.wait, 20)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            assert await asyncio.to_thread(told.wait, 20)
            entrance.open()
        with fresh_server.client() as http:
            await _until(lambda: http.get("/v1/jobs?workflow=gated").json()["data"], "cancelled")

    run(test)


async def _until(jobs: Callable[[], list[dict[str, Any]]], status: str) -> None:
    """Wait until the only job has a status, at most thirty seconds."""
    for _ in range(3000):
        (job,) = jobs()
        if job["status"] == status:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(job["status"])
