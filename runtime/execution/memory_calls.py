"""What a memory step does, on a worker thread: look entries up, or change them and wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gangline.ir.errors import GanglineError, StepError
from gangline.ir.specs.event import LOCAL
from gangline.runtime.dispatch.commands import UseMemory
from gangline.runtime.store import Store
from gangline.runtime.store.memory import Memory
from gangline.runtime.store.memory_rows import Write


@dataclass(frozen=True, slots=True)
class MemoryUser:
    """The job on whose behalf memory is used: whose it is, and under which lease it runs."""

    tenant: str
    job_id: str
    epoch: int


def use_memory(store: Store | None, user: MemoryUser, command: UseMemory, now: float) -> Any:
    """Carry a command out; gives its step's value once it is on disk."""
    if store is None:
        raise StepError(
            "A job that is not stored has no memory",
            where=command.step.where,
            next_step="Run it with a job store: gangline.runtime.store.open_store(path).",
        )
    try:
        return _use(store.memory, user, command, now)
    except GanglineError as error:
        error.where = command.step.where
        raise


def _use(memory: Memory, user: MemoryUser, command: UseMemory, now: float) -> Any:
    stage, named = command.step.stage, command.named
    tenant = user.tenant or LOCAL
    if stage.op == "lookup":
        by, limit = stage.attributes["by"], stage.attributes["limit"]
        vector = named.get("vector")
        found = memory.lookup(tenant, command.space, by, named["query"], limit, vector)
        return [entry.to_json() for entry in found]
    write = Write(command.idempotency_key, user.job_id, user.epoch)
    if stage.op == "observe":
        event, result = named["event"], named.get("result")
        return memory.observe(tenant, command.space, event, result, write, now).result()
    key, vector = named.get("key"), named.get("vector")
    ticket = memory.remember(
        tenant, command.space, named["value"], write, now, key=key, vector=vector
    )
    return ticket.result()
