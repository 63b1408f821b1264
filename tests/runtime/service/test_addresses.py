"""Which addresses webhooks may reach."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gangline.ir.errors import RequestError
from gangline.runtime.service.addresses import is_public, parse_url, pinned_address

PRIVATE = (
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "192.0.0.8",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "fd00::1",
    "fc00::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::1",
    "2002:a00:1::",
    "2001:0:4136:e378:8000:63bf:f5ff:fffe",
    "2001:db8::1",
    "100::1",
    "fd00:ec2::254",
    "localhost",
    "2130706433",
    "0x7f000001",
    "",
)
PUBLIC = ("8.8.8.8", "93.184.216.34", "2001:4860:4860::8888", "::ffff:8.8.8.8")


@pytest.mark.parametrize("address", PRIVATE)
def test_private_in_every_disguise(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert is_public(address)


def pin(found: Sequence[str], **options: bool) -> str:
    async def resolver(host: str, port: int) -> Sequence[str]:
        assert (host, port) == ("hook.example", 443)
        return found

    return asyncio.run(pinned_address("hook.example", 443, resolver, **options))


def test_one_private_address_among_public_ones_refuses_the_host() -> None:
    assert pin(["8.8.8.8", "8.8.4.4"]) == "8.8.8.8"
    for found in (["8.8.8.8", "10.0.0.1"], ["::1", "8.8.8.8"], []):
        with pytest.raises(RequestError):
            pin(found)
    assert pin(["127.0.0.1"], allow_private=True) == "127.0.0.1"


@pytest.mark.parametrize(
    "url",
    (
        "ftp://hook.example/",
        "file:///etc/passwd",
        "https://",
        "https://user:secret@hook.example/",
        "https://user@hook.example/",
        "https://hook.example:99999/",
        "https://hook.example/a b",
        "https://hook.example/\r\nX: y",
        "hook.example",
        "https://[::1",
    ),
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_url(url)
    assert "secret" not in str(caught.value)


def test_parts_of_a_url() -> None:
    assert parse_url("https://hook.example/x?y=z") == ("https", "hook.example", 443)
    assert parse_url("http://[2001:db8::1]:8080/") == ("http", "2001:db8::1", 8080)
