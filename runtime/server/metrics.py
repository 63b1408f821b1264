"""The route of scrapes: metrics in Prometheus's text format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .call import Call
from .operation import Answer, Asgi, Operation
from .reply import Reply

if TYPE_CHECKING:
    from gangline.runtime.telemetry.server_telemetry import ServerTelemetry

_TEXT = "Metrics in Prometheus's text format, or in OpenMetrics if that is accepted."


def operations(telemetry: ServerTelemetry) -> list[Operation]:
    """Give the route over one server's telemetry."""

    async def scrape(call: Call) -> Asgi:
        body, content_type = await telemetry.scrape(call.header(b"accept"))
        return Reply(200, body, content_type.encode())

    return [
        Operation(
            "GET",
            "/metrics",
            "getMetrics",
            "Scrape metrics",
            scrape,
            (
                Answer(200, _TEXT, {"type": "string"}, "text/plain"),
                Answer(200, _TEXT, {"type": "string"}, "application/openmetrics-text"),
            ),
            scope="admin",
            tag="health",
        )
    ]
