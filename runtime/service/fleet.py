"""What the page and `/v1/devices` show of the fleet: each device with its price, load and state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gangline.runtime.session import Session


def device_rows(session: Session, detailed: bool) -> list[dict[str, Any]]:
    """Give a row per device id (schema: docs/schemas/devices_live.json).

    What a device does now (requests in flight, KV use, utilisation) is what all tenants do
    together: it is null unless `detailed`.
    """
    known = {row.name: row for row in (session.fleet.devices if session.fleet else ())}
    ids = [name for row in known.values() for name in row.ids]
    ids += [name for name in session.backends if name.split("/", 1)[0] not in known]
    rows = []
    for device_id in ids:
        row = known.get(device_id.split("/", 1)[0])
        backend = session.backends.get(device_id) or session.backends.get(device_id.split("/")[0])
        live = _live(backend) if detailed else {}
        rows.append(
            {
                "id": device_id,
                "type": row.spec.name if row else "",
                "kind": row.spec.kind if row else "",
                "usd_per_hour": _price(row),
                "alive": bool(getattr(backend, "alive", True)) if backend is not None else False,
                "in_flight": session.executor.load(device_id) if detailed else None,
                "queued": live.get("waiting"),
                "running": live.get("running"),
                "kv_use": live.get("kv_use"),
                "utilisation": live.get("utilisation"),
                "models": live.get("models"),
            }
        )
    return rows


def _price(row: Any) -> float | None:
    found = getattr(row, "usd_per_hour", None)
    return found if found is not None and math.isfinite(found) else None


def _live(backend: Any) -> Mapping[str, Any]:
    """Ask a backend for its state; those that tell nothing are shown without."""
    stats = getattr(backend, "stats", None)
    if stats is None:
        return {}
    found = stats()
    return found if isinstance(found, Mapping) else {}
