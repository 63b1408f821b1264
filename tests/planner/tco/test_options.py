"""Pools against sums done by hand, waiting against theory and against a simulated queue."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest

from gangline.ir.specs.device import DeviceSpec
from gangline.planner.costs.shape import ModelShape, find_shape
from gangline.planner.queueing import mean_waits_s
from gangline.planner.tco.answer import Slo
from gangline.planner.tco.config import ServingConfig
from gangline.planner.tco.demand import demand_of_trace
from gangline.planner.tco.market import Market, Offer
from gangline.planner.tco.options import NETWORK_LATENCY_S, SearchSpace, evaluate
from gangline.planner.tco.pareto import pareto_front
from gangline.planner.tco.search import PlanOptions, make_search
from gangline.planner.tco.sizing import way_seconds
from gangline.planner.tco.step_model import Efficiency, StepModel, stated

SHAPE = find_shape("Llama-3.1-8B")


@dataclass
class Clockwork:
    """Prefill of 1 ms a token; decode steps of 10 ms and 1 ms a sequence."""

    room: int = 20

    def mixed_step_s(
        self,
        new_tokens: npt.ArrayLike,
        new_context: npt.ArrayLike,
        decode_batch: npt.ArrayLike,
        decode_context: npt.ArrayLike,
        prompts: npt.ArrayLike = 1.0,
    ) -> npt.NDArray[np.float64]:
        new, batch = np.asarray(new_tokens, float), np.asarray(decode_batch, float)
        shape = np.broadcast_shapes(new.shape, batch.shape, np.shape(decode_context))
        step = np.where(batch > 0, 0.01 + 0.001 * batch, 0.0)
        return np.broadcast_to(0.001 * new + step, shape)

    def max_batch(self, isl: float, osl: float) -> int:
        return self.room


def clockwork(
    spec: DeviceSpec, shape: ModelShape, dtype: str, tp: int, pp: int
) -> StepModel | None:
    return Clockwork() if dtype == "bf16" else None


DEVICE = DeviceSpec("d", "gpu", {"bf16": 1e14}, 10**11, 1e12, host_bytes_per_s=2e10)
SPACE = SearchSpace(
    tps=(1,), pps=(1, 2), batches=(1, 16, 64), prefill_batches=(1, 4), utilisations=(0.5,)
)


def pools_at(rate: float) -> dict[ServingConfig, dict[str, float]]:
    demand = demand_of_trace([(100.0, 50.0)], rate, "m")
    found = evaluate(demand, {"d": DEVICE}, {"m": SHAPE}, SPACE, clockwork)[0]
    return {
        config: {
            name: float(getattr(found, name)[row, 0])
            for name in (
                "load",
                "first_path_s",
                "first_s",
                "rest_s",
                "token_s",
                "service_s",
                "transfer_s",
            )
        }
        for row, config in enumerate(found.configs)
    }


def test_pools_by_hand() -> None:
    pools = pools_at(2.0)
    # Batch 64 does not fit, and with room for 20 no pipeline stages are needed.
    assert {(c.role, c.pp, c.batch) for c in pools} == {
        *(("prefill", 1, batch) for batch in (1, 4)),
        *((role, 1, batch) for role in ("decode", "colocated") for batch in (1, 16)),
    }
    by_key = {(c.role, c.batch): pool for c, pool in pools.items()}
    prefill = by_key["prefill", 1]
    # 2 calls/s of 0.1 s at half load: 0.4 replicas; W of an M/D/1 at 0.5 is 0.5 / 2 x 0.1 / 0.5.
    assert prefill["load"] == pytest.approx(0.4)
    assert prefill["first_s"] == pytest.approx(0.1 + 0.05)
    # A deadline counts a standard deviation too: an exponential wait twice, constant work once.
    assert prefill["first_path_s"] == pytest.approx(0.1 + 2 * 0.05)
    decode = by_key["decode", 16]
    # 50 tokens at 26 ms, 16 at once, 90 % of the slots.
    assert decode["load"] == pytest.approx(2.0 * 50 * 0.026 / (16 * 0.9))
    assert decode["token_s"] == pytest.approx(0.026)
    wait = float(mean_waits_s(16, 0.9, 50 * 0.026, 0.0))
    assert decode["rest_s"] == pytest.approx(49 * 0.026 + wait)
    together = by_key["colocated", 16]
    cycle = 16 * 0.1 + 50 * 0.026
    assert together["load"] == pytest.approx(2.0 * cycle / (16 * 0.5))
    assert together["token_s"] == pytest.approx(cycle / 50)
    kv = SHAPE.kv_bytes(100.0)
    assert prefill["transfer_s"] == pytest.approx(NETWORK_LATENCY_S + kv / 2e10)


def test_pipeline_stages_are_tried_where_memory_is_short() -> None:
    demand = demand_of_trace([(100.0, 50.0)], 2.0, "m")
    found = evaluate(
        demand, {"d": DEVICE}, {"m": SHAPE}, SPACE, lambda *_: Clockwork(room=6)
    )[0]  # fmt: skip
    by_key = {
        (c.role, c.pp, c.batch): float(found.load[row, 0]) for row, c in enumerate(found.configs)
    }
    # Two iterations in flight: twice the throughput, half the batch in each.
    assert by_key["prefill", 2, 1] == pytest.approx(0.5 * by_key["prefill", 1, 1])
    assert by_key["decode", 2, 1] == pytest.approx(0.5 * by_key["decode", 1, 1])
    assert ("decode", 1, 16) not in by_key


def test_a_transfer_takes_the_slower_of_the_two_links() -> None:
    slow = replace(DEVICE, type="slow", host_bytes_per_s=1e9)
    demand = demand_of_trace([(100.0, 50.0)], 2.0, "m")
    pools = evaluate(demand, {"d": DEVICE, "slow": slow}, {"m": SHAPE}, SPACE, clockwork)[0]
    moved = SHAPE.kv_bytes(100.0)
    extra: dict[tuple[str, str], float] = {}
    for row, config in enumerate(pools.configs):
        if config.role != "colocated" and config.batch == 1:
            ((phase, seconds),) = way_seconds(pools, row, 0)
            alone = pools.first_path_s if phase == "prefill" else pools.rest_path_s
            extra[config.device, phase] = seconds - float(alone[row, 0])
    for first, second in (("d", "d"), ("d", "slow"), ("slow", "d"), ("slow", "slow")):
        least = moved / min({"d": 2e10, "slow": 1e9}[name] for name in (first, second))
        charged = extra[first, "prefill"] + extra[second, "decode"]
        assert least <= charged <= 2.0 * least + NETWORK_LATENCY_S + 1e-12


def test_load_is_in_proportion_to_the_rate() -> None:
    slow, fast = pools_at(1.0), pools_at(10.0)
    for config, pool in slow.items():
        assert fast[config]["load"] == pytest.approx(10.0 * pool["load"])


def test_the_front_against_all_pairs() -> None:
    rng = np.random.default_rng(1)
    points = np.round(rng.uniform(0, 10, (300, 3)), 1)
    points[5, 1] = np.inf
    kept = pareto_front(points)
    for index, point in enumerate(points):
        beaten = ((points <= point).all(axis=1) & (points < point).any(axis=1)).any()
        if not np.isfinite(point).all() or beaten:
            assert not kept[index]
    unique = {tuple(point) for point in points[kept]}
    assert len(unique) == kept.sum()
    for point in points:
        if np.isfinite(point).all():
            assert (points[kept] <= point).all(axis=1).any()


def test_cutting_to_the_front_loses_no_fleet() -> None:
    """With all pools kept the sizing finds nothing cheaper."""
    from gangline.planner.tco import sizing

    devices = {
        f"d{i}": DeviceSpec(
            f"d{i}", "gpu", {"bf16": flops * 1e12}, int(gb * 1e9), gbps * 1e9, tdp_w=300.0,
            link_bytes_per_s=2e11, host_bytes_per_s=3e10,
        )
        for i, (flops, gbps, gb) in enumerate(((300, 2000, 40), (900, 2500, 80), (400, 4000, 90)))
    }  # fmt: skip
    market = Market(devices, {name: (Offer(usd),) for name, usd in zip(devices, (1.1, 3.0, 2.3), strict=True)})  # fmt: skip
    rows = [(200.0, 50.0)] * 3 + [(3000.0, 400.0)]
    space = SearchSpace(tps=(1, 2), pps=(1,), batches=(1, 8, 64), utilisations=(0.5, 0.85))
    options = PlanOptions(space=space, models=stated(Efficiency()), max_gap=0.0)
    for rate, seconds in ((1.0, 30.0), (20.0, 8.0), (60.0, 4.0)):
        demand = demand_of_trace(rows, rate, "llama-3.1-8b")
        search = make_search(demand, Slo(seconds), market, options)
        cut = search.solve(market, seconds)
        everything = search.anew()
        kept = sizing.kept_rows
        try:
            sizing.kept_rows = lambda pools, *rest: np.isfinite(pools.load).any(axis=1)
            whole = everything.solve(market, seconds)
        finally:
            sizing.kept_rows = kept
        assert cut is not None and whole is not None
        assert len(cut.model.ways) < len(whole.model.ways)
        # Pools within 5 % in speed stand for each other, so the cut may cost a little.
        assert cut.sizing.usd_per_hour <= whole.sizing.usd_per_hour * 1.02 + 1e-9
        assert cut.sizing.usd_per_hour >= whole.sizing.usd_per_hour - 1e-9
