"""The rules of both clients: what is sent, what is sent again, and what a broken line costs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from gangline.ir.errors import (
    ConflictError,
    GanglineError,
    JobError,
    NotFoundError,
    QuotaError,
    ServiceError,
    StepError,
    UsageError,
)
from gangline.runtime.client import wire
from gangline.runtime.client.retry import RetryPolicy
from gangline.runtime.client.sync import Client

Connect = Callable[..., Any]


def job(status: str = "queued", **more: Any) -> dict[str, Any]:
    return {"id": "j1", "status": status, "workflow": "w", **more}


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    document = {"code": code, "detail": "no", "where": "w", "next_step": "n", "status": status}
    media = {"content-type": "application/problem+json", **headers}
    return httpx.Response(status, headers=media, content=json.dumps(document))


class Script:
    """Answer requests in order with responses, or raise what is an exception."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = list(answers)
        self.seen: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.seen]


def test_submit_sends_what_was_said(connect: Connect) -> None:
    script = Script(httpx.Response(202, json=job()))
    handle = connect(script, api_key="secret").submit("w", question="why", deadline=8.0, wait=5)
    (request,) = script.seen
    assert (request.method, request.url.path) == ("POST", "/v1/jobs")
    assert request.headers["authorization"] == "Bearer secret"
    assert request.headers["prefer"] == "wait=5"
    assert request.headers["content-type"] == "application/json"
    assert script.bodies() == [{"workflow": "w", "input": {"question": "why"}, "deadline_ms": 8e3}]
    assert handle.id == "j1"


def test_a_submit_is_repeated_with_the_same_key(connect: Connect) -> None:
    script = Script(
        httpx.ReadError("cut"),
        problem(503, "overloaded", **{"retry-after": "0"}),
        httpx.Response(502, text="<html>"),
        httpx.Response(202, json=job()),
    )
    connect(script).submit("w")
    keys = {request.headers["idempotency-key"] for request in script.seen}
    assert len(script.seen) == 4
    assert len(keys) == 1
    assert len(keys.pop()) == 36


def test_two_submits_have_two_keys(connect: Connect) -> None:
    script = Script(httpx.Response(202, json=job()), httpx.Response(202, json=job()))
    client = connect(script)
    client.submit("w")
    client.submit("w")
    first, second = (request.headers["idempotency-key"] for request in script.seen)
    assert first != second


def test_a_key_of_ones_own(connect: Connect) -> None:
    script = Script(httpx.Response(200, json=job()))
    connect(script).submit("w", idempotency_key="order-17")
    assert script.seen[0].headers["idempotency-key"] == "order-17"


def test_what_changes_a_job_is_not_repeated_blindly(connect: Connect) -> None:
    client = connect(Script(httpx.ReadError("cut"), httpx.Response(200, json=job())))
    with pytest.raises(ServiceError, match="did not answer"):
        client.resume("j1", "i1", True)
    script = Script(httpx.ConnectError("refused"), httpx.Response(200, json=job()))
    assert connect(script).resume("j1", "i1", True).id == "j1"
    assert len(script.seen) == 2
    assert script.bodies()[1] == {"interrupt": "i1", "value": True}


def test_a_server_that_is_away_is_told_with_its_address(connect: Connect) -> None:
    client = connect(lambda _: (_ for _ in ()).throw(httpx.ConnectError("refused")))
    with pytest.raises(ServiceError, match=r"http://server.* cannot be reached: refused") as caught:
        client.job("j1")
    assert "gangline serve" in caught.value.next_step


def test_attempts_end(connect: Connect) -> None:
    script = Script(*[problem(503, "overloaded") for _ in range(9)])
    with pytest.raises(GanglineError) as caught:
        connect(script, retries=RetryPolicy(max_attempts=3, base_s=0)).job("j1")
    assert caught.value.code == "overloaded"
    assert len(script.seen) == 3


