"""Which addresses a webhook may reach: public ones only, whatever form they are written in."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from gangline.ir.errors import RequestError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives the addresses of a host and port; OSError where it has none."""

_REFUSED = (
    ipaddress.ip_network("0.0.0.0/8"),
    ipaddress.ip_network("100.64.0.0/10"),  # carrier-grade NAT; clouds put metadata there too
    ipaddress.ip_network("192.0.0.0/24"),
    ipaddress.ip_network("192.88.99.0/24"),  # 6to4 relays
    ipaddress.ip_network("198.18.0.0/15"),
    ipaddress.ip_network("240.0.0.0/4"),
    ipaddress.ip_network("::/96"),  # IPv4-compatible, deprecated
    ipaddress.ip_network("64:ff9b::/96"),  # NAT64: an IPv4 address behind a translator
    ipaddress.ip_network("64:ff9b:1::/48"),  # the same, local
    ipaddress.ip_network("fec0::/10"),
)


def parse_url(url: str) -> tuple[str, str, int]:
    """Give scheme, host and port of a webhook's URL; RequestError for one that is not usable."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = parts.hostname or ""
    except ValueError:
        raise _refused("cannot be read") from None
    if parts.scheme not in ("http", "https") or not host:
        raise _refused("is not http:// or https:// with a host")
    if parts.username is not None or parts.password is not None:
        raise _refused("holds a user name or password")
    if any(ord(letter) <= 32 or ord(letter) == 127 for letter in url):
        raise _refused("holds blanks or control characters")
    return parts.scheme, host, port


def is_public(text: str) -> bool:
    """Say whether an address is a public unicast one, looking through every IPv6 disguise."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return "%" not in text and all(_public(found) for found in _carried(address))


def _carried(address: Address) -> list[Address]:
    """Give the IPv4 addresses an IPv6 address stands for, or itself where it is none of those."""
    if not isinstance(address, ipaddress.IPv6Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    inner = [part for part in (address.sixtofour, *(address.teredo or ())) if part is not None]
    return [address, *inner]


def _public(address: Address) -> bool:
    if any(address in network for network in _REFUSED if network.version == address.version):
        return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified
    )


async def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver for the addresses of a host."""
    loop = asyncio.get_running_loop()
    rows = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(row[4][0]) for row in rows]


async def pinned_address(
    host: str, port: int, resolver: Resolve = resolve, *, allow_private: bool = False
) -> str:
    """Resolve a host once and give the address to connect to.

    All addresses must be allowed: one private address among public ones refuses the host.

    Raises:
        RequestError: the host has no address, or one that webhooks may not reach.
    """
    try:
        found = list(await resolver(host, port))
    except (OSError, UnicodeError):
        found = []
    if not found:
        raise _refused("names a host that has no address")
    if not allow_private and not all(is_public(address) for address in found):
        raise _refused("leads to an address that is not public")
    return found[0]


def _refused(why: str) -> RequestError:
    return RequestError(
        f"The webhook's URL {why}",
        where="webhook.url",
        next_step="Give a public https:// address.",
    )
