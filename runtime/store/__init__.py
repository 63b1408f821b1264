"""The job store: append-only events, a row per job, and leases that fence out old owners."""

from .job_row import JobRow
from .store import Store

__all__ = ["JobRow", "Store"]
