"""The parser of server-sent events: pieces of any size, every line end, nothing invented."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gangline.ir.errors import ServiceError
from gangline.runtime.client import sse
from gangline.runtime.client.sse import Message, SseParser

STREAM = (
    ": hello\n\n"
    "id: 1\nevent: job.queued\ndata: {}\n\n"
    "id: 2\r\nevent: step.started\r\ndata: ä\r\n\r\n"
    "data: one\rdata:two\r\r"
    "id: 9\n\n"
    "retry: 5\nunknown: x\ndata\n\n"
    "event: bare\ndata: last\n\n"
    "data: never ended\n"
)
MESSAGES = [
    Message("{}", "job.queued", "1"),
    Message("ä", "step.started", "2"),
    Message("one\ntwo"),
    Message(""),
    Message("last", "bare"),
]


def test_a_stream_in_one_piece() -> None:
    assert SseParser().feed(STREAM.encode()) == MESSAGES


@given(st.lists(st.integers(1, len(STREAM.encode()) - 1), max_size=40))
def test_pieces_change_nothing(cuts: list[int]) -> None:
    raw, places = STREAM.encode(), sorted({0, *cuts, len(STREAM.encode())})
    parser = SseParser()
    pieces = [raw[a:b] for a, b in itertools.pairwise(places)]
    assert [message for piece in pieces for message in parser.feed(piece)] == MESSAGES


def test_byte_by_byte() -> None:
    parser = SseParser()
    found = [m for byte in STREAM.encode() for m in parser.feed(bytes([byte]))]
    assert found == MESSAGES


@pytest.mark.parametrize("line", ["data: {}\n", "data: "])
def test_an_endless_message_is_refused(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_MESSAGE", 1000)
    parser = SseParser()
    with pytest.raises(ServiceError):
        for _ in range(200):
            parser.feed(line.format("x" * 10).encode())


def test_a_message_does_not_count_against_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_MESSAGE", 100)
    parser = SseParser()
    assert sum(len(parser.feed(b"data: %s\n\n" % (b"x" * 60))) for _ in range(50)) == 50
