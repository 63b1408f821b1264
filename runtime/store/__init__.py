"""The job store: append-only events, a row per job, and leases that fence out old owners."""

from .archive import ExportFilter, Imported
from .job_row import JobRow
from .records import Claimed, Control, Created, Delivery, KeyRow, NewJob, Usage
from .store import Store, open_store
from .ticket import Ticket

__all__ = [
    "Claimed",
    "Control",
    "Created",
    "Delivery",
    "ExportFilter",
    "Imported",
    "JobRow",
    "KeyRow",
    "NewJob",
    "Store",
    "Ticket",
    "Usage",
    "open_store",
]
