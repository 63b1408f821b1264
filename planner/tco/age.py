"""Cheaper by age: what prices become when older generations lose value every year."""

from __future__ import annotations

import math
from collections.abc import Mapping

from gangline.ir.errors import ConfigError

from .market import Market

RELEASED: Mapping[str, int] = {
    "volta": 2017,
    "turing": 2018,
    "ampere": 2020,
    "cdna2": 2021,
    "ada": 2022,
    "hopper": 2022,
    "gaudi2": 2022,
    "cdna3": 2023,
    "tpu-v5e": 2023,
    "blackwell": 2024,
    "gaudi3": 2024,
    "trainium2": 2024,
    "blackwell-rtx": 2025,
    "xe2": 2025,
}
"""Year each generation was announced for sale, from its maker's press release."""


def aged(market: Market, discount_per_year: float) -> Market:
    """Give the market with accelerator prices x (1 - discount)^(years behind the newest).

    Generations without a known year keep their price. ConfigError for a share out of range.
    """
    if not math.isfinite(discount_per_year) or not 0.0 <= discount_per_year < 1.0:
        raise ConfigError(
            f"The age discount is {discount_per_year:g} a year",
            next_step="Give a share of 0 or more and less than 1, for example 0.15.",
        )
    years = {
        name: RELEASED[spec.generation]
        for name, spec in market.devices.items()
        if spec.generation in RELEASED and name in market.offers
    }
    newest = max(years.values(), default=0)
    changed = market
    for name, year in years.items():
        changed = changed.scaled((1.0 - discount_per_year) ** (newest - year), [name])
    return changed
