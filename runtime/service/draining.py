"""Leave running jobs to other servers, at a moment when no effect is in doubt."""

from __future__ import annotations

import asyncio

from gangline.runtime.execution.executor import Executor

LOOK_S = 0.005
"""How often it is looked whether writes have ended, in seconds."""


async def leave_running(executor: Executor, limit_s: float) -> None:
    """Drop the jobs that run here, each once no effect of a writing step is under way.

    A job dropped in the middle of one would have to ask a person what became of it.
    """
    waited_s = 0.0
    for driver in executor.running.values():
        driver.run.hold()
    while executor.running:
        late = waited_s >= limit_s
        for job_id, driver in list(executor.running.items()):
            if late or not driver.run.writing:
                executor.drop(job_id)
        await asyncio.sleep(LOOK_S)
        waited_s += LOOK_S
