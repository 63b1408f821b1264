"""What-if questions as changes of a market: without a type, with devices already owned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gangline.ir.errors import ConfigError

from .market import Market


@dataclass(frozen=True, slots=True)
class Added:
    """Devices to have in stock: `--add L4=4` (owned, at no charge) or `--add L4=4@0.35`."""

    device: str
    count: int
    usd_per_hour: float = 0.0


def parse_added(text: str, *, where: str = "--add") -> Added:
    """Read `TYPE=COUNT` or `TYPE=COUNT@USD_PER_HOUR`; ConfigError says what is wrong."""
    name, equals, rest = text.strip().partition("=")
    count, at, price = rest.partition("@")
    if not equals or not name.strip() or (at and not price.strip()):
        raise ConfigError(
            f"{text!r} names no stock",
            where=where,
            next_step="Write TYPE=COUNT or TYPE=COUNT@USD_PER_HOUR, for example L4=4@0.35.",
        )
    try:
        found = Added(name.strip(), int(count), float(price) if at else 0.0)
    except ValueError:
        raise ConfigError(
            f"{rest!r} is no count of devices with a price",
            where=where,
            next_step="The count is a whole number, the price USD per device-hour.",
        ) from None
    if found.count < 1 or not math.isfinite(found.usd_per_hour) or found.usd_per_hour < 0.0:
        raise ConfigError(
            f"{text!r} is no stock",
            where=where,
            next_step="Give a count of 1 or more and a price of 0 or more.",
        )
    return found


def changed_market(
    market: Market, without: Sequence[str] = (), added: Sequence[Added] = ()
) -> Market:
    """Give a market without some types and with some in stock.

    A type both removed and added is to be had from the stock only.

    Raises:
        ConfigError: a type the market does not know, with near matches.
    """
    changed = market.without(without) if without else market
    for stock in added:
        changed = changed.with_stock(stock.device, stock.count, stock.usd_per_hour)
    return changed
