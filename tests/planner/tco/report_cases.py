"""A whole answer over a made-up market, for tests of what shows it."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

from gangline.ir.specs.device import DeviceSpec
from gangline.planner.catalogue import CatalogueRow
from gangline.planner.tco.answer import Slo
from gangline.planner.tco.demand import demand_of_trace
from gangline.planner.tco.document import Background, Judgement, Simulated, Trial, document_of
from gangline.planner.tco.financing import Financing, Own, Rent
from gangline.planner.tco.fronts import energy_front, latency_front
from gangline.planner.tco.options import SearchSpace
from gangline.planner.tco.plan import answer_of, choose, propose_fleet
from gangline.planner.tco.quotes import quoted_market
from gangline.planner.tco.search import PlanOptions, make_search
from gangline.planner.tco.step_model import Efficiency, stated

HOSTILE = '<b onclick="x">"&\'</b>'
OPTIONS = PlanOptions(
    space=SearchSpace(tps=(1, 2), pps=(1,), batches=(1, 16, 64)),
    models=stated(Efficiency()),
)


def row(name: str, tflops: float, gbps: float, usd: float) -> CatalogueRow:
    spec = DeviceSpec(
        name, "gpu", {"bf16": tflops * 1e12}, 80 * 10**9, gbps * 1e9, tdp_w=500.0,
        link_bytes_per_s=3e11, host_bytes_per_s=5e10,
    )  # fmt: skip
    sources = {"usd_per_hour": f"a price list of {name}", "capex_usd": "a shop"}
    return CatalogueRow(
        spec, usd, "low", sources, price_low=0.5 * usd, price_high=3.0 * usd,
        capex_usd=20_000.0 * usd, price_date="2026-05",
    )  # fmt: skip


@lru_cache
def document(
    *, name: str = "flops", own: bool = False, simulated: bool = True, slo_s: float = 60.0
) -> dict[str, Any]:
    """Give the document about a trace of one length on two types that complement each other."""
    rows = {r.spec.type: r for r in (row(name, 1000, 1000, 2), row("bytes", 100, 4000, 2))}
    form: Financing = Own(host_share=0.2, residual_share=0.1) if own else Rent()
    market, notes = quoted_market(rows, form)
    demand = demand_of_trace([(4000.0, 400.0)], 60.0, "llama-3.1-8b")
    search = make_search(demand, Slo(slo_s), market, OPTIONS)
    choice = choose(search, market, propose_fleet(search, market))
    cost = search.cost(choice.best, market)
    latencies = tuple(2.0 + 0.05 * index for index in range(200))
    busy = {load.group: 0.5 for load in choice.best.estimate.groups}
    found = Simulated(200, 60.0, 0, 0.5, 7.0, latencies, busy) if simulated else None
    reached = found.quantile(0.95) if found else None
    trial = Trial(1, cost.in_words(), cost.usd_per_hour, cost.reached_s, reached, True)
    judgement = Judgement(choice, slo_s, found, trial, (trial,))
    fronts = {
        "latency": latency_front(search, market, choice.best),
        "energy": energy_front(search, market, choice.best),
    }
    answer = answer_of(search, market, choice)
    what_if = [{"changes": [f"without {name}"], "usd_per_hour": 1.0, "unchanged": None,
                "usd_per_hour_saved": None}]  # fmt: skip
    back = Background(rows, notes, form, market, fronts, what_if)
    return document_of(replace(answer, slo=Slo(slo_s)), search, market, judgement, back)


def evaluated(arithmetic: str) -> float:
    """Compute a line's arithmetic the way a reader with a calculator does."""
    import ast
    import operator

    kinds: dict[type, Any] = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
             ast.Div: operator.truediv, ast.Pow: math.pow}  # fmt: skip

    def value(node: ast.expr) -> float:
        if isinstance(node, ast.Constant):
            return float(str(node.value))
        assert isinstance(node, ast.BinOp), ast.dump(node)
        return float(kinds[type(node.op)](value(node.left), value(node.right)))

    text = arithmetic.replace(" x ", " * ").replace("^", "**")
    return value(ast.parse(text, mode="eval").body)
