"""Fleet sizing against Mélange's program, on seeded instances like Mélange's.

    python -m benchmarks.fleet_sizing --json [--seeds 3] [--classes 640] [--peer-seconds 30]

An instance: buckets of requests by input and output length (a grid, log-spaced), each with a rate
(log-normal around a random middle), and device types with random peak rates, bandwidths, memories
and prices; a device's throughput for a bucket is a roofline's at the largest batch that holds 120
ms a token, and 0 where there is none. Ours assigns fractions of a bucket to types and buys whole
devices. The peer is Mélange's formulation (arXiv 2404.14527): every bucket is cut into slices,
each slice goes to one type as a whole, with the same solver (HiGHS; its authors use CBC). Both
get the instance in the same run; times are CPU seconds, the model's construction counted.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gangline.planner.optimiser.fleet_sizing import (
    Entries,
    FleetProblem,
    Sizing,
    Tier,
    relaxed_objective,
    solve_fleet,
)
from gangline.planner.optimiser.solver_output import solver_output_to_stderr

Array = npt.NDArray[np.float64]

WEIGHT_BYTES, KV_BYTES, PARAMS = 16e9, 131072.0, 8e9
"""An 8B model in 16 bits, as in Mélange's experiments with Llama-2 7B."""

TPOT_S = 0.12
MAX_GAP = 0.005


@dataclass(frozen=True, slots=True)
class Instance:
    """Devices of each type that all requests of a bucket keep busy [buckets, types], and prices.

    inf where a type cannot serve a bucket in time.
    """

    loads: Array
    usd_per_hour: Array


def make_instance(num_classes: int, num_types: int, requests_per_s: float, seed: int) -> Instance:
    """Draw an instance; the same arguments give the same one."""
    rng = np.random.default_rng(seed)
    prompt, output = _lengths(num_classes, rng)
    rate = _rates(prompt, output, requests_per_s, rng)
    flops = np.exp(rng.uniform(np.log(60e12), np.log(2200e12), num_types))
    bandwidth = 8e12 * (flops / 2200e12) ** 0.8 * np.exp(rng.normal(0.0, 0.3, num_types))
    # One type serves every bucket, so that there always is an answer.
    memory = np.exp(rng.uniform(np.log(24e9), np.log(192e9), num_types))
    memory[0], bandwidth[0] = 192e9, max(bandwidth[0], 3e12)
    usd = 0.3 + 4.0 * np.sqrt(flops / 2200e12 * bandwidth / 8e12)
    usd = usd * np.exp(rng.normal(0.0, 0.2, num_types))
    seconds = _device_seconds(prompt, output, flops, bandwidth, memory)
    return Instance(rate[:, None] * seconds, usd)


