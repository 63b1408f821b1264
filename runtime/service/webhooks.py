"""Webhooks: tell somebody's server that a job has stopped. At least once, signed, never inwards.

The message follows Standard Webhooks (standardwebhooks.com): `webhook-id` stays the same over all
attempts, `webhook-signature` is HMAC-SHA256 over `id.timestamp.body`. The host is resolved once
per attempt and the connection goes to that very address, so that a name cannot lead to a public
address when it is checked and to a private one when it is used. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gangline.ir.errors import RequestError

from .addresses import Resolve, parse_url, pinned_address, resolve
from .settings import Settings

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

BACKOFF_S = (5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0, 21600.0)
"""Waits after the attempts that failed; 8 attempts reach over 9 hours."""

SECRET_PREFIX = "whsec_"
GONE = 410
"""The receiver asks not to be told again."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message to send: `id` is the same over all attempts."""

    id: str
    url: str
    secret: str | None
    body: bytes


@dataclass(frozen=True, slots=True)
class Attempt:
    """How an attempt went: `ok`, or why not; `final` says that no other is worth making."""

    ok: bool
    error: str = ""
    final: bool = False


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Give the value of `webhook-signature`."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def _key(secret: str) -> bytes:
    if secret.startswith(SECRET_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            pass
    return secret.encode()


def message_body(event: str, at_s: float, document: Mapping[str, Any], limit: int) -> bytes:
    """Give a message's JSON; a job too large for it goes without its output."""
    told = {"type": event, "timestamp": at_s, "data": document}
    body = json.dumps(told, ensure_ascii=False).encode()
    if len(body) > limit:
        told["data"] = {**document, "output": None, "output_omitted": True}
        body = json.dumps(told, ensure_ascii=False).encode()
    return body


def backoff_s(attempts: int, chance: float | None = None) -> float:
    """Give the wait after so many attempts, with a tenth of it left to chance (0 to 1)."""
    wait = BACKOFF_S[min(attempts, len(BACKOFF_S)) - 1]
    return wait * (0.9 + 0.2 * (random.random() if chance is None else chance))


class Sender:
    """Send messages. `transport` and `resolver` stand in for the network in tests."""

    def __init__(
        self,
        settings: Settings,
        transport: httpx.AsyncBaseTransport | None = None,
        resolver: Resolve = resolve,
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._resolve = resolver
        self._client: httpx.AsyncClient | None = None

    async def check(self, url: str) -> None:
        """Raise RequestError for a URL that can be told to be wrong without asking anybody."""
        scheme, host, _ = parse_url(url)
        if self._settings.allow_private_webhooks:
            return
        if scheme != "https" and not self._settings.allow_plain_webhooks:
            raise RequestError(
                "The webhook's URL is not https://",
                where="webhook.url",
                next_step="Give an https:// address.",
            )
        literal = host.strip("[]")
        if literal.replace(".", "").isdigit() or ":" in literal:
            await pinned_address(host, 443, _as_it_is)

    async def send(self, message: Message, now: float) -> Attempt:
        """Make one attempt; never raises."""
        try:
            async with asyncio.timeout(self._settings.webhook_timeout_s):
                status = await self._post(message, now)
        except TimeoutError:
            return Attempt(False, "it did not answer in time")
        except RequestError as error:
            return Attempt(False, error.detail)
        except Exception as error:  # noqa: BLE001 (whatever the network does is told, not raised)
            return Attempt(False, f"{type(error).__name__}: {error}"[:200])
        if 200 <= status < 300:
            return Attempt(True)
        what = "it redirects, which is not followed" if 300 <= status < 400 else "it refused"
        return Attempt(False, f"{what} (HTTP {status})", final=status == GONE)

    async def close(self) -> None:
        """Close connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _post(self, message: Message, now: float) -> int:
        scheme, host, port = parse_url(message.url)
        allow = self._settings.allow_private_webhooks
        address = await pinned_address(host, port, self._resolve, allow_private=allow)
        request = self._request(message, now, (scheme, host, port), address)
        response = await self._open().send(request, stream=True)
        try:
            read = 0
            async for chunk in response.aiter_raw():
                read += len(chunk)
                if read > self._settings.webhook_response_bytes:
                    break  # what a receiver says is of no interest beyond its status
        finally:
            await response.aclose()
        return response.status_code

    def _request(
        self, message: Message, now: float, place: tuple[str, str, int], address: str
    ) -> httpx.Request:
        import httpx

        scheme, host, port = place
        pinned = httpx.URL(message.url).copy_with(host=address, port=port)
        named = f"[{host}]" if ":" in host else host
        default = 443 if scheme == "https" else 80
        timestamp = int(now)
        headers = {
            "host": named if port == default else f"{named}:{port}",
            "content-type": "application/json",
            "user-agent": "gangline-webhook/1",
            "webhook-id": message.id,
            "webhook-timestamp": str(timestamp),
        }
        if message.secret:
            signed = signature(message.secret, message.id, timestamp, message.body)
            headers["webhook-signature"] = signed
        # The certificate is checked against the name, though the connection goes to the address.
        return httpx.Request(
            "POST",
            pinned,
            headers=headers,
            content=message.body,
            extensions={
                "sni_hostname": host,
                "timeout": httpx.Timeout(self._settings.webhook_timeout_s).as_dict(),
            },
        )

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            import httpx

            transport = self._transport or httpx.AsyncHTTPTransport(
                limits=httpx.Limits(max_connections=32, max_keepalive_connections=0),
                trust_env=False,
            )
            self._client = httpx.AsyncClient(
                transport=transport, follow_redirects=False, trust_env=False
            )
        return self._client


async def _as_it_is(host: str, port: int) -> list[str]:
    return [host]
