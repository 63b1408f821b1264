"""The catalogue of device types: complete rows, sources, near matches."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from gangline.ir.errors import ConfigError
from gangline.planner.catalogue import catalogue, find_type, near_matches, spec_from_json

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "devices.json"
WANTED = {
    "cpu", "T4", "V100-SXM-16", "A10", "A40", "L4", "L40S", "A100-SXM-80", "H100-SXM-80",
    "H200-SXM-141", "B200-SXM-192", "MI300X-192", "Gaudi3-128",
}  # fmt: skip


def test_the_wanted_types_are_there() -> None:
    assert set(catalogue()) >= WANTED


def test_every_row_has_figures_a_price_and_their_sources() -> None:
    for name, row in catalogue().items():
        assert row.confidence in ("low", "medium", "high")
        assert row.sources.get("usd_per_hour"), name
        assert row.spec.efficiency
        if row.spec.kind == "api":
            continue
        assert row.usd_per_hour, name
        assert {"flops", "memory", "tdp_w"} <= row.sources.keys()
        assert row.spec.source
        assert row.spec.memory_bytes > 10**10 and row.spec.tdp_w > 0
        assert 1e10 < row.spec.memory_bytes_per_s < 1e13


def test_rates_are_dense() -> None:
    """No figure with sparsity slipped in: int8 and fp8 are at most twice the 16-bit rate."""
    for row in catalogue().values():
        flops = row.spec.flops
        if row.spec.kind == "gpu" and "fp16" in flops:
            assert flops.get("int8", 0.0) <= 2.03 * flops["fp16"]
            assert flops.get("fp8", 0.0) <= 2.03 * flops["fp16"]
            assert flops["fp16"] <= 2.3e15
    assert catalogue()["H100-SXM-80"].spec.flops["bf16"] == pytest.approx(989e12)


def test_rows_survive_json_and_match_the_schema() -> None:
    rows = [json.loads(json.dumps(row.to_json())) for row in catalogue().values()]
    specs = [spec_from_json(row) for row in rows]
    assert specs == [row.spec for row in catalogue().values()]
    plain = {key: rows[0][key] for key in rows[0] if key not in EXTRA}
    document = {"devices": [plain], "catalogue": rows}
    jsonschema.validate(document, json.loads(SCHEMA.read_text(encoding="utf-8")))


EXTRA = ("usd_per_hour", "confidence", "sources")


def test_an_unknown_type_names_its_neighbours() -> None:
    with pytest.raises(ConfigError, match=r"'h100'.*Did you mean H100-SXM-80.*gangline devices"):
        find_type("h100", where="fleet.toml:3")
    with pytest.raises(ConfigError) as caught:
        find_type("zzzz")
    assert "Did you mean" not in caught.value.next_step


def test_near_matches_are_ordered() -> None:
    assert near_matches("a100-sxm", catalogue())[0] == "A100-SXM-80"
    assert near_matches("", catalogue()) == []
