"""Bearer keys: from the key a caller sends to the tenant it stands for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from gangline.ir.errors import AuthenticationError, ForbiddenError, GanglineError
from gangline.runtime.service.keys import hash_key, quota_from_json
from gangline.runtime.service.tenant import Tenant
from gangline.runtime.store import KeyRow

from .problem import Refused

_CHALLENGE = ((b"www-authenticate", b'Bearer realm="gangline"'),)


class KeyRing:
    """The store's keys by hash, read again when they changed.

    Where looking for changes is cheap every request looks, so that a revoked key opens nothing
    any more; else they are read every `fresh_s` seconds, by whoever comes next.

    A key is looked up by the hash of what the caller sent, so the time it takes tells nothing
    about the keys there are: a hash cannot be approached byte by byte.

    Args:
        read: gives all keys, the revoked ones too; called on a worker thread.
        open_access: lets everybody in while no key was ever made. A revoked key counts as made:
            revoking the last one must not open the door.
        changes: gives, within microseconds, something that differs after every change of the
            keys; None where that takes longer.
    """

    def __init__(
        self,
        read: Callable[[], Iterable[KeyRow]],
        *,
        open_access: bool,
        fresh_s: float = 0.25,
        now: Callable[[], float] = time.monotonic,
        changes: Callable[[], object] | None = None,
    ) -> None:
        self._read = read
        self._open_access = open_access
        self._fresh_s = fresh_s
        self._now = now
        self._changes = changes
        self._seen: object = None
        self._tenants: dict[str, Tenant] = {}
        self._any = False
        self._read_at = -float("inf")
        self._reading: asyncio.Task[None] | None = None

    @property
    def asks_for_keys(self) -> bool:
        """Say whether callers without a key are turned away, as the keys were last read."""
        return self._any or not self._open_access

    async def tenant(self, authorization: str) -> Tenant:
        """Give the tenant of an Authorization header; Refused with 401 where there is none."""
        if self._is_old():
            await self._refresh()
        if not self.asks_for_keys:
            return Tenant()
        scheme, _, key = authorization.partition(" ")
        found = self._tenants.get(hash_key(key.strip()))
        if found is not None and scheme.lower() == "bearer":
            return found
        raise _unknown(bool(key))

    async def shut_out(self, authorization: str) -> None:
        """Return once an Authorization header lets nobody in any more."""
        while True:
            await asyncio.sleep(self._fresh_s)
            try:
                await self.tenant(authorization)
            except Refused:
                return
            except GanglineError:
                continue  # the store is away: nothing is known of the keys

    def _is_old(self) -> bool:
        if self._changes is not None:
            return self._changes() != self._seen
        return self._now() - self._read_at > self._fresh_s

    async def _refresh(self) -> None:
        # One reader for all requests that find the copy too old. A store that is away leaves
        # the error to each of them: who may come in is then not known.
        if self._reading is None:
            self._reading = asyncio.create_task(self._load())
        await asyncio.shield(self._reading)

    async def _load(self) -> None:
        try:
            seen = None if self._changes is None else self._changes()
            rows = list(await asyncio.to_thread(self._read))
            self._any = bool(rows)
            self._tenants = {row.hash: _tenant(row) for row in rows if row.revoked_s is None}
            self._read_at, self._seen = self._now(), seen
        finally:
            self._reading = None


def _tenant(row: KeyRow) -> Tenant:
    return Tenant(row.tenant, frozenset(row.scopes), quota_from_json(row.quota))


def _unknown(sent: bool) -> Refused:
    if sent:
        error = AuthenticationError(
            "The key is not known, or it was revoked", next_step="Ask for a new key."
        )
    else:
        error = AuthenticationError(
            "This server asks for a key",
            next_step="Send it as `Authorization: Bearer KEY`, or give it to gangline's client and "
            "commands as GANGLINE_API_KEY; `gangline keys create` makes one.",
        )
    return Refused(error, headers=_CHALLENGE)


def need(tenant: Tenant, scope: str) -> None:
    """Raise ForbiddenError unless a tenant's key has a scope."""
    if not tenant.may(scope):
        raise ForbiddenError(
            f"The key lacks the scope {scope!r}",
            where=scope,
            next_step=f"Use a key made with `gangline keys create --scope {scope}`.",
        )
