"""Prices of device types by tier and region, from a file of one's own or a cloud's.

A price file is TOML:

    [[price]]
    device = "H100-SXM-80"       # a type of the catalogue
    usd_per_hour = 2.10          # one device
    tier = "reserved"            # on_demand (default), spot, reserved or owned
    region = "eu-north"
    date = "2026-05"
    source = "quote 1234"
    stock = 64                   # devices to be had; without it as many as wanted

or a CSV in the form of SkyPilot's catalogues (see `sky_prices`). The text is untrusted: what is
wrong in it is an error that names the file and the line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median_low
from typing import Any, Literal, get_args

from gangline.ir.errors import ConfigError
from gangline.planner.catalogue import find_type
from gangline.planner.toml_file import Place, check_keys, parse_toml, read_text, required, tables

Tier = Literal["on_demand", "spot", "reserved", "owned"]
TIERS: tuple[Tier, ...] = get_args(Tier)
Choice = Literal["cheapest", "median"]

MAX_PRICE_FILE_BYTES = 50_000_000
PRICE_KEYS: Mapping[str, type] = {
    "device": str,
    "usd_per_hour": float,
    "tier": str,
    "region": str,
    "date": str,
    "source": str,
    "stock": int,
}


@dataclass(frozen=True, slots=True)
class PriceQuote:
    """What one device costs an hour, where and on which terms.

    Attributes:
        usd_per_hour: USD an hour of one device.
        tier: `on_demand`, `spot`, `reserved` or `owned` (running cost of one's own).
        region: the seller's name of the place, or empty.
        source: who said so.
        date: when, as year, year-month or year-month-day, or empty.
        stock: devices to be had at this price; None for no stated limit.
    """

    usd_per_hour: float
    tier: Tier = "on_demand"
    region: str = ""
    source: str = ""
    date: str = ""
    stock: int | None = None


@dataclass(frozen=True, slots=True)
class PriceFeed:
    """Quotes by device type; `unmapped` counts the rows of each name that no type answers to."""

    quotes: Mapping[str, tuple[PriceQuote, ...]] = field(default_factory=dict)
    unmapped: Mapping[str, int] = field(default_factory=dict)

    def find(
        self,
        type: str,
        *,
        tier: Tier = "on_demand",
        region: str = "",
        choice: Choice = "cheapest",
    ) -> PriceQuote | None:
        """Choose one quote of a device type, or None where there is none.

        `region` keeps the quotes whose region starts with it (`us` means every `us-...`), and
        those without a region. The median is the lower of the middle two.
        """
        near = [
            quote
            for quote in self.quotes.get(type, ())
            if quote.tier == tier and (not quote.region or quote.region.startswith(region))
        ]
        if not near:
            return None
        ranked = sorted(near, key=lambda quote: quote.usd_per_hour)
        if choice == "cheapest":
            return ranked[0]
        middle = median_low([quote.usd_per_hour for quote in ranked])
        return next(quote for quote in ranked if quote.usd_per_hour == middle)

    def over(self, base: PriceFeed) -> PriceFeed:
        """Lay these quotes over `base`: a type and tier quoted here hides the base's quotes."""
        merged = dict(base.quotes)
        for name, own in self.quotes.items():
            tiers = {quote.tier for quote in own}
            kept = tuple(quote for quote in merged.get(name, ()) if quote.tier not in tiers)
            merged[name] = own + kept
        return PriceFeed(merged, {**base.unmapped, **self.unmapped})


def gather(
    quotes: Iterable[tuple[str, PriceQuote]], unmapped: Mapping[str, int] | None = None
) -> PriceFeed:
    """Gather quotes into a feed, in the order given."""
    found: dict[str, list[PriceQuote]] = {}
    for name, quote in quotes:
        found.setdefault(name, []).append(quote)
    return PriceFeed({name: tuple(own) for name, own in found.items()}, unmapped or {})


def read_prices(path: str | Path) -> PriceFeed:
    """Read a price file by its suffix, `.toml` or `.csv`; ConfigError says what is wrong where."""
    file = Path(path)
    text = read_text(file, "price file", MAX_PRICE_FILE_BYTES, "Check the path of the price file.")
    suffix = file.suffix.lower()
    if suffix == ".toml":
        return parse_prices(text, file=str(file))
    if suffix == ".csv":
        from .sky_prices import parse_sky_prices

        return parse_sky_prices(text, file=str(file))
    raise ConfigError(
        f"A price file ends in .toml or .csv, not {suffix or 'nothing'!r}",
        where=str(file),
        next_step="Rename it, or write it in one of the two forms.",
    )


def parse_prices(text: str, *, file: str = "prices.toml") -> PriceFeed:
    """Parse and check a price file in TOML (the form is in this module's docstring)."""
    document = parse_toml(text, file, "price file", "Write [[price]] tables.")
    top = Place(file, text)
    check_keys(document, {"price": list}, top)
    rows = tables(document, "price", top)
    if not rows:
        raise top.error("The price file has no price", "Add a [[price]] with device and price.")
    return gather(
        _quote(table, Place(file, text, "price", index)) for index, table in enumerate(rows)
    )


def _quote(table: Mapping[str, Any], place: Place) -> tuple[str, PriceQuote]:
    check_keys(table, PRICE_KEYS, place)
    required(table, ("device", "usd_per_hour"), place)
    name = find_type(table["device"], where=place.where("device")).spec.type
    tier = table.get("tier", "on_demand")
    if tier not in TIERS:
        raise place.error(f"No price tier is called {tier!r}", f"Use {', '.join(TIERS)}.", "tier")
    plain = {key: table.get(key, "") for key in ("region", "source", "date")}
    price = float(table["usd_per_hour"])
    return name, PriceQuote(price, tier=tier, stock=table.get("stock"), **plain)