def test_a_quota_of_a_day_is_not_waited_for(connect: Connect) -> None:
    script = Script(problem(429, "quota", **{"retry-after": "40000"}))
    with pytest.raises(QuotaError) as caught:
        connect(script).submit("w")
    assert caught.value.retry_after_s == 40000


def test_errors_are_typed(connect: Connect) -> None:
    client = connect(Script(problem(404, "not_found"), problem(409, "conflict")))
    with pytest.raises(NotFoundError):
        client.job("j1")
    with pytest.raises(ConflictError):
        client.resume("j1", "i1", 1)


def test_a_redirect_is_an_error_and_is_not_followed(connect: Connect) -> None:
    script = Script(httpx.Response(307, headers={"location": "http://elsewhere/"}))
    with pytest.raises(ServiceError):
        connect(script).job("j1")
    assert len(script.seen) == 1


@pytest.mark.parametrize("body", ["[]", '"x"', '{"no": "job"}', "nonsense"])
def test_an_answer_that_is_no_job(connect: Connect, body: str) -> None:
    response = httpx.Response(200, headers={"content-type": "application/json"}, text=body)
    with pytest.raises(ServiceError):
        connect(Script(response)).job("j1")


def test_an_id_stays_in_its_place_in_the_path(connect: Connect) -> None:
    script = Script(httpx.Response(200, json=job()))
    client = connect(script)
    client.job("../keys?x=1#y:cancel")
    raw = script.seen[0].url.raw_path
    assert raw == b"/v1/jobs/..%2Fkeys%3Fx%3D1%23y%3Acancel"
    for bad in ("", ".", ".."):
        with pytest.raises(UsageError):
            client.job(bad)


def test_results(connect: Connect) -> None:
    script = Script(
        httpx.Response(202, json=job()),
        httpx.Response(200, json=job("running")),
        httpx.Response(200, json=job("succeeded", output={"n": 1})),
    )
    handle = connect(script).submit("w")
    assert handle.result() == {"n": 1}
    assert handle.result() == {"n": 1}  # nothing more is asked
    assert script.seen[1].headers["prefer"] == "wait=20"


def test_a_failed_job_raises_its_own_error(connect: Connect) -> None:
    error = {
        "code": "step",
        "title": "t",
        "detail": "the tool broke",
        "where": "a",
        "next_step": "",
    }
    handle = connect(Script(httpx.Response(200, json=job("failed", error=error)))).submit("w")
    with pytest.raises(StepError, match="the tool broke"):
        handle.result()


def test_a_job_that_asks_tells_its_question(connect: Connect) -> None:
    asked = job("input_required", interrupt={"id": "i1", "question": "Send it?"})
    handle = connect(Script(httpx.Response(200, json=asked))).submit("w")
    with pytest.raises(JobError, match=r"Send it\?") as caught:
        handle.result()
    assert caught.value.where == "i1"


def test_waiting_ends_in_time(connect: Connect) -> None:
    client = connect(lambda _: httpx.Response(200, json=job("running")))
    assert client.wait("j1", timeout=0.05).status == "running"
    handle = client.handle("j1")
    with pytest.raises(JobError, match="still running"):
        handle.result(timeout=0.05)


def test_lists_are_read_page_by_page_as_needed(connect: Connect) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        start = int(request.url.params.get("after", 0))
        size = int(request.url.params["limit"])
        rows = [{"id": str(n), "status": "queued"} for n in range(start, min(start + size, 250))]
        return httpx.Response(200, json={"data": rows, "next": str(start + size)})

    asked: list[dict[str, str]] = []
    client = connect(answer)
    rows = client.jobs(status="queued", created_after=1.5)
    assert [next(rows).id for _ in range(100)] == [str(n) for n in range(100)]
    assert asked == [{"status": "queued", "created_after": "1.5", "limit": "100"}]
    assert next(rows).id == "100"
    assert asked[1]["after"] == "100"
    asked.clear()
    assert len(list(client.jobs(limit=120))) == 120
    assert [one["limit"] for one in asked] == ["100", "20"]


