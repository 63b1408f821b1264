"""What devices can be had, at which price, and how many of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gangline.ir.errors import ConfigError
from gangline.ir.specs.device import DeviceSpec
from gangline.planner.catalogue import CatalogueRow, find_type

from .financing import Financing, HourlyCost, Own

NO_TERMS = HourlyCost(how="price given")


@dataclass(frozen=True, slots=True)
class Offer:
    """Devices of one type at one price.

    Attributes:
        limit: how many; inf for any number.
        terms: how the price comes about, for the report.
    """

    usd_per_hour: float
    limit: float = math.inf
    terms: HourlyCost = NO_TERMS

    def __post_init__(self) -> None:
        if not math.isfinite(self.usd_per_hour) or self.usd_per_hour < 0.0:
            raise ConfigError(
                f"A price is {self.usd_per_hour:g} USD an hour",
                next_step="Give a number of 0 or more.",
            )
        if math.isnan(self.limit) or self.limit < 0.0:
            raise ConfigError(
                f"A stock is {self.limit:g} devices", next_step="Give a number of 0 or more."
            )


@dataclass(frozen=True, slots=True)
class Market:
    """Device types and their offers; a type without an offer cannot be had."""

    devices: Mapping[str, DeviceSpec]
    offers: Mapping[str, tuple[Offer, ...]]

    def __post_init__(self) -> None:
        for name, spec in self.devices.items():
            _check_row(name, spec)

    def check_type(self, name: str) -> None:
        """Raise ConfigError, with near matches, for a type the market does not know."""
        find_type(name, {known: CatalogueRow(spec) for known, spec in self.devices.items()})

    def usd(self, name: str) -> float:
        """Price of one more device of a type, stock aside; inf where there is none."""
        prices = [offer.usd_per_hour for offer in self.offers.get(name, ())]
        return max(prices, default=math.inf)

    def with_price(self, name: str, usd_per_hour: float) -> Market:
        """Give the market with one type's dearest offer at another price."""
        offers = sorted(self.offers.get(name, ()), key=lambda offer: offer.usd_per_hour)
        changed = replace(offers[-1] if offers else Offer(0.0), usd_per_hour=usd_per_hour)
        return replace(self, offers={**self.offers, name: (*offers[:-1], changed)})

    def scaled(self, factor: float, names: Sequence[str] | None = None) -> Market:
        """Give the market with prices multiplied, of all types or of those named."""
        offers = {
            name: tuple(
                replace(offer, usd_per_hour=offer.usd_per_hour * factor)
                if names is None or name in names
                else offer
                for offer in found
            )
            for name, found in self.offers.items()
        }
        return replace(self, offers=offers)

    def without(self, names: Sequence[str]) -> Market:
        """Give the market without some types; ConfigError for one it does not have."""
        for name in names:
            if name not in self.offers:
                self.check_type(name)
        left = {name: found for name, found in self.offers.items() if name not in names}
        return replace(self, offers=left)

    def only(self, names: Sequence[str]) -> Market:
        """Give the market with some types only."""
        left = {name: found for name, found in self.offers.items() if name in names}
        return replace(self, offers=left)

    def with_stock(self, name: str, count: float, usd_per_hour: float = 0.0) -> Market:
        """Give the market with `count` more devices at a price of their own (0: owned)."""
        self.check_type(name)
        stock = Offer(usd_per_hour, count, HourlyCost(rent=usd_per_hour, how="in stock"))
        return replace(self, offers={**self.offers, name: (stock, *self.offers.get(name, ()))})


def market_of(
    rows: Mapping[str, CatalogueRow],
    financing: Financing,
    *,
    prices: Mapping[str, float] | None = None,
) -> Market:
    """Price every row of a catalogue by one form of financing.

    Args:
        prices: USD per hour on demand by type, instead of the rows' own (or, when owning, of
            the price derived from capex).

    Types without a price are left out, as are remote endpoints.
    """
    given = prices or {}
    for name in given:
        find_type(name, rows)
    devices, offers = {}, {}
    for name, row in rows.items():
        cost = _price(row, financing, given.get(name))
        if row.spec.kind != "api":
            devices[name] = row.spec
            if cost is not None:
                offers[name] = (Offer(cost.total, terms=cost),)
    return Market(devices, offers)


def _price(row: CatalogueRow, financing: Financing, given: float | None) -> HourlyCost | None:
    if isinstance(financing, Own):
        if given is not None:
            return HourlyCost(rent=_checked(given, row), how="price given")
        if row.capex_usd is not None:
            return financing.hourly(row.capex_usd, row.spec.tdp_w)
        # CPU sockets and parts nobody sells singly are rented beside what is owned.
        rent = row.usd_per_hour
        return None if rent is None else HourlyCost(rent=rent, how="on demand: no capex known")
    listed = row.usd_per_hour if given is None else given
    return None if listed is None else financing.hourly(_checked(listed, row))


def _checked(price: float, row: CatalogueRow) -> float:
    if not math.isfinite(price) or price < 0.0:
        raise ConfigError(
            f"The price of {row.spec.type} is {price:g} USD an hour",
            where=f"price of {row.spec.type}",
            next_step="Give a number of 0 or more.",
        )
    return price


def _check_row(name: str, spec: DeviceSpec) -> None:
    if spec.kind == "api":
        return
    missing = [
        key for key in ("flops", "memory_bytes", "memory_bytes_per_s") if not getattr(spec, key)
    ]
    if missing:
        raise ConfigError(
            f"The row of {name!r} has no {' and no '.join(missing)}",
            where=f"device {name}",
            next_step="Give the figures; without them nothing can be planned on it.",
        )
