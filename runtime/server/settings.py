"""What the HTTP side of the server allows: names it answers to, sizes, waits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Limits of the HTTP side.

    Attributes:
        allowed_hosts: host names a request may be addressed to, beside IP addresses and
            `localhost`; `*` allows every name. Only names can be rebound by a foreign DNS server.
        allowed_origins: foreign web origins (`https://app.example`) that may change state.
        open_access: let callers in without a key while no key was ever made. Off where the
            server listens to the network, unless it was started with `--insecure`.
        max_body_bytes: of one request, after which it is refused with 413.
        max_wait_s: what `Prefer: wait` and `mode=wait` are cut to.
        heartbeat_s: silence after which an event stream says that it is alive.
        slow_reader_s: how long a stream's reader may leave data unread before it is cut off.
        arrival_s: how long a request may take to arrive, from its first byte to its last.
        max_head_bytes: of a request's line and headers.
        keys_fresh_s: how old the server's copy of the keys may be; a revoked key works no longer.
            With SQLite it is never old.
    """

    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    open_access: bool = True
    max_body_bytes: int = 4 * 2**20
    max_wait_s: float = 60.0
    heartbeat_s: float = 15.0
    slow_reader_s: float = 20.0
    arrival_s: float = 30.0
    max_head_bytes: int = 64 * 2**10
    keys_fresh_s: float = 0.25