def test_a_list_ends_where_the_server_says(connect: Connect) -> None:
    page = {"data": [job()], "next": None}
    assert len(list(connect(Script(httpx.Response(200, json=page))).jobs())) == 1


def test_a_batch_gives_one_outcome_each(connect: Connect) -> None:
    error = {"code": "input", "detail": "wrong", "where": "", "next_step": ""}
    items = [
        {"status": 202, "job": job(), "error": None},
        {"status": 422, "job": None, "error": error},
    ]
    script = Script(httpx.Response(200, json={"data": items}))
    good, bad = connect(script).batch("w", [{"n": 1}, {"n": 2}], deadline=2)
    assert good.id == "j1"
    assert isinstance(bad, GanglineError)
    assert bad.code == "input"
    first, second = script.bodies()[0]["jobs"]
    assert (first["input"], second["input"], second["deadline_ms"]) == ({"n": 1}, {"n": 2}, 2000)


# -- events


def sse(*numbers: int, kind: str = "step.completed") -> bytes:
    return b"".join(
        b"id: %d\nevent: %s\ndata: %s\n\n"
        % (
            number,
            kind.encode(),
            json.dumps({"job_id": "j1", "seq": number, "type": kind, "at_s": 1.0}).encode(),
        )
        for number in numbers
    )


DELTA = b'event: step.delta\ndata: {"job_id":"j1","seq":0,"type":"step.delta","step_id":"a"}\n\n'
END = "job.completed"


