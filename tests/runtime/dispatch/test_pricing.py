"""Prices of a fleet, by the second and by the token."""

from __future__ import annotations

from pytest import approx

from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.fleet import Fleet, FleetDevice
from gangline.runtime.dispatch.pricing import Pricing

CPU = FleetDevice("cpu", DeviceSpec("cpu", cores=8), usd_per_hour=0.36)
API = FleetDevice("api", DeviceSpec("api", "api"), usd_per_mtok_in=2.0, usd_per_mtok_out=8.0)
PRICING = Pricing(Fleet("f", (CPU, API)))


def test_seconds_of_a_device_and_of_a_core() -> None:
    assert PRICING.busy_usd("cpu/3", 10.0) == approx(0.001)
    assert PRICING.core_usd("cpu", 10.0) == approx(0.001 / 8)


def test_tokens() -> None:
    assert PRICING.prompt_usd("api/0", 500_000) == approx(1.0)
    assert PRICING.output_usd("api/0", 1_000) == approx(0.008)
    assert PRICING.output_usd("cpu/0", 1_000) == 0.0


def test_what_is_not_known_costs_nothing() -> None:
    assert PRICING.busy_usd("gpu/0", 10.0) == 0.0
    assert Pricing(None).core_usd("cpu", 1.0) == 0.0
