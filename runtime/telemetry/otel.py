"""Where traces go: the standard OTEL_* variables, read by OpenTelemetry's own SDK.

Nothing of OpenTelemetry is imported unless one of them asks for traces; the packages are the
extra `otel`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gangline.ir.errors import BackendUnavailable, ConfigError

if TYPE_CHECKING:
    from .spans import Spans

logger = logging.getLogger(__name__)

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_CAPTURING = frozenset({"true", "1", "span_only", "span_and_event"})


def traces_wanted(environment: Mapping[str, str]) -> str:
    """Say which exporter is asked for: `otlp`, `console` or nothing.

    An endpoint asks for `otlp` by itself; OTEL_TRACES_EXPORTER=none and OTEL_SDK_DISABLED=true
    ask for nothing.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ""
    named = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if named:
        names = [name.strip() for name in named.split(",")]
        if unknown := set(names) - {"otlp", "console", "none"}:
            raise ConfigError(
                f"OTEL_TRACES_EXPORTER names an exporter that is not known: {min(unknown)!r}",
                next_step="Use otlp, console or none.",
            )
        return "" if names[0] == "none" else names[0]
    return "otlp" if any(environment.get(name) for name in _ENDPOINTS) else ""


def captures_content(environment: Mapping[str, str]) -> bool:
    """Say whether prompts and answers may go into spans; by default they may not."""
    return environment.get(CAPTURE, "").strip().lower() in _CAPTURING


def open_spans(environment: Mapping[str, str] | None = None) -> Spans | None:
    """Make what sends traces, or None where nobody asks for them.

    Raises:
        BackendUnavailable: traces are asked for and the packages are not installed.
    """
    environment = os.environ if environment is None else environment
    exporter = traces_wanted(environment)
    if not exporter:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import (
            BatchSpanProcessor,
            ConsoleSpanExporter,
            SpanExporter,
        )
    except ImportError as error:
        raise BackendUnavailable(
            f"Traces are asked for, but OpenTelemetry is not installed: {error.name}",
            next_step="Install `gangline[otel]`, or set OTEL_TRACES_EXPORTER=none.",
        ) from None
    from .spans import JobIds, Spans

    ids = JobIds()
    # A service name of the environment counts more than this one.
    resource = Resource({"service.name": "gangline"}).merge(Resource.create(_named(environment)))
    provider = TracerProvider(resource=resource, id_generator=ids)
    chosen: SpanExporter = ConsoleSpanExporter() if exporter == "console" else OTLPSpanExporter()
    provider.add_span_processor(BatchSpanProcessor(chosen))
    return Spans(provider, ids, content=captures_content(environment))


def _named(environment: Mapping[str, str]) -> dict[str, str]:
    given = environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if environment.get("OTEL_SERVICE_NAME") or "service.name=" in given:
        return {}
    return {"service.name": "gangline"}
