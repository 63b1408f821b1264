"""The route table: every operation of the server, once."""

from __future__ import annotations

from . import events, fleet, health, job_actions, jobs, memory
from .operation import Operation

OPERATIONS: tuple[Operation, ...] = (
    *jobs.OPERATIONS,
    *job_actions.OPERATIONS,
    *events.OPERATIONS,
    *fleet.OPERATIONS,
    *memory.OPERATIONS,
    *health.OPERATIONS,
)
