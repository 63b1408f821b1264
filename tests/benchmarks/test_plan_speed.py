"""The speed benchmark measures what it says, and compares like with like."""

from __future__ import annotations

import itertools

import pytest

from benchmarks.plan_speed import compared, configurations, estimates, gangline, pairs, stage_price


def test_figures_are_medians_of_turns_and_floors_are_of_the_same_run() -> None:
    ours, floor = itertools.cycle([9.0, 2.0, 4.0, 3.0]), itertools.cycle([1.0])
    row = compared(lambda: next(ours), lambda: next(floor), 3, target_s=2.5)
    # The first round warms up and is not counted.
    assert (row["median_s"], row["fastest_s"], row["slowest_s"]) == (3.0, 2.0, 4.0)
    assert row["times_the_floor"] == 3.0 and row["met"] is False


def test_an_estimate_costs_more_than_its_floor_and_less_than_a_millisecond() -> None:
    ours, floor = estimates()
    assert floor() < ours() < 1e-3
    assert stage_price()() < 1e-2


def test_a_million_configurations_are_counted_whole() -> None:
    ours, floor = configurations()
    assert 0.0 < floor() < ours() < 60.0


def test_every_figure_has_a_floor() -> None:
    assert {"warm_estimate", "million_configurations", "cold_plan"} <= set(pairs())


def test_commands_run_in_a_process_of_their_own() -> None:
    assert gangline("plan", "x")[-2:] == ["plan", "x"]
    fleet = gangline("plan", "x", fleet=True)[-1]
    with open(fleet, encoding="utf-8") as file:
        assert "H100-SXM-80" in file.read()
    pytest.importorskip("resource")
