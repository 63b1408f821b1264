"""`/metrics`: everything a Prometheus server asks for, as text."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from .live import LiveCollector, LiveState
from .metrics import Metrics


class Scrape:
    """Write metrics out.

    Args:
        metrics: what is counted from events.
        drain: takes in the events that wait, so that a scrape shows all that has happened.
    """

    def __init__(self, metrics: Metrics, drain: Callable[[], None]) -> None:
        self._drain = drain
        self._registry: CollectorRegistry = metrics.registry
        self._live = LiveCollector()
        self._lock = Lock()
        self._registry.register(self._live)

    def text(self, live: LiveState, accept: str = "") -> tuple[bytes, str]:
        """Give the text and its content type; call it off the loop.

        Args:
            accept: the scraper's Accept header: OpenMetrics or Prometheus's own text.
        """
        with self._lock:
            self._drain()
            self._live.state = live
            encoder, content_type = choose_encoder(accept)
            return encoder(self._registry), content_type
