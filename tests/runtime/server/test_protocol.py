"""Connections that send too much or too slowly are closed."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from gangline.runtime.server.settings import ServerSettings

WAIT_S = 20.0
LIMITS = ServerSettings(max_head_bytes=2000, arrival_s=0.2)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n",
        (
            b"POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"content-length: 100\r\n\r\n{"
        ),
    ],
    ids=["nothing", "part of a head", "part of a body"],
)
def test_a_request_that_does_not_arrive_is_not_waited_for(serve: Any, sent: bytes) -> None:
    with serve(LIMITS) as served, socket.create_connection(("127.0.0.1", served.port)) as line:
        line.settimeout(WAIT_S)
        line.sendall(sent)
        assert line.recv(100) == b""


@pytest.mark.parametrize("parts", [1, 40])
@pytest.mark.parametrize("place", ["header", "url"])
def test_a_large_head_is_refused_however_it_comes(serve: Any, parts: int, place: str) -> None:
    much = b"a" * (4000 // parts)
    with serve(LIMITS) as served, socket.create_connection(("127.0.0.1", served.port)) as line:
        line.settimeout(WAIT_S)
        line.sendall(b"GET /" if place == "url" else b"GET /healthz HTTP/1.1\r\nx: ")
        received = b""
        try:
            for _ in range(parts):
                line.sendall(much)
            line.sendall(b" HTTP/1.1\r\nhost: localhost\r\n\r\n" if place == "url" else b"\r\n\r\n")
            received = line.recv(1000)
        except ConnectionError:
            received = received or b"HTTP/1.1 431"  # the rest of it was not even read
        assert received.startswith(b"HTTP/1.1 431")


def test_a_connection_is_used_again(serve: Any) -> None:
    """Only a request that is on its way is timed, not the silence between two."""
    import time

    with serve(LIMITS) as served, socket.create_connection(("127.0.0.1", served.port)) as line:
        line.settimeout(WAIT_S)
        for _ in range(3):
            for part in (b"GET /healthz HTTP/1.1\r\n", b"host: localhost\r\n\r\n"):
                line.sendall(part)
            received = b""
            while b'"ok"' not in received:
                received += line.recv(4000)
            assert received.startswith(b"HTTP/1.1 200")
            time.sleep(0.15)


def test_what_is_no_http_is_refused(serve: Any) -> None:
    for sent in (b"\x16\x03\x01\x00\xa5", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
        with serve() as served, socket.create_connection(("127.0.0.1", served.port)) as line:
            line.settimeout(WAIT_S)
            line.sendall(sent)
            assert line.recv(100).startswith(b"HTTP/1.1 400")


def test_a_head_without_an_end_is_not_collected(serve: Any) -> None:
    """The parser keeps the parts of a head to itself, so they are counted as they come."""
    settings = ServerSettings(max_head_bytes=2000, arrival_s=600.0)
    with serve(settings) as served, socket.create_connection(("127.0.0.1", served.port)) as line:
        line.settimeout(WAIT_S)
        line.sendall(b"GET /healthz HTTP/1.1\r\nx: " + b"a" * 1500)
        line.sendall(b"a" * 1500)
        assert line.recv(1000).startswith(b"HTTP/1.1 431")
