"""One entrant of the overhead benchmark, in a process of its own: JSON lines in, JSON lines out.

Imports the standard library only, as every peer's environment runs it. A request is
`{"case": ..., "num": ...}`; the answer has the seconds of wall and of CPU that the case took
(its preparation is not counted), and whatever the case tells. `{"about": ...}` comes first.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

Timed = Callable[[], Mapping[str, Any] | None]
"""Does the work once; what it gives goes into the answer."""
Prepare = Callable[[int], Timed]
"""Makes ready for work of a size."""


def folder() -> str:
    """Give the folder for databases; one for all entrants, so that all use one disk."""
    return os.environ["OVERHEAD_FOLDER"]


def serve(cases: Mapping[str, Prepare], packages: tuple[str, ...] = ()) -> None:
    """Answer requests until stdin ends. What a library prints goes to stderr."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    versions = {name: metadata.version(name) for name in packages}
    print(json.dumps({"about": versions, "rss_mb": rss_mb()}), file=out)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = measured(cases[request["case"]], request["num"])
        except Exception as error:  # noqa: BLE001 (a peer that fails is reported, not fatal)
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        print(json.dumps(answer), file=out)


def measured(prepare: Prepare, num: int) -> dict[str, Any]:
    """Prepare a case, and time it once."""
    timed = prepare(num)
    gc.collect()
    before_mb = rss_mb()
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    told = timed()
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    return {
        "num": num,
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "rss_before_mb": before_mb,
        "rss_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        **(told or {}),
    }


def rss_mb() -> float:
    """Give the memory this process holds now, in MiB."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20
