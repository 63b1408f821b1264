"""The sums behind every price per hour, written out so that a reader can check them by hand.

Each line is `what = arithmetic = result`: the arithmetic uses only numbers that are shown, with
+ - x / ^ and brackets, and gives the result to the digits printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gangline.ir.specs.fleet import SECONDS_PER_HOUR

from .financing import HOURS_PER_YEAR, MONTHS_PER_YEAR, Financing, HourlyCost, Own, Rent, Reserve

NEGLIGIBLE = 1e-7
"""Interest below this share of the capital is lost among the digits a calculator shows."""


@dataclass(frozen=True, slots=True)
class Line:
    """One sum: a name, its arithmetic in plain numbers, its result and the result's unit."""

    name: str
    arithmetic: str
    result: float
    unit: str = "USD/h"

    def to_json(self) -> dict[str, Any]:
        """Give the line as plain JSON."""
        return asdict(self)


def number(value: float) -> str:
    """Write a number in full: up to nine significant digits, no exponent."""
    text = f"{value:.9g}"
    return f"{value:.12f}".rstrip("0").rstrip(".") if "e" in text else text


def hourly_lines(
    terms: HourlyCost,
    financing: Financing,
    list_usd: float | None,
    capex: float | None,
    watts: float,
) -> tuple[Line, ...]:
    """Write out the price of one device-hour.

    Args:
        terms: what was computed; a quoted price has no arithmetic of its own.
        list_usd: on-demand price per hour it was computed from.
        capex: purchase price it was computed from.
        watts: TDP.
    """
    if terms.principal or terms.interest or terms.power:
        if isinstance(financing, Own) and capex is not None:
            return _own(terms, financing, capex, watts)
        return ()
    if list_usd is None:
        return (Line("price", number(terms.rent), terms.total),)
    share = 0.0
    if isinstance(financing, Reserve):
        share = financing.discount
    elif isinstance(financing, Rent) and financing.spot:
        share = financing.spot_discount
    plain = number(list_usd)
    if share and abs(list_usd * (1.0 - share) - terms.total) <= 1e-9 * max(1.0, list_usd):
        return (Line("price", f"{plain} x (1 - {number(share)})", terms.total),)
    return (Line("price", number(terms.total), terms.total),)


def _own(terms: HourlyCost, own: Own, capex: float, watts: float) -> tuple[Line, ...]:
    hours = f"({number(own.years)} x {number(HOURS_PER_YEAR)} x {number(own.utilisation)})"
    residual = f"{number(capex)} x {number(own.residual_share)}"
    lines = []
    if own.count_principal:
        lines.append(
            Line("principal", f"({number(capex)} - {residual}) / {hours}", terms.principal)
        )
    spent = own.years * HOURS_PER_YEAR * own.utilisation
    seen = terms.interest * spent > NEGLIGIBLE * capex
    interest = _interest(own, number(capex), residual) if seen else "0"
    lines.append(Line("interest", f"{interest} / {hours}", terms.interest))
    power = f"{number(watts)} / 1000 x {number(own.load)} x {number(own.pue)}"
    lines.append(Line("power", f"{power} x {number(own.usd_per_kwh)}", terms.power))
    if terms.host:
        both = f"({number(terms.principal)} + {number(terms.interest)})"
        lines.append(Line("host", f"{number(own.host_share)} x {both}", terms.host))
    if terms.upkeep:
        upkeep = f"{number(own.upkeep_per_year)} x {number(capex)} / {number(HOURS_PER_YEAR)}"
        lines.append(Line("upkeep", upkeep, terms.upkeep))
    parts = [line.result for line in lines]
    lines.append(Line("one device-hour", " + ".join(map(number, parts)), terms.total))
    return tuple(lines)


def _interest(own: Own, capex: str, residual: str) -> str:
    """Write the interest over all years: payments of an annuity less what they retire."""
    months = f"({number(own.years)} x {MONTHS_PER_YEAR})"
    rate = f"({number(own.rate)} / {MONTHS_PER_YEAR})"
    grown = f"(1 + {rate}) ^ {months}"
    if own.rule == "compound":
        return f"{capex} x ({grown} - 1)"
    payment = f"({capex} - {residual} / {grown}) x {rate} / (1 - 1 / {grown})"
    return f"({payment} x {months} + {residual} - {capex})"


def fleet_lines(
    fleet: tuple[Mapping[str, Any], ...],
    usd_per_hour: float,
    jobs_per_s: float,
    tokens_per_job: float,
) -> tuple[Line, ...]:
    """Write out what a fleet costs an hour, a thousand jobs and a million tokens.

    Args:
        fleet: rows with device, role, count and usd_per_hour (of all of them).
    """
    lines = [
        Line(
            f"{row['device']} ({row['role']})",
            f"{number(row['count'])} x {number(row['usd_per_hour'] / row['count'])}",
            row["usd_per_hour"],
        )
        for row in fleet
    ]
    total = " + ".join(number(row["usd_per_hour"]) for row in fleet)
    hourly = f"({number(jobs_per_s)} x {SECONDS_PER_HOUR:g})"
    lines.append(Line("fleet", total, usd_per_hour))
    per_1k = 1000.0 * usd_per_hour / (jobs_per_s * SECONDS_PER_HOUR)
    usd = number(usd_per_hour)
    lines.append(Line("1,000 jobs", f"1000 x {usd} / {hourly}", per_1k, "USD"))
    if tokens_per_job > 0.0:
        tokens = number(tokens_per_job)
        per_mtok = per_1k * 1e3 / tokens_per_job
        lines.append(
            Line("1,000,000 tokens", f"1000000 x {usd} / ({hourly} x {tokens})", per_mtok, "USD")
        )
    return tuple(lines)
