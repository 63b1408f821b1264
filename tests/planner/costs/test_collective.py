"""Collectives: ring traffic, the table's byte conventions, and what an unknown kind says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.fit_cost_model.data import find_shared_data
from gangline.ir.errors import ConfigError
from gangline.ir.specs.device import DeviceSpec
from gangline.planner.catalogue import catalogue, find_type
from gangline.planner.costs.collective import (
    TRAFFIC,
    collective_interval,
    collective_s,
    collective_source,
    kind_of,
)
from gangline.planner.costs.constants import CONSTANTS_PATH

NEEDS_DATA = pytest.mark.skipif(
    find_shared_data() is None, reason="the shared measurements are absent (GANGLINE_SHARED_DATA)"
)


def spec(name: str) -> DeviceSpec:
    return find_type(name).spec


def test_one_device_needs_no_collective() -> None:
    seconds = collective_s(spec("H100-SXM-80"), "all_reduce", 1e6, np.array([1, 2]))
    assert seconds[0] == 0.0 and seconds[1] > 0.0


@pytest.mark.parametrize("name", ["H100-SXM-80", "GB200", "A100-SXM-80", "MI325X"])
def test_large_all_reduce_moves_twice_its_bytes_over_the_link(name: str) -> None:
    device = spec(name)
    ideal = 2.0 * 7 / 8 * 2**30 / device.link_bytes_per_s
    assert 0.9 < float(collective_s(device, "all_reduce", 2**30, 8)) / ideal < 1.8


def test_an_all_reduce_is_about_a_reduce_scatter_and_an_all_gather() -> None:
    device = spec("A100-SXM-80")
    both = float(collective_s(device, "reduce_scatter", 2**28, 4))
    both += float(collective_s(device, "all_gather", 2**28, 4))
    assert float(collective_s(device, "all_reduce", 2**28, 4)) == pytest.approx(both, rel=0.15)


def test_small_messages_wait_for_hops_not_bytes() -> None:
    device = spec("H100-SXM-80")
    two, eight = (float(collective_s(device, "all_reduce", 1024, n)) for n in (2, 8))
    assert eight > 2.0 * two
    assert float(collective_s(device, "all_reduce", 2048, 8)) == pytest.approx(eight, rel=0.01)
    assert float(collective_s(device, "all_to_all", 1024, 8)) < 0.7 * eight


def test_middling_messages_wait_for_more_than_small_ones() -> None:
    # Point-to-point exchanges have no quick protocol worth the name.
    device = spec("H200-SXM-141")
    for nbytes, least, most in ((2**16, 1.2, 2.0), (2**20, 2.0, 3.0)):
        small, middling = (
            float(collective_s(device, "all_to_all", size, 8)) for size in (1024, nbytes)
        )
        assert least < middling / small < most


def test_without_a_link_messages_cross_the_host() -> None:
    linked, hosted = spec("H100-SXM-80"), spec("H100-PCIE-80")
    ratio = collective_s(hosted, "all_reduce", 2**28, 2) / collective_s(
        linked, "all_reduce", 2**28, 2
    )
    assert 4.0 < float(ratio) < 20.0
    assert collective_source(hosted) == "spec" and collective_source(linked) == "fitted"


def test_seconds_grow_with_bytes_for_every_kind_and_device() -> None:
    sizes = 2.0 ** np.arange(8, 31)
    for row in catalogue().values():
        if row.spec.kind == "api":
            continue
        for kind in TRAFFIC:
            for n in (2, 4, 8):
                assert np.all(np.diff(collective_s(row.spec, kind, sizes, n)) >= 0.0)


def test_synonyms_and_an_unknown_kind() -> None:
    spelled = ["AllReduce", "all-gather", "reduce_scatter", "alltoall", "sendrecv", "p2p"]
    assert [kind_of(name) for name in spelled] == [
        "all_reduce",
        "all_gather",
        "reduce_scatter",
        "all_to_all",
        "send_recv",
        "send_recv",
    ]
    with pytest.raises(ConfigError, match="all_reduce, all_gather"):
        collective_s(spec("L40S"), "broadcast", 1.0, 2)


def test_intervals_are_wider_where_the_link_was_not_measured() -> None:
    low, high = collective_interval(spec("H100-SXM-80"))
    wide_low, wide_high = collective_interval(spec("MI325X"))
    assert wide_low < low < 1.0 < high < wide_high


def test_nothing_goes_faster_than_its_link() -> None:
    sizes = 2.0 ** np.arange(8, 35)
    for row in catalogue().values():
        link = row.spec.link_bytes_per_s or row.spec.host_bytes_per_s
        if row.spec.kind == "api" or not link:
            continue
        for kind, traffic in TRAFFIC.items():
            # Switches that reduce in the network spare a ring's second pass over the link.
            limit = 1.15 if kind == "all_reduce" else 1.0
            for n in (2, 4, 8):
                wire = traffic(np.array(float(n))) * sizes
                rate = wire / collective_s(row.spec, kind, sizes, n) / link
                assert rate.max() < limit, (row.spec.type, kind, n)


def test_the_slots_of_one_machine_are_no_property_of_its_devices_generation() -> None:
    # The eight L40S that were measured share what one slot gives; other Ada boards need not.
    for name in ("L4", "RTX-4090", "A10", "T4", "H100-PCIE-80"):
        device = spec(name)
        seconds = float(collective_s(device, "all_reduce", 2**28, 8))
        share = 2.0 * 7 / 8 * 2**28 / seconds / device.host_bytes_per_s
        assert 0.2 < share < 0.6, name
        assert collective_source(device) == "spec"
        assert collective_interval(device)[1] > 4.0
    l40s = spec("L40S")
    assert float(collective_s(l40s, "all_reduce", 2**28, 8)) > 0.2
    assert collective_source(l40s) == "measured"


@pytest.mark.parametrize(("name", "least"), [("A100-SXM-80", 210e9), ("H200-SXM-141", 400e9)])
def test_the_largest_all_reduce_comes_near_the_link(name: str, least: float) -> None:
    seconds = float(collective_s(spec(name), "all_reduce", 2**31, 8))
    assert least < 2.0 * 7 / 8 * 2**31 / seconds < 1.05 * spec(name).link_bytes_per_s


@NEEDS_DATA
@pytest.mark.parametrize("link", ["nvlink/ampere", "nvlink/hopper", "nvlink/blackwell"])
def test_large_messages_of_every_kind_and_number_are_near_their_table(link: str) -> None:
    from benchmarks.fit_cost_model import collective as fit

    stated = json.loads((CONSTANTS_PATH / "collective.json").read_text(encoding="utf-8"))
    for rows in fit.load():
        if rows.link == link and rows.table.startswith("aiconfigurator"):
            for n in (2.0, 4.0, 8.0):
                large = (rows.size >= 2**27) & (rows.ranks == n)
                off = rows.predicted(stated["links"][link])[large] / rows.seconds[large]
                assert abs(float(np.median(np.log(off)))) < 0.16, (rows.kind, n)


@NEEDS_DATA
def test_tables_that_count_elements_and_bytes_agree() -> None:
    # The same H200 all-reduce in two tables: wrong by two if elements were read as bytes.
    from benchmarks.fit_cost_model import collective as fit

    tables = {
        rows.table.split("/")[0]: rows
        for rows in fit.load()
        if rows.kind == "all_reduce" and rows.spec.type == "H200-SXM-141"
    }
    times = [
        float(rows.seconds[(rows.size == 2**27) & (rows.ranks == 8)][0]) for rows in tables.values()
    ]
    assert len(times) == 2 and times[0] == pytest.approx(times[1], rel=0.3)


@NEEDS_DATA
@pytest.mark.parametrize("link", ["nvlink/hopper", "nvlink/blackwell", "nvlink/ampere"])
def test_seen_generation_error_and_constants_are_what_the_script_fits(link: str) -> None:
    from benchmarks.fit_cost_model import collective as fit

    stated = json.loads((CONSTANTS_PATH / "collective.json").read_text(encoding="utf-8"))
    members = [rows for rows in fit.load() if rows.link == link]
    again = fit.fit_rows(members)
    assert stated["links"][link]["launch_s"] == pytest.approx(again["launch_s"], rel=1e-3)
    assert stated["links"][link]["share"] == pytest.approx(again["share"], rel=1e-3)
    for rows in members:
        if rows.kind == "all_reduce" and rows.table.startswith("aiconfigurator"):
            off = np.abs(rows.predicted(again) / rows.seconds - 1.0)
            assert np.median(off) < 0.10
