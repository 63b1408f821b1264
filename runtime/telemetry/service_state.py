"""A server's state for one scrape, read from its service."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from gangline.ir.errors import GanglineError
from gangline.runtime.service.tenant import Tenant

from .live import EngineState, LiveState

if TYPE_CHECKING:
    from gangline.runtime.service.service import Service

logger = logging.getLogger(__name__)


async def live_state(service: Service, dropped: int = 0) -> LiveState:
    """Read what is so now; what cannot be read is left out, as a scrape must not fail for it."""
    store = service.store
    devices = (await service.devices(Tenant()))["data"]
    capacity = await service.capacity(Tenant())
    try:
        jobs: dict[str, int] = await asyncio.to_thread(store.counts)
    except GanglineError:
        logger.warning("jobs cannot be counted", exc_info=True)
        jobs = {}
    return LiveState(
        engines=[_engine(row, model) for row in devices for model in row.get("models", ())],
        jobs=jobs,
        gauges={
            "running_jobs": capacity.get("running"),
            "queued_jobs": capacity.get("queued"),
            "store_queue_depth": store.queue_depth,
            "store_up": float(store.healthy()),
        },
        counters={"store_commits": store.commits, "telemetry_dropped_events": dropped},
        labelled={"webhook_deliveries": ("outcome", dict(service.deliveries.outcomes))},
    )


def _engine(row: dict[str, Any], model: dict[str, Any]) -> EngineState:
    return EngineState(
        device=str(row["id"]),
        model=str(model["model"]),
        running=float(model.get("running") or 0),
        waiting=float(model.get("waiting") or 0),
        kv_use=float(model.get("kv_used") or 0.0),
    )
