"""Ray Serve, one replica, the loop in the handler, nothing durable: a peer of benchmarks/rest.py."""

from __future__ import annotations

import signal
import sys
from typing import Any

import ray  # type: ignore[import-not-found, unused-ignore]
from ray import serve
from starlette.requests import Request


async def step(x: int) -> int:
    """Add one."""
    return x + 1


@serve.deployment(num_replicas=1, max_ongoing_requests=64)  # type: ignore[untyped-decorator, unused-ignore]
class Jobs:
    """Run five steps per request."""

    async def __call__(self, request: Request) -> dict[str, Any]:
        x = (await request.json())["input"]["x"]
        for _ in range(5):
            x = await step(x)
        return {"output": x}


def main() -> None:
    """Serve on a port until SIGTERM."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    deployment: Any = Jobs
    serve.run(deployment.bind(), route_prefix="/jobs")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
