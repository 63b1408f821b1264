"""From prices people quote to a market: which price counts for a type, and who says so."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gangline.planner.catalogue import CatalogueRow

from .financing import Financing, HourlyCost, Own, Rent, Reserve
from .market import Market, Offer, market_of
from .price_feed import PriceFeed, PriceQuote, Tier

NOBODY = "no source given"


@dataclass(frozen=True, slots=True)
class PriceNote:
    """Where the price of one device type comes from.

    Attributes:
        list_usd_per_hour: on-demand price the financing started from; None where a price was
            quoted for these very terms, or the device is owned.
        price_low, price_high: ends of the public offers the catalogue knows.
        confidence: `low`, `medium` or `high`; `quoted` for the user's own prices.
    """

    source: str
    date: str = ""
    confidence: str = ""
    region: str = ""
    list_usd_per_hour: float | None = None
    capex_usd: float | None = None
    price_low: float | None = None
    price_high: float | None = None


def wanted_tier(financing: Financing) -> Tier:
    """Name the tier of quotes that need no financing on top."""
    if isinstance(financing, Own):
        return "owned"
    if isinstance(financing, Reserve):
        return "reserved"
    return "spot" if financing.spot else "on_demand"


def quoted_market(
    rows: Mapping[str, CatalogueRow],
    financing: Financing,
    feed: PriceFeed | None = None,
    region: str = "",
) -> tuple[Market, Mapping[str, PriceNote]]:
    """Price every row: by a quote of the tier wanted, by a quoted list price, or by the catalogue.

    Quotes of the tier `owned` with a stock are offered beside what can be rented.
    """
    devices, offers, notes = {}, {}, {}
    for name, row in rows.items():
        if row.spec.kind == "api":
            continue
        devices[name] = row.spec
        found, note = _price(name, row, financing, feed or PriceFeed(), region)
        owned = (feed or PriceFeed()).find(name, tier="owned", region=region)
        if owned is not None and owned.stock and not isinstance(financing, Own):
            found = (_offer(owned, "owned, as quoted"), *found)
            note = note or _quoted(owned, row)
        if found:
            offers[name], notes[name] = found, note or PriceNote(NOBODY)
    return Market(devices, offers), notes


def _price(
    name: str, row: CatalogueRow, financing: Financing, feed: PriceFeed, region: str
) -> tuple[tuple[Offer, ...], PriceNote | None]:
    tier = wanted_tier(financing)
    quote = feed.find(name, tier=tier, region=region)
    if quote is not None:
        return (_offer(quote, f"{tier.replace('_', ' ')}, as quoted"),), _quoted(quote, row)
    listed = feed.find(name, region=region)
    usd = row.usd_per_hour if listed is None else listed.usd_per_hour
    bare = replace(row, usd_per_hour=usd)
    market = market_of({name: bare}, financing)
    offers = market.offers.get(name, ())
    if not offers:
        return (), None
    bought = isinstance(financing, Own) and row.capex_usd is not None
    note = PriceNote(
        source=row.sources.get("capex_usd" if bought else "usd_per_hour", NOBODY),
        date=row.price_date,
        confidence=row.confidence,
        list_usd_per_hour=None if bought else usd,
        capex_usd=row.capex_usd if bought else None,
        price_low=row.price_low,
        price_high=row.price_high,
    )
    if listed is None or bought:
        return offers, note
    limit = math.inf if listed.stock is None else float(listed.stock)
    quoted = replace(_quoted(listed, row), list_usd_per_hour=usd)
    return tuple(replace(offer, limit=limit) for offer in offers), quoted


def _offer(quote: PriceQuote, how: str) -> Offer:
    limit = math.inf if quote.stock is None else float(quote.stock)
    return Offer(quote.usd_per_hour, limit, HourlyCost(rent=quote.usd_per_hour, how=how))


def _quoted(quote: PriceQuote, row: CatalogueRow) -> PriceNote:
    return PriceNote(
        source=quote.source or NOBODY,
        date=quote.date,
        confidence="quoted",
        region=quote.region,
        price_low=row.price_low,
        price_high=row.price_high,
    )


def limited(market: Market, stock: Mapping[str, int]) -> Market:
    """Give the market with no more than so many devices of some types to be had.

    Raises:
        ConfigError: a type the market does not know, with near matches.
    """
    offers = dict(market.offers)
    for name, count in stock.items():
        market.check_type(name)
        offers[name] = tuple(
            replace(offer, limit=min(offer.limit, float(count))) for offer in offers.get(name, ())
        )
    return replace(market, offers=offers)


def spread_markets(market: Market, notes: Mapping[str, PriceNote]) -> Mapping[str, Market]:
    """Give the markets at the lowest and at the highest public offers, as far as they are known."""
    found = {}
    for label, which in (("lowest", "price_low"), ("highest", "price_high")):
        changed = market
        for name, note in notes.items():
            end = getattr(note, which)
            if end is not None and note.list_usd_per_hour:
                changed = changed.scaled(end / note.list_usd_per_hour, [name])
        if changed is not market:
            found[f"all prices at the {label} public offer"] = changed
    return found


def financing_markets(
    rows: Mapping[str, CatalogueRow], financing: Financing
) -> Mapping[str, Market]:
    """Give the markets under other forms of financing at their standard terms."""
    forms: Mapping[str, Financing] = {
        "rented on demand": Rent(),
        "reserved for a year at -30 %": Reserve(),
        "owned for 4 years at 8 %": Own(),
    }
    return {
        f"all {label}": market_of(rows, form)
        for label, form in forms.items()
        if type(form) is not type(financing)
    }
