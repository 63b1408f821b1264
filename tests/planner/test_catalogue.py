"""The catalogue of device types: complete rows, sources, near matches."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from gangline.ir.errors import ConfigError
from gangline.planner.catalogue import (
    FORMER_NAMES,
    CatalogueRow,
    catalogue,
    find_type,
    near_matches,
    spec_from_json,
)

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "devices.json"
WANTED = {
    "cpu", "openai-api", "V100-SXM2-16", "T4", "A10", "L4", "A40", "RTX-A6000", "RTX-3090",
    "RTX-4090", "L40S", "A100-SXM-40", "A100-SXM-80", "A100-PCIE-80", "H100-SXM-80",
    "H100-PCIE-80", "H200-SXM-141", "B200-SXM-180", "GB200", "RTX-PRO-6000-BW", "B60", "MI250",
    "MI300X", "MI325X", "Gaudi2", "Gaudi3", "TPU-v5e", "Trainium2", "Xeon-8480-56c",
    "EPYC-9654-96c", "EPYC-9575F-64c", "Grace-72c", "GH200", "B300-SXM-288", "GB300",
}  # fmt: skip
UNPRICED = {"openai-api", "B60", "MI250", "GB300"}
HALF_RATE_16_BIT = {"RTX-3090", "RTX-4090"}  # their 16-bit units accumulate fp32 at half rate


def test_the_wanted_types_are_there() -> None:
    assert set(catalogue()) >= WANTED


def test_every_row_has_figures_and_their_sources() -> None:
    for name, row in catalogue().items():
        assert row.confidence in ("low", "medium", "high")
        assert row.sources.get("usd_per_hour"), name
        assert row.spec.efficiency
        if row.spec.kind == "api":
            continue
        assert {"flops", "memory", "tdp_w"} <= row.sources.keys()
        assert row.spec.source
        assert row.spec.memory_bytes > 10**10 and row.spec.tdp_w > 0
        assert 1e10 < row.spec.memory_bytes_per_s < 1e13


def test_every_price_is_ordered_dated_or_missing_and_said_so() -> None:
    for name, row in catalogue().items():
        prices = [row.price_low, row.usd_per_hour, row.price_high]
        known = [price for price in prices if price is not None]
        assert known == sorted(known) and all(price > 0 for price in known), name
        assert (row.usd_per_hour is None) == (name in UNPRICED)
        assert bool(row.price_date) == bool(known), name
        assert row.capex_usd is None or (row.capex_usd > 1000 and row.sources["capex_usd"])
        if name in UNPRICED - {"openai-api"}:
            assert "no public" in row.sources["usd_per_hour"]


def test_accelerators_say_their_units_links_and_generation() -> None:
    for name, row in catalogue().items():
        if row.spec.kind != "gpu":
            continue
        assert row.spec.units > 0 and row.spec.cache_bytes > 10**6, name
        assert row.spec.host_bytes_per_s > 0 and row.spec.vendor
        assert {"units", "link"} <= row.sources.keys()
    generation = {name: row.spec.generation for name, row in catalogue().items()}
    assert generation["GB200"] == generation["B300-SXM-288"] == "blackwell"
    assert generation["RTX-PRO-6000-BW"] == "blackwell-rtx"
    assert "bf16" not in catalogue()["V100-SXM2-16"].spec.flops


def test_rates_are_dense() -> None:
    """No figure with sparsity slipped in: int8 and fp8 are at most twice the 16-bit rate."""
    for name, row in catalogue().items():
        flops = row.spec.flops
        if row.spec.kind == "gpu" and "fp16" in flops:
            most = 4.03 if name in HALF_RATE_16_BIT else 2.03
            assert flops.get("int8", 0.0) <= most * flops["fp16"], name
            assert flops.get("fp8", 0.0) <= 2.03 * flops["fp16"], name
            assert flops["fp16"] <= 2.51e15
    assert catalogue()["H100-SXM-80"].spec.flops["bf16"] == pytest.approx(989e12, rel=1e-3)


def _shared_rows() -> list[dict[str, str]]:
    checkout = Path(__file__).resolve().parents[2]
    shared = os.environ.get("GANGLINE_SHARED_DATA", str(checkout.parent / "shared" / "data"))
    table = Path(shared) / "hardware" / "catalogue.csv"
    if not table.exists():
        pytest.skip("the shared measurements are not beside this checkout")
    with table.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


# Column of the shared table, where our row holds it, what one of its units is in ours, and the
# source that must say why when the two differ. Memory "GB" may be decimal or binary.
COMPARED: tuple[tuple[str, Callable[[CatalogueRow], float | None], tuple[float, ...], str], ...] = (
    ("fp16_bf16_tflops", lambda row: row.spec.flops.get("bf16") or row.spec.flops["fp16"],
     (1e12,), "flops"),
    ("fp8_tflops", lambda row: row.spec.flops["fp8"], (1e12,), "flops"),
    ("int8_tops", lambda row: row.spec.flops["int8"], (1e12,), "flops"),
    ("fp4_tflops", lambda row: row.spec.flops["fp4"], (1e12,), "flops"),
    ("mem_gb", lambda row: row.spec.memory_bytes, (1e9, 2.0**30), "memory"),
    ("mem_bw_gbps", lambda row: row.spec.memory_bytes_per_s, (1e9,), "memory"),
    ("scaleup_gbps_per_dir", lambda row: row.spec.link_bytes_per_s, (1e9,), "link"),
    ("host_link_gbps_per_dir", lambda row: row.spec.host_bytes_per_s, (1e9,), "link"),
    ("tdp_w", lambda row: row.spec.tdp_w, (1.0,), "tdp_w"),
    ("od_price_low", lambda row: row.price_low, (1.0,), "usd_per_hour"),
    ("od_price_mid", lambda row: row.usd_per_hour, (1.0,), "usd_per_hour"),
    ("od_price_high", lambda row: row.price_high, (1.0,), "usd_per_hour"),
    ("capex_usd", lambda row: row.capex_usd, (1.0,), "capex_usd"),
)  # fmt: skip


def test_figures_agree_with_the_shared_table_or_say_why_not() -> None:
    compared = 0
    for shared in _shared_rows():
        row = catalogue()[shared["device"]]
        for column, ours, units, source in COMPARED:
            if not shared[column]:
                continue
            theirs = [float(shared[column]) * unit for unit in units]
            near = any(ours(row) == pytest.approx(value, rel=0.03) for value in theirs)
            assert near or "differ" in row.sources[source], (shared["device"], column)
            compared += 1
    assert compared > 250


def test_rows_survive_json_and_match_the_schema() -> None:
    rows = [json.loads(json.dumps(row.to_json())) for row in catalogue().values()]
    specs = [spec_from_json(row) for row in rows]
    assert specs == [row.spec for row in catalogue().values()]
    plain = {key: rows[0][key] for key in rows[0] if key not in EXTRA}
    document = {"devices": [plain], "catalogue": rows}
    jsonschema.validate(document, json.loads(SCHEMA.read_text(encoding="utf-8")))


EXTRA = (
    "usd_per_hour", "confidence", "sources", "price_low", "price_high", "capex_usd", "price_date",
)  # fmt: skip


def test_former_names_still_mean_the_same_device() -> None:
    assert set(FORMER_NAMES.values()) <= set(catalogue())
    assert not set(FORMER_NAMES) & set(catalogue())
    assert find_type("MI300X-192").spec.type == "MI300X"


def test_an_unknown_type_names_its_neighbours() -> None:
    with pytest.raises(ConfigError, match=r"'h100'.*Did you mean H100-SXM-80.*gangline devices"):
        find_type("h100", where="fleet.toml:3")
    with pytest.raises(ConfigError) as caught:
        find_type("zzzz")
    assert "Did you mean" not in caught.value.next_step


def test_near_matches_are_ordered() -> None:
    assert near_matches("a100-sxm", catalogue())[0] == "A100-SXM-80"
    assert near_matches("", catalogue()) == []
