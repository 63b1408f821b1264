"""Break-even prices, sensitivity, what-if and the money-energy front."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from gangline.ir.errors import ConfigError
from gangline.ir.specs.device import DeviceSpec
from gangline.planner.catalogue import CatalogueRow
from gangline.planner.optimiser.fleet_sizing import solve_fleet
from gangline.planner.tco.answer import Slo
from gangline.planner.tco.break_even import break_even_down, break_even_up
from gangline.planner.tco.demand import Demand, demand_of_trace
from gangline.planner.tco.financing import Rent
from gangline.planner.tco.fronts import energy_front
from gangline.planner.tco.market import Market, market_of
from gangline.planner.tco.options import SearchSpace
from gangline.planner.tco.plan import plan_fleet
from gangline.planner.tco.search import Candidate, PlanOptions, Search, make_search
from gangline.planner.tco.sensitivity import usd_on
from gangline.planner.tco.step_model import stated
from gangline.planner.tco.what_if import Added, changed_market, parse_added

SPACE = SearchSpace(
    tps=(1,), pps=(1,), dtypes=("bf16",), batches=(1, 16, 64, 256), utilisations=(0.65, 0.85)
)
OPTIONS = PlanOptions(space=SPACE, models=stated(), max_gap=0.0)


def spec(name: str, tflops: float, gbps: float, watts: float) -> DeviceSpec:
    return DeviceSpec(
        name, "gpu", {"bf16": tflops * 1e12}, 80 * 10**9, gbps * 1e9, tdp_w=watts,
        link_bytes_per_s=3e11, host_bytes_per_s=5e10,
    )  # fmt: skip


def market() -> Market:
    rows = {
        "old": CatalogueRow(spec("old", 300.0, 2000.0, 600.0), 1.5),
        "new": CatalogueRow(spec("new", 900.0, 3000.0, 500.0), 4.0),
        "odd": CatalogueRow(spec("odd", 500.0, 1500.0, 400.0), 9.0),
    }
    return market_of(rows, Rent())


@pytest.fixture
def demand() -> Demand:
    return demand_of_trace([(2000.0, 300.0)], 40.0, "llama-3.1-8b")


@pytest.fixture
def search(demand: Demand) -> Search:
    return make_search(demand, Slo(60.0), market(), OPTIONS)


@pytest.fixture
def answer(search: Search) -> Candidate:
    found = search.best(market())
    assert found is not None
    return found


def cost_at(search: Search, answer: Candidate, name: str, usd: float) -> float:
    found = search.solve(market().with_price(name, usd), answer.budget_s)
    assert found is not None
    return found.sizing.usd_per_hour


def used(search: Search, candidate: Candidate, at: Market) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in search.cost(candidate, at).fleet:
        counts[row.device] = counts.get(row.device, 0) + row.count
    return counts


def test_the_answer_stands_up_to_its_break_even_and_not_beyond(
    search: Search, answer: Candidate
) -> None:
    base = market()
    counts = used(search, answer, base)
    assert counts
    for name, count in counts.items():
        found = break_even_up(search, base, answer, name)
        assert found.direction == "up"
        assert found.stays_best_until is not None
        now, limit = found.usd_per_hour_now, found.stays_best_until
        assert limit >= now
        held = answer.sizing.usd_per_hour
        for price in (0.5 * (now + limit), limit * 0.999):
            kept = held + count * (price - now)
            assert cost_at(search, answer, name, price) == pytest.approx(kept, rel=1e-6)
        beyond = limit * 1.01
        assert cost_at(search, answer, name, beyond) < held + count * (beyond - now) - 1e-9


def test_an_outside_type_enters_below_its_break_even(search: Search, answer: Candidate) -> None:
    base = market()
    assert "odd" not in used(search, answer, base)
    found = break_even_down(search, base, answer, "odd")
    assert found.direction == "down" and found.stays_best_until is not None
    assert 0.0 < found.stays_best_until < 9.0
    held = answer.sizing.usd_per_hour
    assert cost_at(search, answer, "odd", found.stays_best_until * 1.01) == pytest.approx(held)
    assert cost_at(search, answer, "odd", found.stays_best_until * 0.98) < held - 1e-6
    assert "odd" in found.then_best


def test_a_type_nothing_can_replace_has_no_break_even(demand: Demand) -> None:
    base = market().only(["old"])
    search = make_search(demand, Slo(60.0), base, OPTIONS)
    alone = search.best(base)
    assert alone is not None
    found = break_even_up(search, base, alone, "old")
    assert found.stays_best_until is None


def test_the_full_answer_has_its_tables(demand: Demand) -> None:
    base = market()
    dearer = base.scaled(2.0)
    answer = plan_fleet(demand, Slo(60.0), base, OPTIONS, variations={"all prices doubled": dearer})
    types = {row.device for row in answer.best.fleet}
    up = {row.device for row in answer.break_even if row.direction == "up"}
    assert up == types
    doubled = next(row for row in answer.sensitivity if row.change == "all prices doubled")
    assert doubled.usd_per_hour_kept == pytest.approx(2.0 * answer.best.usd_per_hour)
    assert not doubled.changes_fleet
    for row in answer.sensitivity:
        if row.usd_per_hour_kept is not None and row.usd_per_hour_best is not None:
            assert row.usd_per_hour_best <= row.usd_per_hour_kept * (1 + 1e-9)
    fewer = next(row for row in answer.sensitivity if row.change == "rate -25 %")
    assert fewer.usd_per_hour_best is not None
    assert fewer.usd_per_hour_best < answer.best.usd_per_hour
    costs = [cost.usd_per_hour for cost in answer.runners_up]
    assert costs == sorted(costs) and all(c >= answer.best.usd_per_hour for c in costs)
    for runner in answer.runners_up:
        if runner.label.startswith("without "):
            assert runner.label.removeprefix("without ") not in runner.device_types


def test_what_if(demand: Demand) -> None:
    base = market()
    plain = plan_fleet(demand, Slo(60.0), base, OPTIONS, detail=False)
    gone = changed_market(base, without=plain.best.device_types)
    other = plan_fleet(demand, Slo(60.0), gone, OPTIONS, detail=False)
    assert not set(other.best.device_types) & set(plain.best.device_types)
    assert other.best.usd_per_hour > plain.best.usd_per_hour
    # Only what is in stock of a type that is also taken away.
    stocked = changed_market(base, without=["new"], added=[Added("new", 2, 0.1)])
    assert stocked.offers["new"][0].limit == 2
    assert len(stocked.offers["new"]) == 1
    owned = plan_fleet(demand, Slo(60.0), stocked, OPTIONS, detail=False)
    assert sum(r.count for r in owned.best.fleet if r.device == "new") <= 2


def test_stock_is_parsed() -> None:
    assert parse_added("L4=4") == Added("L4", 4, 0.0)
    assert parse_added("L4=4@0.35") == Added("L4", 4, 0.35)
    for text in ("L4", "=4", "L4=x", "L4=0", "L4=-1", "L4=4@", "L4=4@-1", "L4=1.5", "L4=4@nan"):
        with pytest.raises(ConfigError) as caught:
            parse_added(text)
        assert caught.value.where == "--add"
    with pytest.raises(ConfigError, match="oold"):
        changed_market(market(), without=["oold"])
    with pytest.raises(ConfigError, match="niew"):
        changed_market(market(), added=[Added("niew", 1)])


def test_the_front_trades_money_for_energy(demand: Demand) -> None:
    search = make_search(demand, Slo(60.0), market(), OPTIONS)
    best = search.best(market())
    assert best is not None
    front = energy_front(search, market(), best)
    assert len(front) >= 2
    costs, watts = [c.usd_per_hour for c in front], [c.watts for c in front]
    assert costs == sorted(costs) and watts == sorted(watts, reverse=True)
    assert costs[0] == pytest.approx(search.cost(best, market()).usd_per_hour)
    frugal = plan_fleet(
        demand, Slo(60.0), market(), replace(OPTIONS, usd_weight=0.0, usd_per_kwh=1.0), detail=False
    )
    assert watts[-1] == pytest.approx(frugal.best.watts)


def test_a_budget_is_solved_once_and_options_anew(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    solved: list[float] = []

    def counted(problem: Any, **options: Any) -> Any:
        solved.append(problem.paths.deadline_s)
        return solve_fleet(problem, **options)

    monkeypatch.setattr("gangline.planner.tco.search.solve_fleet", counted)
    at = market()
    assert search.solve(at, 30.0) is search.solve(at, 30.0)
    assert len(solved) == 1
    search.solve(market(), 30.0)
    assert len(solved) == 2
    search.anew(options=replace(OPTIONS, usd_per_kwh=1.0)).solve(at, 30.0)
    assert len(solved) == 3


def test_a_fleet_that_was_known_but_is_no_longer_to_be_had_misleads_no_search(
    search: Search,
) -> None:
    at = market()
    honest = search.solve(at, 30.0)
    assert honest is not None
    misled = search.anew().solve(at, 30.0, known=0.1 * honest.sizing.objective)
    assert misled is not None
    assert misled.sizing.usd_per_hour == pytest.approx(honest.sizing.usd_per_hour)


def test_a_fleet_is_priced_from_stock_first(search: Search, answer: Candidate) -> None:
    at = market()
    assert usd_on(answer, at) == pytest.approx(answer.sizing.usd_per_hour)
    name = search.cost(answer, at).fleet[0].device
    held = at.with_stock(name, 1.0, 0.0)
    assert usd_on(answer, held) == pytest.approx(answer.sizing.usd_per_hour - at.usd(name))
    assert math.isinf(usd_on(answer, at.without([name])))


def test_a_fleet_that_carries_more_jobs_is_kept_at_its_price(demand: Demand) -> None:
    few = replace(demand, jobs_per_s=0.01)
    answer = plan_fleet(few, Slo(60.0), market(), OPTIONS)
    row = next(row for row in answer.sensitivity if row.change == "rate +25 %")
    assert not row.changes_fleet
    assert row.usd_per_hour_kept == row.usd_per_hour_best == answer.best.usd_per_hour
