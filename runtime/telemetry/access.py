"""One HTTP request that was answered, as logs, metrics and traces see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Access:
    """One request that was answered.

    `route` is the path's template (empty where none matched), `seconds` until the answer's end,
    which was at `at_s` seconds since the epoch. `span_id` is the request in its trace, `parent_id`
    the caller's span, empty where it sent none; `sampled` is what the caller wants of the trace.
    """

    method: str
    route: str
    status: int
    seconds: float
    tenant: str
    request_id: str
    trace_id: str
    at_s: float = 0.0
    span_id: str = ""
    parent_id: str = ""
    sampled: bool = True
