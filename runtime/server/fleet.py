"""Routes of what the server has: workflows, devices, capacity."""

from __future__ import annotations

from . import models
from .call import Call
from .operation import Answer, Asgi, Operation
from .reply import Reply


async def workflows(call: Call) -> Asgi:
    """List the workflows that may be asked for."""
    return Reply.json(call.context.service.workflows())


async def workflow(call: Call) -> Asgi:
    """Describe one workflow."""
    return Reply.json(call.context.service.workflow(call.path["name"]))


async def devices(call: Call) -> Asgi:
    """List the devices and what they do."""
    return Reply.json(await call.context.service.devices(call.tenant))


async def capacity(call: Call) -> Asgi:
    """Say how much room there is."""
    return Reply.json(await call.context.service.capacity(call.tenant))


OPERATIONS = (
    Operation(
        "GET",
        "/v1/workflows",
        "listWorkflows",
        "List the workflows",
        workflows,
        (Answer(200, "What may be asked for.", models.WorkflowList),),
        tag="workflows",
    ),
    Operation(
        "GET",
        "/v1/workflows/{name}",
        "getWorkflow",
        "Describe a workflow",
        workflow,
        (Answer(200, "Its inputs and limits.", models.WorkflowDocument),),
        tag="workflows",
    ),
    Operation(
        "GET",
        "/v1/devices",
        "listDevices",
        "List the devices",
        devices,
        (Answer(200, "Queue, load and price of each.", models.Listing),),
        tag="fleet",
    ),
    Operation(
        "GET",
        "/v1/capacity",
        "getCapacity",
        "See how much room there is",
        capacity,
        (Answer(200, "Jobs that run and wait, and limits.", models.Capacity),),
        tag="fleet",
    ),
)
