"""Telemetry of one server: listeners behind its hub and its requests, and what a scrape gives."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from .job_log import JobLog
from .metrics import Metrics
from .otel import open_spans
from .scrape import Scrape
from .service_state import live_state
from .telemetry import Listener, Telemetry

if TYPE_CHECKING:
    from gangline.runtime.service.service import Service


class ServerTelemetry:
    """What a server needs of telemetry: `on_request`, an observer, and `scrape`."""

    def __init__(self, service: Service, telemetry: Telemetry, metrics: Metrics) -> None:
        self._service = service
        self._telemetry = telemetry
        self._scrape = Scrape(metrics, telemetry.drain)
        self.on_request = telemetry.on_request

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """Give metrics as text, with its content type; `accept` is the scraper's Accept header."""
        state = await live_state(self._service, self._telemetry.dropped)
        return await asyncio.to_thread(self._scrape.text, state, accept)


@asynccontextmanager
async def open_telemetry(
    service: Service, *, tenants: bool = False, environment: Mapping[str, str] | None = None
) -> AsyncIterator[ServerTelemetry]:
    """Listen to a service's events until the end; what is left is then sent out.

    Args:
        tenants: also label metrics by tenant.
        environment: OTEL_* variables that say where traces go.

    Raises:
        BackendUnavailable, ConfigError: traces are asked for and cannot be made.
    """
    metrics = Metrics(tenants=tenants)
    listeners: list[Listener] = [metrics]
    spans = open_spans(os.environ if environment is None else environment)
    if spans is not None:
        from .spans import trace_id

        listeners += [spans, JobLog(trace_id)]
    else:
        listeners.append(JobLog())
    telemetry = Telemetry(listeners, read_log=service.store.events)
    service.hub.taps.append(telemetry.on_events)
    direct = service.direct.observers
    direct.append(telemetry.on_request)
    telemetry.start()
    try:
        yield ServerTelemetry(service, telemetry, metrics)
    finally:
        service.hub.taps.remove(telemetry.on_events)
        direct.remove(telemetry.on_request)
        await asyncio.to_thread(telemetry.close)
