"""HTTP requests the server answered, as metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from .access import Access
from .labels import OTHER, Labels, Series

MAX_ROUTES = 100
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)


class RequestMetrics:
    """Count requests by route: by the template of the path, never by the path itself."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._route = Labels(MAX_ROUTES)
        labels = ["method", "route", "status"]
        self._requests = Series(
            Counter("gangline_http_requests", "Answered HTTP requests.", labels, registry=registry)
        )
        text = "From a request's head to the end of its answer."
        name = "gangline_http_request_seconds"
        self._seconds = Series(
            Histogram(name, text, ["route"], buckets=_SECONDS, registry=registry)
        )

    def count(self, access: Access) -> None:
        """Count one request."""
        method = access.method if access.method in _METHODS else OTHER
        route = self._route(access.route) if access.route else "none"
        self._requests.labels(method, route, str(access.status)).inc()
        self._seconds.labels(route).observe(access.seconds)
