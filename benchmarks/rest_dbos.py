"""DBOS on SQLite behind Starlette: a peer of benchmarks/rest.py. Needs dbos, starlette, uvicorn."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

import uvicorn
from dbos import DBOS  # type: ignore[import-not-found]
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


@DBOS.step()  # type: ignore[untyped-decorator, unused-ignore]
async def step(x: int) -> int:
    """Add one."""
    return x + 1


@DBOS.workflow()  # type: ignore[untyped-decorator, unused-ignore]
async def five(x: int) -> int:
    """Run five steps."""
    for _ in range(5):
        x = await step(x)
    return x


async def jobs(request: Request) -> JSONResponse:
    """Run one job; with `wait` false it is accepted only."""
    body: dict[str, Any] = await request.json()
    handle = await DBOS.start_workflow_async(five, body["input"]["x"])
    if not body.get("wait", True):
        return JSONResponse({"id": handle.get_workflow_id()}, 202)
    return JSONResponse({"output": await handle.get_result()})


def main() -> None:
    """Serve on a port, with a database file."""
    port, folder = int(sys.argv[1]), sys.argv[2]
    DBOS(
        config={
            "name": "rest",
            "system_database_url": f"sqlite:///{folder}/dbos.sqlite",
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )
    logging.disable(logging.WARNING)
    DBOS.launch()
    app = Starlette(routes=[Route("/jobs", jobs, methods=["POST"])])
    config = uvicorn.Config(app, port=port, access_log=False, log_level="error", loop="uvloop")
    asyncio.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main()