def _lengths(count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Lay buckets out on a grid of input and output lengths, log-spaced."""
    wide = math.ceil(math.sqrt(count * 1.6))
    prompts = np.geomspace(25, 16000, wide)
    outputs = np.geomspace(10, 2000, math.ceil(count / wide))
    grid = np.stack(np.meshgrid(prompts, outputs), axis=-1).reshape(-1, 2)
    picked = np.sort(rng.permutation(len(grid))[:count])
    return grid[picked, 0], grid[picked, 1]


def _rates(prompt: Array, output: Array, total: float, rng: np.random.Generator) -> Array:
    middle = rng.uniform((4.5, 3.5), (8.0, 6.5))
    distance = (np.log(prompt) - middle[0]) ** 2 / 2.0 + (np.log(output) - middle[1]) ** 2 / 2.0
    rate = np.exp(-0.5 * distance) * rng.lognormal(0.0, 0.7, len(prompt))
    return np.asarray(total * rate / rate.sum())


def _device_seconds(
    prompt: Array, output: Array, flops: Array, bandwidth: Array, memory: Array
) -> Array:
    """Device seconds of one request at the largest batch in time; inf where there is none."""
    context = KV_BYTES * (prompt + output)[:, None]
    room = np.floor((0.9 * memory - WEIGHT_BYTES) / context)
    best = np.full((len(prompt), len(flops)), np.inf)
    for batch in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0):
        prefill = 2.0 * PARAMS * prompt[:, None] / (0.5 * flops)
        step = np.maximum(
            (WEIGHT_BYTES + batch * context) / (0.7 * bandwidth),
            2.0 * PARAMS * batch / (0.5 * flops),
        )
        token = step + batch * prefill / output[:, None]
        seconds = prefill + output[:, None] * step / batch
        best = np.where((batch <= room) & (token <= TPOT_S), np.minimum(best, seconds), best)
    # A bucket nobody serves in time goes to the first type, at a batch of one.
    alone = prompt * 2.0 * PARAMS / (0.5 * flops[0]) + output * WEIGHT_BYTES / (0.7 * bandwidth[0])
    nobody = ~np.isfinite(best).any(axis=1)
    best[nobody, 0] = alone[nobody]
    return best


def problem_of(instance: Instance) -> FleetProblem:
    """State an instance as a sizing problem: a way per bucket and type that can serve it."""
    bucket, kind = np.nonzero(np.isfinite(instance.loads))
    ways = np.arange(len(bucket))
    types = len(instance.usd_per_hour)
    return FleetProblem(
        num_parts=len(instance.loads),
        covers=Entries(bucket, ways, np.zeros(len(ways))),
        loads=Entries(kind, ways, instance.loads[bucket, kind]),
        pool_device=np.arange(types),
        pool_size=np.ones(types),
        watts=np.zeros(types),
        tiers=tuple(Tier(index, float(usd)) for index, usd in enumerate(instance.usd_per_hour)),
    )


def melange(instance: Instance, slice_factor: int, seconds: float) -> tuple[float | None, float]:
    """Run Mélange's program: whole slices to types. Gives cost and bound; None for no answer."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    loads = np.repeat(instance.loads / slice_factor, slice_factor, axis=0)
    piece, kind = np.nonzero(np.isfinite(loads))
    ways, types = len(piece), len(instance.usd_per_hour)
    column = np.concatenate([np.arange(ways), np.arange(ways), ways + np.arange(types)])
    row = np.concatenate([piece, len(loads) + kind, len(loads) + np.arange(types)])
    value = np.concatenate([np.ones(ways), loads[piece, kind], -np.ones(types)])
    matrix = csr_array((value, (row, column)), shape=(len(loads) + types, ways + types))
    low = np.concatenate([np.ones(len(loads)), np.full(types, -np.inf)])
    high = np.concatenate([np.ones(len(loads)), np.zeros(types)])
    with solver_output_to_stderr():
        found = milp(
            np.concatenate([np.zeros(ways), instance.usd_per_hour]),
            integrality=np.ones(ways + types),
            bounds=Bounds(0, np.concatenate([np.ones(ways), np.full(types, np.inf)])),
            constraints=LinearConstraint(matrix, low, high),
            options={"time_limit": seconds, "mip_rel_gap": MAX_GAP},
        )
    cost = None if found.x is None else float(found.fun)
    return cost, float(found.mip_dual_bound or 0.0)


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Give a call's result and its CPU seconds."""
    start = time.process_time()
    result = call()
    return result, time.process_time() - start


def compare(instance: Instance, slice_factor: int, peer_seconds: float) -> dict[str, Any]:
    """Solve one instance by both programs."""
    ours, our_s = timed(lambda: solve_fleet(problem_of(instance), max_gap=MAX_GAP))
    assert isinstance(ours, Sizing)
    (cost, bound), peer_s = timed(lambda: melange(instance, slice_factor, peer_seconds))
    lowest = relaxed_objective(problem_of(instance))
    return {
        "ours_cpu_s": our_s,
        "ours_usd_per_hour": ours.usd_per_hour,
        "ours_gap": ours.gap,
        "ours_devices": int(ours.replicas.sum()),
        "fractional_usd_per_hour": lowest,
        "peer_cpu_s": peer_s,
        "peer_usd_per_hour": cost,
        "peer_gap": None if cost is None else (cost - bound) / cost,
    }


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run all instances, and summarise."""
    rows = []
    for requests_per_s in arguments.rates:
        for seed in range(arguments.seeds):
            instance = make_instance(arguments.classes, arguments.types, requests_per_s, seed)
            row = compare(instance, arguments.slices, arguments.peer_seconds)
            rows.append({"requests_per_s": requests_per_s, "seed": seed, **row})
    return {
        "benchmark": "fleet_sizing",
        "classes": arguments.classes,
        "types": arguments.types,
        "slices_per_class": arguments.slices,
        "peer_time_limit_s": arguments.peer_seconds,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "ours_cpu_s": _spread([row["ours_cpu_s"] for row in rows]),
        "ours_gap": _spread([row["ours_gap"] for row in rows]),
        "peer_cpu_s": _spread([row["peer_cpu_s"] for row in rows]),
        "peer_answers": sum(row["peer_usd_per_hour"] is not None for row in rows),
        "instances": rows,
    }


def _spread(found: list[float]) -> dict[str, float]:
    return {"median": statistics.median(found), "worst": max(found)}


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="the whole result as JSON")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--classes", type=int, default=640)
    parser.add_argument("--types", type=int, default=10)
    parser.add_argument("--slices", type=int, default=1, help="Mélange's slices per bucket")
    parser.add_argument("--rates", type=float, nargs="+", default=[20.0, 200.0, 2000.0])
    parser.add_argument("--peer-seconds", type=float, default=30.0)
    found = run(parser.parse_args())
    if parser.parse_args().json:
        print(json.dumps(found, indent=1))
        return
    ours, gap = found["ours_cpu_s"], found["ours_gap"]
    print(
        f"{found['classes']} classes x {found['types']} types: {ours['median']:.2f} s CPU "
        f"(worst {ours['worst']:.2f}) at a gap of {100 * gap['worst']:.2f} % at most; "
        f"Mélange's program {found['peer_cpu_s']['median']:.1f} s, "
        f"{found['peer_answers']} of {len(found['instances'])} answered"
    )


if __name__ == "__main__":
    main()
