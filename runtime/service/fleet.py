"""What the page and `/v1/devices` show of the fleet: each device with its price, load and state."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gangline.backends.base import EngineLoad
from gangline.ir.specs.event import Event
from gangline.ir.specs.fleet import FleetDevice
from gangline.runtime.clock import Clock
from gangline.runtime.dispatch.outcome import DirectOutcome
from gangline.runtime.session import Session

from .fair_queue import FairQueue
from .tenant import Tenant

WINDOW_S = 1.0
"""Shortest time over which a share of busy time is taken, in seconds."""


class FleetView:
    """Rows of the fleet's devices. What was spent on each is counted from events as they come."""

    def __init__(self, session: Session, clock: Clock) -> None:
        self._session = session
        self._clock = clock
        self._usd: dict[str, float] = {}
        self._busy: dict[str, tuple[float, float, float]] = {}

    def count(self, events: Sequence[Event]) -> None:
        """Take in what steps cost; a tap of the hub."""
        for event in events:
            usd = event.data.get("usd") if event.type.startswith("step.") else None
            if usd:
                device = event.data.get("device", "")
                self._usd[device] = self._usd.get(device, 0.0) + usd

    def count_direct(self, outcome: DirectOutcome) -> None:
        """Take in what a request that is no job's cost; an observer of direct requests."""
        if outcome.usd:
            self._usd[outcome.device] = self._usd.get(outcome.device, 0.0) + outcome.usd

    def rows(self, detailed: bool) -> list[dict[str, Any]]:
        """Give a row per device id (schema: docs/schemas/fleet_devices.json).

        What a device does now (requests, KV use, utilisation, money) is what all tenants do
        together: null unless `detailed`.
        """
        session = self._session
        devices = session.fleet.devices if session.fleet else ()
        known = {device.name: device for device in devices}
        ids = [name for device in devices for name in device.ids]
        ids += [name for name in session.backends if name.split("/", 1)[0] not in known]
        return [self._row(name, known.get(name.split("/", 1)[0]), detailed) for name in ids]

    def _row(self, device_id: str, device: FleetDevice | None, detailed: bool) -> dict[str, Any]:
        backends = self._session.backends
        backend = backends.get(device_id) or backends.get(device_id.split("/", 1)[0])
        row: dict[str, Any] = {
            "id": device_id,
            "type": device.spec.type if device else "",
            "kind": device.spec.kind if device else "",
            "backend": device.backend if device else "",
            "usd_per_hour": _finite(device.usd_per_hour) if device else None,
            "alive": backend is not None and bool(getattr(backend, "alive", True)),
            "models": [],
        }
        live: dict[str, Any] = dict.fromkeys(
            ("running", "waiting", "kv_used", "utilisation", "usd")
        )
        if detailed:
            loads: Callable[[], list[EngineLoad]] = getattr(backend, "loads", list)
            live = self._live(device_id, loads())
            row["models"] = [_model(load) for load in loads()]
        return {**row, **live}

    def _live(self, device_id: str, loads: Sequence[EngineLoad]) -> dict[str, Any]:
        return {
            "running": sum(load.running for load in loads),
            "waiting": sum(load.waiting for load in loads),
            "kv_used": max((load.kv_used for load in loads), default=0.0),
            "utilisation": self._utilisation(device_id, sum(load.busy_s for load in loads)),
            "usd": self._usd.get(device_id, 0.0),
        }

    def _utilisation(self, device_id: str, busy_s: float) -> float:
        """Give the busy share of the time since the last look, or of a second at least."""
        now = self._clock.now()
        at_s, before_s, share = self._busy.get(device_id, (now, busy_s, 0.0))
        if now - at_s >= WINDOW_S:
            share = min(1.0, max(0.0, (busy_s - before_s) / (now - at_s)))
            at_s, before_s = now, busy_s
        self._busy[device_id] = (at_s, before_s, share)
        return share


def capacity_document(
    tenant: Tenant, queue: FairQueue, left: Mapping[str, float | None], accepting: bool
) -> dict[str, Any]:
    """Give how much room a caller has; the load as a whole, and by tenant, is for admins."""
    admin = "admin" in tenant.scopes
    shares = {share.name: share for share in queue.tenants()}
    mine = shares.get(tenant.name)
    running, queued = (mine.running, mine.num_waiting) if mine else (0, 0)
    if admin:
        running, queued = queue.num_running, len(queue)
    tenants = [
        {"tenant": share.name, "running": share.running, "queued": share.num_waiting}
        for share in shares.values()
    ]
    return {
        "accepting": accepting,
        "max_running": queue.max_running,
        "running": running,
        "queued": queued,
        "left": dict(left),
        "tenants": tenants if admin else None,
    }


def _model(load: EngineLoad) -> dict[str, Any]:
    return {
        "model": load.model,
        "running": load.running,
        "waiting": load.waiting,
        "kv_used": load.kv_used,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
