"""Solves one heterogeneous DAG by CP-SAT: JSON problem on stdin, JSON schedule on stdout.

Runs in the peers' environment (`make bench-setup`), which does not hold gangline: OR-tools and
scipy's HiGHS do not share a process, and the CPU seconds of this process are the peer's own.
The budget is CPU seconds of this process from the solver's start on, over all its threads.
Input: {"durations", "edges", "cpu_s", "seed", "workers", "scale", "hint": {"machine", "start"}};
an ineligible machine is null.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from ortools.sat.python import cp_model  # type: ignore[import-not-found]


class Model:
    """Optional intervals per task and machine, one start per task, delays between machines."""

    def __init__(self, problem: dict[str, Any]) -> None:
        self.scale = float(problem["scale"])
        self.problem = problem
        self.cp = cp_model.CpModel()
        # The hint's makespan bounds the horizon; scaled times are rounded up, a unit each.
        rows = problem["durations"]
        ends = [
            s + rows[v][k]
            for v, (k, s) in enumerate(
                zip(problem["hint"]["machine"], problem["hint"]["start"], strict=True)
            )
        ]
        self.horizon = self.ticks(max(ends)) + 2 * len(rows) + len(problem["edges"])
        self.start = [self.cp.new_int_var(0, self.horizon, f"s{v}") for v in range(len(rows))]
        self.end = [self.cp.new_int_var(0, self.horizon, f"e{v}") for v in range(len(rows))]
        self.on = [self._presence(v) for v in range(len(rows))]
        self._exclude()
        self._precede()
        self.makespan = self.cp.new_int_var(0, self.horizon, "makespan")
        self.cp.add_max_equality(self.makespan, self.end)
        self.cp.minimize(self.makespan)
        self._hint()

    def ticks(self, seconds: float) -> int:
        return -int(-(seconds * self.scale) // 1)

    def _presence(self, v: int) -> dict[int, Any]:
        row = self.problem["durations"][v]
        on = {k: self.cp.new_bool_var(f"x{v}_{k}") for k, d in enumerate(row) if d is not None}
        self.cp.add_exactly_one(on.values())
        length = sum(self.ticks(row[k]) * x for k, x in on.items())
        self.cp.add(self.end[v] == self.start[v] + length)
        return on

    def _exclude(self) -> None:
        rows = self.problem["durations"]
        for k in range(len(rows[0])):
            self.cp.add_no_overlap(
                self.cp.new_optional_interval_var(
                    self.start[v], self.ticks(rows[v][k]), self.end[v], on[k], f"i{v}_{k}"
                )
                for v, on in enumerate(self.on)
                if k in on
            )

    def _precede(self) -> None:
        for u, v, seconds in self.problem["edges"]:
            self.cp.add(self.start[v] >= self.end[u])
            if not seconds:
                continue
            apart = self.cp.new_bool_var(f"y{u}_{v}")
            self.cp.add(self.start[v] >= self.end[u] + self.ticks(seconds) * apart)
            for k, x in self.on[u].items():
                other = self.on[v].get(k)
                self.cp.add_bool_or([x.negated(), apart, *([other] if other is not None else [])])

    def _hint(self) -> None:
        hint = self.problem["hint"]
        for v, on in enumerate(self.on):
            self.cp.add_hint(self.start[v], self.ticks(hint["start"][v]))
            for k, x in on.items():
                self.cp.add_hint(x, k == hint["machine"][v])

    def solve(self) -> dict[str, Any]:
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = int(self.problem["workers"])
        solver.parameters.interleave_search = self.problem["workers"] > 1
        solver.parameters.random_seed = int(self.problem["seed"])
        begun = time.process_time()
        done = threading.Event()
        guard = threading.Thread(
            target=_stop_at, args=(solver, begun + float(self.problem["cpu_s"]), done), daemon=True
        )
        guard.start()
        status = solver.status_name(solver.solve(self.cp))
        done.set()
        found = status in ("OPTIMAL", "FEASIBLE")
        return {
            "status": status,
            "machine": [self._chosen(solver, v) for v in range(len(self.on))] if found else None,
            "start": [solver.value(s) / self.scale for s in self.start] if found else None,
            "bound": solver.best_objective_bound / self.scale,
            "cpu_s": time.process_time() - begun,
        }

    def _chosen(self, solver: Any, v: int) -> int:
        return next(k for k, x in self.on[v].items() if solver.value(x))


def _stop_at(solver: Any, until: float, done: threading.Event) -> None:
    while not done.wait(0.02):
        if time.process_time() > until:
            solver.stop_search()


if __name__ == "__main__":
    print(json.dumps(Model(json.load(sys.stdin)).solve()))
