"""Solves one placement by CP-SAT: JSON problem on stdin, JSON answer on stdout.

Runs in the peers' environment (`make bench-setup`), which does not hold gangline. One worker; the
budget is CPU seconds of this process from the solver's start on. Dollars and seconds are whole
numbers of `usd_unit` and `second_unit`; seconds are rounded up, so an answer is in time.
Input: {"usd", "seconds" [n][D] (null: cannot run), "site_of", "edges", "transfer_s",
"transfer_usd" [m][S][S], "deadline_s", "cpu_s", "seed", "hint": {"device", "start"}}.
"""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from typing import Any

from ortools.sat.python import cp_model  # type: ignore[import-not-found]


class Model:
    """Presence per node and device type, start times, and a site-to-site choice per edge."""

    def __init__(self, problem: dict[str, Any]) -> None:
        self.problem = problem
        self.cp = cp_model.CpModel()
        self.second_unit = problem["deadline_s"] / 1e8
        dearest = max(usd for row in problem["usd"] for usd in row if usd is not None)
        self.usd_unit = dearest / 1e5
        self.horizon = round(problem["deadline_s"] / self.second_unit)
        self.on = [self._presence(row) for row in problem["usd"]]
        self.start = [self.cp.new_int_var(0, self.horizon, f"s{v}") for v in range(len(self.on))]
        self.length = [
            sum(self._ticks(row[d]) * x for d, x in on.items())
            for row, on in zip(problem["seconds"], self.on, strict=True)
        ]
        self.at = [self._sites(on) for on in self.on]
        self.usd: list[Any] = [
            round(row[d] / self.usd_unit) * x
            for row, on in zip(problem["usd"], self.on, strict=True)
            for d, x in on.items()
        ]
        for v, start in enumerate(self.start):
            self.cp.add(start + self.length[v] <= self.horizon)
        for number in range(len(problem["edges"])):
            self._edge(number)
        self.cp.minimize(sum(self.usd))
        self._hint()

    def _ticks(self, seconds: float) -> int:
        ticks: int = math.ceil(seconds / self.second_unit - 1e-9)
        return ticks

    def _presence(self, row: list[float | None]) -> dict[int, Any]:
        on = {d: self.cp.new_bool_var("") for d, usd in enumerate(row) if usd is not None}
        self.cp.add_exactly_one(on.values())
        return on

    def _sites(self, on: dict[int, Any]) -> list[Any]:
        sites = self.problem["site_of"]
        return [sum(x for d, x in on.items() if sites[d] == site) for site in range(max(sites) + 1)]

    def _edge(self, number: int) -> None:
        source, target = self.problem["edges"][number]
        seconds, usd = (self.problem[name][number] for name in ("transfer_s", "transfer_usd"))
        pairs = {}
        for here, row in enumerate(seconds):
            for there in range(len(row)):
                pairs[here, there] = self.cp.new_bool_var("")
        for site in range(len(seconds)):
            out = sum(y for (here, _), y in pairs.items() if here == site)
            into = sum(y for (_, there), y in pairs.items() if there == site)
            self.cp.add(out == self.at[source][site])
            self.cp.add(into == self.at[target][site])
        hop = sum(self._ticks(seconds[a][b]) * y for (a, b), y in pairs.items())
        self.cp.add(self.start[target] >= self.start[source] + self.length[source] + hop)
        self.usd += [round(usd[a][b] / self.usd_unit) * y for (a, b), y in pairs.items()]

    def _hint(self) -> None:
        hint = self.problem["hint"]
        for v, on in enumerate(self.on):
            self.cp.add_hint(self.start[v], self._ticks(hint["start"][v]))
            for d, x in on.items():
                self.cp.add_hint(x, d == hint["device"][v])

    def solve(self) -> dict[str, Any]:
        """Solve within the budget and give the devices, the bound and the CPU seconds."""
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = int(self.problem["seed"])
        begun = time.process_time()
        done = threading.Event()
        until = begun + float(self.problem["cpu_s"])
        threading.Thread(target=_stop_at, args=(solver, until, done), daemon=True).start()
        status = solver.status_name(solver.solve(self.cp))
        done.set()
        found = status in ("OPTIMAL", "FEASIBLE")
        return {
            "status": status,
            "device": [self._chosen(solver, on) for on in self.on] if found else None,
            "bound_usd": solver.best_objective_bound * self.usd_unit,
            "cpu_s": time.process_time() - begun,
        }

    def _chosen(self, solver: Any, on: dict[int, Any]) -> int:
        return next(d for d, x in on.items() if solver.value(x))


def _stop_at(solver: Any, until: float, done: threading.Event) -> None:
    while not done.wait(0.02):
        if time.process_time() > until:
            solver.stop_search()


if __name__ == "__main__":
    print(json.dumps(Model(json.load(sys.stdin)).solve()))
