"""Planning a fleet, end to end over made-up markets and a stated roofline."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from gangline.ir.errors import ConfigError, InfeasibleError
from gangline.ir.program import Program
from gangline.ir.specs.device import DeviceSpec
from gangline.planner.catalogue import CatalogueRow, catalogue
from gangline.planner.tco.answer import Answer, Slo
from gangline.planner.tco.demand import Demand, demand_of, demand_of_trace
from gangline.planner.tco.financing import Own, Rent
from gangline.planner.tco.market import Market, Offer, market_of
from gangline.planner.tco.options import SearchSpace
from gangline.planner.tco.plan import plan_fleet
from gangline.planner.tco.search import PlanOptions, make_search
from gangline.planner.tco.step_model import Efficiency, stated

MODEL = "llama-3.1-8b"
OPTIONS = PlanOptions(
    space=SearchSpace(tps=(1, 2), pps=(1,), batches=(1, 4, 16, 64, 256)),
    models=stated(Efficiency()),
    max_gap=0.0,
)


def spec(name: str, tflops: float, gbps: float, gb: float, watts: float = 500.0) -> DeviceSpec:
    return DeviceSpec(
        name, "gpu", {"bf16": tflops * 1e12}, int(gb * 1e9), gbps * 1e9, tdp_w=watts,
        link_bytes_per_s=3e11, host_bytes_per_s=5e10,
    )  # fmt: skip


CPU = DeviceSpec("host", "cpu", {"fp32": 1e11}, 64 * 10**9, 5e10, cores=8, tdp_w=100.0)
FLOPS_RICH = spec("flops", 1000.0, 1000.0, 80.0)
BYTES_RICH = spec("bytes", 100.0, 4000.0, 80.0)
ALL_ROUND = spec("both", 600.0, 2500.0, 80.0)


def market(*rows: tuple[DeviceSpec, float]) -> Market:
    priced = {row.type: CatalogueRow(row, usd) for row, usd in ((CPU, 0.2), *rows)}
    return market_of(priced, Rent())


MIXED = market((FLOPS_RICH, 2.0), (BYTES_RICH, 2.0), (ALL_ROUND, 4.0))


@pytest.fixture
def heavy() -> Demand:
    """Long prompts and long answers: both halves of the work matter."""
    return demand_of_trace([(4000.0, 400.0)], 60.0, MODEL)


def plan(demand: Demand, seconds: float, at: Market = MIXED, **changes: Any) -> Answer:
    return plan_fleet(demand, Slo(seconds), at, replace(OPTIONS, **changes), detail=False)


def test_prefill_goes_where_operations_are_cheap_and_decode_where_bytes_are(heavy: Demand) -> None:
    answer = plan(heavy, 60.0)
    roles = {(row.device, row.role) for row in answer.best.fleet}
    assert ("flops", "prefill") in roles
    assert ("bytes", "decode") in roles
    single = answer.baselines["best_single_type"]
    assert single is not None
    assert answer.best.usd_per_hour < 0.95 * single.usd_per_hour
    assert answer.sentence.startswith("Mixing")
    assert " saves " in answer.sentence and "nothing" not in answer.sentence


def test_a_cache_is_decoded_in_the_format_it_was_made_in(heavy: Demand) -> None:
    """The types that split best share no format, so they cannot split."""
    eight = replace(FLOPS_RICH, flops={"fp8": 1e15})
    apart = market((eight, 2.0), (BYTES_RICH, 2.0))
    best = plan(heavy, 60.0, apart, space=replace(OPTIONS.space, dtypes=("bf16", "fp8"))).best
    formats = {
        role: {row.dtype for row in best.fleet if row.role == role}
        for role in ("prefill", "decode")
    }
    assert formats["prefill"] == formats["decode"]
    assert best.usd_per_hour > plan(heavy, 60.0).best.usd_per_hour


def test_where_one_type_is_best_at_all_mixing_saves_nothing(heavy: Demand) -> None:
    one = market((FLOPS_RICH, 9.0), (BYTES_RICH, 9.0), (ALL_ROUND, 2.0))
    answer = plan(heavy, 60.0, one)
    assert answer.best.device_types == ("both",)
    assert answer.sentence.startswith("Mixing saves nothing here: both alone costs")


def test_the_answer_is_never_dearer_than_its_baselines(question: Program) -> None:
    demand = demand_of(question, None, 20.0, MODEL)
    for seconds in (3.0, 10.0, 60.0):
        answer = plan(demand, seconds)
        assert answer.best.reached_s <= seconds
        for found in answer.baselines.values():
            assert found is None or answer.best.usd_per_hour <= found.usd_per_hour * (1 + 1e-9)


def test_costs_add_up(heavy: Demand) -> None:
    best = plan(heavy, 60.0).best
    assert best.usd_per_hour == pytest.approx(sum(row.usd_per_hour for row in best.fleet))
    prices = {name: MIXED.usd(name) for name in MIXED.offers}
    assert best.usd_per_hour == pytest.approx(sum(r.count * prices[r.device] for r in best.fleet))
    assert best.usd_per_1k_jobs == pytest.approx(best.usd_per_hour / 3600.0 / 60.0 * 1000.0)
    assert best.usd_per_mtok == pytest.approx(best.usd_per_1k_jobs / 1000.0 / 4400.0 * 1e6)
    assert best.watts == pytest.approx(sum(row.watts for row in best.fleet))
    assert best.kwh_per_1k_jobs == pytest.approx(best.watts / 1000.0 / 3600.0 / 60.0 * 1000.0)
    assert 0.0 <= best.gap < 1e-6
    assert all(0.0 < row.utilisation < 1.0 for row in best.fleet)


def test_more_jobs_or_dearer_devices_never_cost_less(heavy: Demand) -> None:
    costs = [plan(replace(heavy, jobs_per_s=rate), 60.0).best.usd_per_hour for rate in (5, 20, 80)]
    assert costs == sorted(costs) and costs[0] < costs[-1]
    dear = [plan(heavy, 60.0, MIXED.scaled(f, ["bytes"])).best.usd_per_hour for f in (0.5, 1, 2, 9)]
    assert dear == sorted(dear) and dear[0] < dear[-1]


def test_a_tighter_slo_never_costs_less(heavy: Demand) -> None:
    costs = [plan(heavy, seconds).best.usd_per_hour for seconds in (120.0, 12.0, 6.0)]
    assert costs == sorted(costs)


def test_the_percentile_asked_for_is_kept(question: Program) -> None:
    """Half of the jobs in time is cheaper than 95 in 100, and both keep what they promise."""
    demand = demand_of(question, None, 20.0, MODEL)
    slack = plan(demand, 1e3).best
    seconds = 0.5 * slack.p95_s
    most = plan_fleet(demand, Slo(seconds, percentile=0.95), MIXED, OPTIONS, detail=False).best
    half = plan_fleet(demand, Slo(seconds, percentile=0.5), MIXED, OPTIONS, detail=False).best
    assert most.p95_s <= seconds
    assert half.p50_s <= seconds < half.p95_s
    assert half.usd_per_hour < most.usd_per_hour


def test_owned_devices_are_used_and_not_exceeded(heavy: Demand) -> None:
    # One more device than there is in stock costs what it always did.
    assert MIXED.with_stock("both", 2).usd("both") == MIXED.usd("both") == 4.0
    costs = [plan(heavy, 60.0).best.usd_per_hour]
    for stock in (2, 8):
        best = plan(heavy, 60.0, MIXED.with_stock("both", stock)).best
        mine = [row for row in best.fleet if row.device == "both"]
        assert sum(row.count for row in mine) == stock
        assert sum(row.usd_per_hour for row in mine) == 0.0
        costs.append(best.usd_per_hour)
    assert costs == sorted(costs, reverse=True) and costs[2] < costs[1] < costs[0]


def test_without_a_type(heavy: Demand) -> None:
    answer = plan(heavy, 60.0, MIXED.without(["bytes"]))
    assert "bytes" not in answer.best.device_types
    with pytest.raises(ConfigError, match="byte"):
        MIXED.without(["byte"])


def test_budget_and_power_are_kept(heavy: Demand) -> None:
    free = plan(heavy, 60.0)
    with pytest.raises(InfeasibleError) as caught:
        plan(heavy, 60.0, max_usd_per_hour=free.best.usd_per_hour * 0.9)
    assert caught.value.where == "budget"
    assert f"{free.best.usd_per_hour:.2f}" in caught.value.next_step
    frugal = plan(heavy, 60.0, usd_weight=0.0, usd_per_kwh=1.0)
    assert frugal.best.watts <= free.best.watts
    with pytest.raises(InfeasibleError, match="W"):
        plan(heavy, 60.0, max_watts=0.9 * frugal.best.watts)


def test_an_impossible_slo_names_stage_and_nearest_slo(heavy: Demand) -> None:
    with pytest.raises(InfeasibleError) as caught:
        plan(heavy, 0.05)
    error = caught.value
    assert "4096/512 (decode)" in error.where or "(decode)" in error.where
    nearest = float(error.next_step.split("<= ")[1].split(" s")[0])
    answer = plan(heavy, nearest)
    assert answer.best.reached_s <= nearest
    assert "millisecond" in error.next_step


def test_limits_on_token_times(heavy: Demand) -> None:
    slo = Slo(60.0, ttft_s=0.2, tpot_s=0.008)
    answer = plan_fleet(heavy, slo, MIXED, OPTIONS, detail=False)
    assert all(value <= 0.2 for value in answer.ttft_s.values())
    assert all(value <= 0.008 for value in answer.tpot_s.values())
    assert answer.best.usd_per_hour > plan(heavy, 60.0).best.usd_per_hour
    with pytest.raises(InfeasibleError, match="ms a token"):
        plan_fleet(heavy, Slo(60.0, tpot_s=1e-6), MIXED, OPTIONS, detail=False)


def test_a_model_that_fits_nothing_is_named() -> None:
    demand = demand_of_trace([(1000.0, 100.0)], 1.0, "llama-3.1-70b")
    small = market((spec("tiny", 100.0, 1000.0, 16.0), 1.0))
    with pytest.raises(InfeasibleError, match="No device type that can be had serves"):
        plan(demand, 60.0, small)


def test_tools_need_a_type_with_cores(question: Program) -> None:
    demand = demand_of(question, None, 1.0, MODEL)
    with pytest.raises(InfeasibleError, match="read_schema") as caught:
        plan(demand, 60.0, MIXED.only(["both"]))
    assert "cores" in caught.value.next_step


@pytest.mark.parametrize(
    "bad", [{"seconds": 0.0}, {"seconds": -1.0}, {"seconds": math.nan}, {"percentile": 1.0},
            {"percentile": 95.0}, {"ttft_s": 0.0}, {"tpot_s": -1.0}],
)  # fmt: skip
def test_an_slo_asks_for_something(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Slo(**bad)


def test_a_stock_that_does_not_carry_the_rate(heavy: Demand) -> None:
    short = Market(MIXED.devices, {"both": (Offer(4.0, 1.0),), "host": MIXED.offers["host"]})
    with pytest.raises(InfeasibleError) as caught:
        plan(heavy, 60.0, short)
    assert caught.value.where == "stock"


def test_rows_without_figures_and_bad_prices_are_refused() -> None:
    bare = DeviceSpec("bare", "gpu", {"bf16": 1e14}, 0, 1e12)
    with pytest.raises(ConfigError, match="memory_bytes"):
        market_of({"bare": CatalogueRow(bare, 1.0)}, Rent())
    for prices in ({"both": -1.0}, {"both": math.nan}):
        with pytest.raises(ConfigError, match="0 or more"):
            market_of({"both": CatalogueRow(ALL_ROUND, 1.0)}, Rent(), prices=prices)
    with pytest.raises(ConfigError, match="bo"):
        market_of({"both": CatalogueRow(ALL_ROUND, 1.0)}, Rent(), prices={"bot": 1.0})
    with pytest.raises(ConfigError):
        MIXED.with_stock("both", -1)
    with pytest.raises(ConfigError):
        MIXED.with_price("both", -0.1)


def test_owning_prices_what_has_a_capex_and_rents_the_rest() -> None:
    rows = {
        "bought": CatalogueRow(replace(ALL_ROUND, type="bought"), 4.0, capex_usd=20000.0),
        "rented": CatalogueRow(replace(ALL_ROUND, type="rented"), 4.0),
        "neither": CatalogueRow(replace(ALL_ROUND, type="neither")),
    }
    found = market_of(rows, Own())
    assert found.usd("bought") == pytest.approx(Own().hourly(20000.0, 500.0).total)
    assert found.usd("rented") == 4.0
    assert math.isinf(found.usd("neither"))


def test_the_answer_is_plain_json(heavy: Demand) -> None:
    document = plan(heavy, 60.0).to_json()
    text = json.dumps(document, allow_nan=False)
    assert {"fleet", "usd_per_hour", "usd_per_1k_jobs", "p95_s", "gap", "break_even", "baselines"}
    assert {"device", "count", "role", "tp"} <= json.loads(text)["fleet"][0].keys()
    assert {"best_single_type", "greedy"} == document["baselines"].keys()


def test_all_types_and_ordered_pairs_of_the_catalogue_are_searched() -> None:
    demand = demand_of_trace([(1000.0, 100.0)], 1.0, MODEL)
    whole = market_of(catalogue(), Rent())
    search = make_search(demand, Slo(60.0), whole, replace(OPTIONS, space=SearchSpace()))
    devices = {config.device for pools in search.pools for config in pools.configs}
    gpus = {name for name, row in catalogue().items() if row.spec.kind == "gpu"}
    # An 8B model in 16 bits fits every accelerator of the catalogue, if need be over two.
    assert gpus <= devices
    for role in ("prefill", "decode", "colocated"):
        assert gpus <= {
            config.device for pools in search.pools for config in pools.configs
            if config.role == role
        }  # fmt: skip