class Broken(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that breaks after some pieces, unless `error` is None."""

    def __init__(self, *pieces: bytes, error: Exception | None = None) -> None:
        self._pieces = pieces
        self._error = error
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        if self._error is not None:
            raise self._error

    async def __aiter__(self) -> Any:
        for piece in self:
            yield piece

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


def stream(*pieces: bytes, error: Exception | None = None) -> httpx.Response:
    body = Broken(*pieces, error=error)
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=body)


def test_events_survive_every_kind_of_break(connect: Connect) -> None:
    script = Script(
        stream(sse(1, 2), DELTA, sse(3)[:-4], error=httpx.ReadError("cut")),
        httpx.ConnectError("refused"),
        problem(503, "overloaded"),
        stream(sse(3)),  # the server cut a slow reader
        stream(sse(2, 3, 4)),  # more than was asked for
        stream(sse(5), sse(6, kind=END), error=httpx.RemoteProtocolError("no end")),
        stream(),
    )
    found = list(connect(script).events("j1"))
    assert [event.seq for event in found] == [1, 2, 0, 3, 4, 5, 6]
    assert [r.headers.get("last-event-id") for r in script.seen] == [
        None, "2", "2", "2", "3", "4", "6",
    ]  # fmt: skip


def test_events_wait_for_a_server_that_starts_again(connect: Connect) -> None:
    away = [httpx.ConnectError("refused") for _ in range(30)]
    script = Script(stream(sse(1), error=httpx.ReadError("cut")), *away, stream(sse(2, kind=END)))
    assert [event.seq for event in connect(script).events("j1")] == [1, 2]
    script = Script(*[httpx.ConnectError("refused") for _ in range(30)], ended())
    assert connect(script).wait("j1").status == "succeeded"
    with pytest.raises(ServiceError):
        connect(Script(*[httpx.ConnectError("refused") for _ in range(30)])).job("j1")


def ended() -> httpx.Response:
    return httpx.Response(200, json=job("succeeded"))


def test_cancelling_twice_is_as_good_as_once(connect: Connect) -> None:
    cancelled = httpx.Response(200, json=job("cancelled"))
    script = Script(httpx.ReadError("cut"), problem(409, "conflict"), cancelled)
    assert connect(script).cancel("j1").status == "cancelled"
    with pytest.raises(ConflictError):
        connect(Script(problem(409, "conflict"), ended())).cancel("j1")


def test_events_of_a_job_that_was_retried_go_on_past_the_first_end(connect: Connect) -> None:
    log = sse(1) + sse(2, kind="job.failed") + sse(3, kind="job.started") + sse(4, kind=END)
    found = list(connect(Script(stream(log))).events("j1"))
    assert [event.seq for event in found] == [1, 2, 3, 4]


def test_a_hole_is_asked_for_again(connect: Connect) -> None:
    script = Script(stream(sse(1, 3)), stream(sse(2, 3), sse(4, kind=END)))
    assert [event.seq for event in connect(script).events("j1")] == [1, 2, 3, 4]
    assert script.seen[1].headers["last-event-id"] == "1"


def test_a_hole_that_stays_is_an_error(connect: Connect) -> None:
    client = connect(lambda _: stream(sse(2)))
    with pytest.raises(ServiceError, match="ended before"):
        list(client.events("j1"))


def test_progress_renews_the_attempts(connect: Connect) -> None:
    breaks = [stream(sse(n), error=httpx.ReadError("cut")) for n in range(1, 60)]
    script = Script(*breaks, stream(sse(60, kind=END)))
    assert len(list(connect(script).events("j1"))) == 60


def test_events_begin_where_one_says(connect: Connect) -> None:
    script = Script(stream(sse(8, kind=END)))
    assert [event.seq for event in connect(script).events("j1", after=7)] == [8]
    assert script.seen[0].headers["last-event-id"] == "7"


def test_events_of_no_job(connect: Connect) -> None:
    with pytest.raises(NotFoundError):
        list(connect(Script(problem(404, "not_found"))).events("j1"))


def test_events_may_end_where_a_person_is_asked(connect: Connect) -> None:
    asks = sse(1) + sse(2, kind="job.input_required")
    answered = asks + sse(3, kind="job.started") + sse(4, kind="job.input_required")
    script = Script(
        stream(answered),
        httpx.Response(200, json=job("running")),  # asked and answered long ago
        httpx.Response(200, json=job("input_required")),
    )
    found = list(connect(script).events("j1", to_end=False))
    assert [event.seq for event in found] == [1, 2, 3, 4]


def test_an_error_in_the_stream_is_raised(connect: Connect) -> None:
    said = b'event: error\ndata: {"code": "store", "detail": "The disk is full"}\n\n'
    with pytest.raises(GanglineError, match="The disk is full"):
        list(connect(Script(stream(sse(1) + said))).events("j1"))


def test_leaving_early_hangs_up(connect: Connect) -> None:
    body = Broken(sse(1), sse(2), sse(3))
    events = connect(lambda _: httpx.Response(200, stream=body)).events("j1")
    assert next(events).seq == 1
    assert not body.closed
    events.close()
    assert body.closed


# -- settings


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANGLINE_SERVER", "https://jobs.example.com/base/")
    monkeypatch.setenv("GANGLINE_API_KEY", "k")
    script = Script(httpx.Response(200, json=job()), httpx.Response(200, json=job()))
    with Client(transport=httpx.MockTransport(script)) as client:
        client.job("j1")
    with Client("http://other", api_key="l", transport=httpx.MockTransport(script)) as client:
        client.job("j1")
    assert str(script.seen[0].url) == "https://jobs.example.com/base/v1/jobs/j1"
    assert script.seen[0].headers["authorization"] == "Bearer k"
    assert str(script.seen[1].url) == "http://other/v1/jobs/j1"
    assert script.seen[1].headers["authorization"] == "Bearer l"


@pytest.mark.parametrize("url", ["jobs.example.com", "ftp://x", "http://", "file:///etc/passwd"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(UsageError):
        Client(url)


def test_passwords_in_addresses_are_not_told() -> None:
    failed = wire.failure(httpx.ConnectError("no http://u:hush@h/"), "http://u:hush@h")
    assert "hush" not in str(failed.error)
    with pytest.raises(UsageError) as caught:
        Client("ftp://u:hush@h")
    assert "hush" not in str(caught.value)
