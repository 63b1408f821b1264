"""Following a job over HTTP."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx

from gangline.runtime.server.settings import ServerSettings

WAIT_S = 20.0


def submit(client: httpx.Client, workflow: str = "five_steps", **more: Any) -> str:
    body = {"workflow": workflow, "input": {"number": 1}, **more}
    return str(client.post("/v1/jobs", json=body).json()["id"])


def read(answer: httpx.Response) -> Iterator[tuple[str | None, str, Any]]:
    """Give id, name and data of each event of a stream."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields.get("data"):
            yield fields.get("id"), fields["event"], json.loads(fields["data"])
            fields = {}


def follow(client: httpx.Client, path: str, **options: Any) -> list[tuple[str | None, str, Any]]:
    with client.stream("GET", path, **options) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store"
        return list(read(answer))


def test_the_whole_log_in_order(client: httpx.Client, validate: Any) -> None:
    job = submit(client, mode="wait")
    events = follow(client, f"/v1/jobs/{job}/events")
    assert [int(number or 0) for number, _, _ in events] == list(range(1, len(events) + 1))
    names = [name for _, name, _ in events]
    assert names[0] == "job.queued" and names[-1] == "job.completed"
    assert names.count("step.completed") == 5
    assert all(data["job_id"] == job and data["type"] == name for _, name, data in events)
    for _, _, data in events:
        validate("event", data)
    assert not events[0][2]["data"].keys() & {"program", "plan", "source"}


def test_a_reader_goes_on_where_it_left_off(client: httpx.Client) -> None:
    path = f"/v1/jobs/{submit(client, mode='wait')}/events"
    whole = follow(client, path)
    assert follow(client, path, params={"after": 4}) == whole[4:]
    assert follow(client, path, headers={"last-event-id": "4"}) == whole[4:]
    late = {"params": {"after": 1}, "headers": {"last-event-id": "4"}}
    assert follow(client, path, **late) == whole[4:]  # the header is the newer one
    assert follow(client, path, params={"after": len(whole)}) == []


def test_a_last_id_that_is_none_is_refused(client: httpx.Client) -> None:
    path = f"/v1/jobs/{submit(client)}/events"
    for last in ("x", "-1", "1.5", "9" * 17):
        assert client.get(path, headers={"last-event-id": last}).status_code == 400
    assert client.get(path + "?after=-1").status_code == 422
    assert client.get("/v1/jobs/nothing/events").status_code == 404


def test_events_arrive_while_the_job_runs(client: httpx.Client, entrance: Any) -> None:
    job = submit(client, "gated")
    with client.stream("GET", f"/v1/jobs/{job}/events") as answer:
        events = read(answer)
        seen = [next(events)[1] for _ in range(3)]
        assert seen == ["job.queued", "job.started", "step.started"]
        entrance.open()
        assert [name for _, name, _ in events][-1] == "job.completed"


def test_submit_and_follow_in_one_request(client: httpx.Client) -> None:
    body = {"workflow": "five_steps", "input": {"number": 1}, "mode": "stream"}
    with client.stream("POST", "/v1/jobs", json=body) as answer:
        assert answer.status_code == 200
        events = list(read(answer))
    assert answer.headers["location"] == f"/v1/jobs/{events[0][2]['job_id']}"
    assert [int(number or 0) for number, _, _ in events] == list(range(1, len(events) + 1))
    assert events[-1][2]["data"]["output"] == 6


def until(condition: Any) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_client_that_leaves_leaves_nothing_behind(open_server: Any, entrance: Any) -> None:
    """Streams and waits of clients that closed their connection hold no listener and no task."""
    with open_server.client() as client:
        job = submit(client, "gated")
    until(entrance.entered.is_set)

    def tasks() -> int:
        return int(open_server.do(lambda: len(asyncio.all_tasks())))

    before = tasks()
    lines = []
    head = "HTTP/1.1\r\nhost: localhost\r\nprefer: wait=60\r\n\r\n"
    for path in (f"/v1/jobs/{job}/events", f"/v1/jobs/{job}"):
        for _ in range(5):
            line = socket.create_connection(("127.0.0.1", open_server.port))
            line.sendall(f"GET {path} {head}".encode())
            lines.append(line)
    until(lambda: tasks() >= before + 15)
    assert open_server.do(lambda: job in open_server.service.hub.watched)
    for line in lines:
        line.close()
    until(lambda: tasks() <= before)
    assert not open_server.do(lambda: open_server.service.hub.watched)


def test_callers_of_streamed_jobs_who_leave_take_nothing_with_them(
    fresh_server: Any, entrance: Any
) -> None:
    """Their listeners are gone, their jobs go on, and one more stream finds its place."""
    body = b'{"workflow":"gated","input":{"number":1},"mode":"stream"}'
    head = b"POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    whole = head + b"content-length: %d\r\n\r\n" % len(body) + body
    service, lines = fresh_server.service, []
    for _ in range(8):
        line = socket.create_connection(("127.0.0.1", fresh_server.port))
        line.sendall(whole)
        lines.append(line)
    until(lambda: fresh_server.do(lambda: service.streams.num_open.total()) == 8)
    for line in lines:
        line.close()
    until(lambda: fresh_server.do(lambda: not service.streams.num_open and not service.hub.watched))
    entrance.open()
    with fresh_server.client() as client:
        until(lambda: len(client.get("/v1/jobs?status=succeeded").json()["data"]) == 8)
        assert len(follow(client, f"/v1/jobs/{submit(client)}/events")) > 3


def test_a_stream_ends_when_the_server_stops(serve: Any, entrance: Any) -> None:
    ended = threading.Event()
    with serve() as served, served.client() as client:
        job = submit(client, "gated")

        def listen() -> None:
            with served.client() as other:
                follow(other, f"/v1/jobs/{job}/events")
            ended.set()

        thread = threading.Thread(target=listen)
        thread.start()
        until(lambda: served.do(lambda: job in served.service.hub.watched))
        served.loop.call_soon_threadsafe(served.context.closing.set)
        assert ended.wait(WAIT_S)
        thread.join()
        entrance.open()


def test_a_slow_reader_loses_its_connection(serve: Any) -> None:
    """The socket's buffers fill up; then the server drops the line instead of its memory."""
    settings = ServerSettings(slow_reader_s=0.2)
    with serve(settings, send_buffer=4096) as served, served.client() as client:
        job, others = submit(client, mode="wait"), served.connections()
        with socket.socket() as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.settimeout(WAIT_S)
            line.connect(("127.0.0.1", served.port))
            head = f"GET /v1/jobs/{job}/events HTTP/1.1\r\nhost: localhost\r\n\r\n"
            line.sendall(head.encode() * 60)
            until(lambda: served.connections() == others + 1)
            until(lambda: served.connections() == others)
            assert received(line).count(b"HTTP/1.1 200") < 60
        assert client.get("/healthz").status_code == 200


def received(line: socket.socket) -> bytes:
    """Read what came before the line was cut."""
    parts = []
    try:
        while part := line.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)
