"""What one device costs per hour when it is rented, reserved or owned, term by term.

Every form gives an `HourlyCost`: a record of terms that add up, so that a reader can check each
of them. Formulas, all per device:

    rent      list price, spot at (1 - spot_discount)
    reserve   list price x (1 - discount); the term in years is a commitment, printed with it
    own       principal   (capex - residual) / (hours owned x utilisation)
              interest    by the rule chosen (below) / (hours owned x utilisation)
              power       tdp_kW x load x PUE x USD/kWh
              host        host_share x (principal + interest): chassis, network, space
              upkeep      yearly share of capex for repair and staff / 8760

Interest rules. `annuity`: equal monthly payments at rate/12 on capex, of which the residual is
left as a last payment (the textbook loan: payment = P i / (1 - (1+i)^-n)). `compound`: interest
on the whole capex compounds monthly until the end, P ((1+i)^n - 1). The second reproduces the
"operating cost" column that arXiv 2507.19635 prints in its table 5, see `PAPER_OPERATING`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from gangline.ir.errors import ConfigError

HOURS_PER_YEAR = 8760.0
MONTHS_PER_YEAR = 12
INTEREST_RULES = ("annuity", "compound", "none")


@dataclass(frozen=True, slots=True)
class HourlyCost:
    """USD per device-hour, by term; `total` is their sum.

    Attributes:
        rent: what a cloud is paid; the other terms are 0 then.
        principal, interest, power, host, upkeep: of an owned device.
        how: the terms in words, for a report.
    """

    rent: float = 0.0
    principal: float = 0.0
    interest: float = 0.0
    power: float = 0.0
    host: float = 0.0
    upkeep: float = 0.0
    how: str = ""

    @property
    def total(self) -> float:
        """Sum of all terms, USD per hour."""
        return self.rent + self.principal + self.interest + self.power + self.host + self.upkeep

    def to_json(self) -> dict[str, Any]:
        """Give the terms that are not zero, and their sum."""
        terms = {field.name: getattr(self, field.name) for field in fields(self)}
        how = terms.pop("how")
        return {"usd_per_hour": self.total, "how": how, **{k: v for k, v in terms.items() if v}}


@dataclass(frozen=True, slots=True)
class Rent:
    """Pay by the hour: on demand, or spot at a discount and at the cloud's pleasure."""

    spot: bool = False
    spot_discount: float = 0.5

    def hourly(self, list_usd_per_hour: float) -> HourlyCost:
        """Cost of a device of that list price; ConfigError for a negative one."""
        _check("list price", list_usd_per_hour)
        _check_share("spot_discount", self.spot_discount)
        price = list_usd_per_hour * (1.0 - self.spot_discount if self.spot else 1.0)
        return HourlyCost(rent=price, how="spot" if self.spot else "on demand")


@dataclass(frozen=True, slots=True)
class Reserve:
    """Commit to a term for a discount on the list price."""

    years: float = 1.0
    discount: float = 0.3

    def hourly(self, list_usd_per_hour: float) -> HourlyCost:
        """Cost of a device of that list price, whether it is used or not."""
        _check("list price", list_usd_per_hour)
        _check("years", self.years, zero=False)
        _check_share("discount", self.discount)
        how = f"reserved {self.years:g} y at -{100 * self.discount:g} %"
        return HourlyCost(rent=list_usd_per_hour * (1.0 - self.discount), how=how)


@dataclass(frozen=True, slots=True)
class Own:
    """Buy the device and run it.

    Attributes:
        years: until it is written off.
        rate: interest per year, 0.08 for 8 %.
        rule: `annuity`, `compound` or `none` (module docstring).
        usd_per_kwh, load, pue: price of energy, share of TDP drawn on average, and power of the
            site over power of the device.
        host_share: chassis, network and space as a share of the device's capital cost.
        residual_share: resale value at the end as a share of capex.
        upkeep_per_year: repair and staff per year as a share of capex.
        utilisation: share of hours owned that the device is available to this work.
        count_principal: False leaves the purchase itself out, as the paper's column does.
    """

    years: float = 4.0
    rate: float = 0.08
    rule: str = "annuity"
    usd_per_kwh: float = 0.12
    load: float = 1.0
    pue: float = 1.0
    host_share: float = 0.0
    residual_share: float = 0.0
    upkeep_per_year: float = 0.0
    utilisation: float = 1.0
    count_principal: bool = True

    def hourly(self, capex_usd: float, tdp_w: float) -> HourlyCost:
        """Cost of a device of that price and power; ConfigError for terms out of range."""
        self._check(capex_usd, tdp_w)
        hours = self.years * HOURS_PER_YEAR * self.utilisation
        residual = capex_usd * self.residual_share
        principal = (capex_usd - residual) / hours if self.count_principal else 0.0
        interest = self._interest(capex_usd, residual) / hours
        return HourlyCost(
            principal=principal,
            interest=interest,
            power=tdp_w / 1000.0 * self.load * self.pue * self.usd_per_kwh,
            host=self.host_share * (principal + interest),
            upkeep=self.upkeep_per_year * capex_usd / HOURS_PER_YEAR,
            how=f"owned {self.years:g} y at {100 * self.rate:g} % ({self.rule}), "
            f"{self.usd_per_kwh:g} USD/kWh at {100 * self.load:g} % of TDP, PUE {self.pue:g}",
        )

    def _interest(self, capex: float, residual: float) -> float:
        """USD of interest over all years."""
        months = self.years * MONTHS_PER_YEAR
        monthly = self.rate / MONTHS_PER_YEAR
        if self.rule == "none" or monthly == 0.0:
            return 0.0
        grown = math.pow(1.0 + monthly, months)
        if grown == 1.0:  # interest too small to be told from none
            return 0.0
        if self.rule == "compound":
            return capex * (grown - 1.0)
        # The payments retire capex less the present value of the residual.
        payment = (capex - residual / grown) * monthly / (1.0 - 1.0 / grown)
        return max(0.0, payment * months + residual - capex)

    def _check(self, capex_usd: float, tdp_w: float) -> None:
        for name in ("years", "load", "utilisation"):
            _check(name, getattr(self, name), zero=False)
        for name in ("rate", "usd_per_kwh", "host_share", "upkeep_per_year"):
            _check(name, getattr(self, name))
        _check("capex", capex_usd)
        _check("tdp_w", tdp_w)
        _check_share("utilisation", self.utilisation)
        if self.rate > 1.0:
            raise ConfigError(
                f"The interest is {100 * self.rate:g} % a year",
                next_step="Give a share of the price: 0.08 for 8 %.",
            )
        if self.pue < 1.0:
            raise ConfigError(f"The PUE is {self.pue:g}", next_step="It is 1 or more.")
        if self.residual_share > 1.0:
            raise ConfigError(
                f"The residual value is {100 * self.residual_share:g} % of the capex",
                next_step="A device is not worth more at the end than it cost: give 0 to 1.",
            )
        _check_share("residual_share", self.residual_share)
        if self.rule not in INTEREST_RULES:
            raise ConfigError(
                f"No interest rule is called {self.rule!r}",
                next_step=f"Choose one of {', '.join(INTEREST_RULES)}.",
            )


PAPER_OPERATING = Own(
    years=4.0, rate=0.08, rule="compound", usd_per_kwh=0.40, count_principal=False
)
"""The rule that gives the "operating cost" column of arXiv 2507.19635, table 5, to the digit
for A40, A100, Gaudi3 and B200 (an inference: the paper states only 4 years, 8 % and maximum TDP
at 0.40 USD/kWh): energy plus compounded interest, without the principal."""

PAPER_FULL = replace(PAPER_OPERATING, count_principal=True)
"""The same with the principal: what such a device costs in all."""

FINANCING: Mapping[str, Rent | Reserve | Own] = {
    "rent": Rent(),
    "spot": Rent(spot=True),
    "reserve": Reserve(),
    "own": Own(),
    "paper-operating": PAPER_OPERATING,
    "paper": PAPER_FULL,
}
"""Named forms, as `--financing` takes them."""

Financing = Rent | Reserve | Own

_UNITS = {"usd_per_kwh": ("usd/kwh", 1.0), "usd_per_mwh": ("usd/mwh", 1e-3)}


def parse_power_price(text: str, *, where: str = "") -> float:
    """Read `0.12`, `0.12 USD/kWh` or `85 USD/MWh` as USD per kWh; ConfigError otherwise."""
    number, _, unit = text.strip().partition(" ")
    known = dict(_UNITS.values())
    factor = known.get(unit.strip().casefold() or "usd/kwh")
    if factor is None:
        raise ConfigError(
            f"{unit.strip()!r} is no unit of an energy price",
            where=where,
            next_step="Use USD/kWh or USD/MWh.",
        )
    try:
        value = float(number) * factor
    except ValueError:
        raise ConfigError(
            f"{text!r} is no energy price", where=where, next_step="Write 0.12 USD/kWh."
        ) from None
    _check("energy price", value, where=where)
    return value


def parse_financing(text: str, *, where: str = "") -> Financing:
    """Read `rent`, `reserve,years=3,discount=0.4`, `own,rate=0.05,usd_per_kwh=0.1`.

    ConfigError names an unknown form or term, and a value that is no number.
    """
    name, *terms = (part.strip() for part in text.split(","))
    if name not in FINANCING:
        raise ConfigError(
            f"No financing is called {name!r}",
            where=where,
            next_step=f"Choose one of {', '.join(FINANCING)}.",
        )
    form = FINANCING[name]
    changes = dict(_term(form, term, where) for term in terms)
    return replace(form, **changes)


def _term(form: Financing, term: str, where: str) -> tuple[str, Any]:
    key, equals, value = (part.strip() for part in term.partition("="))
    kinds: Mapping[str, Any] = {field.name: getattr(form, field.name) for field in fields(form)}
    if not equals or key not in kinds:
        raise ConfigError(
            f"{term!r} is no term of this financing",
            where=where,
            next_step=f"Its terms are {', '.join(kinds)}, written as term=value.",
        )
    if isinstance(kinds[key], str):
        return key, value
    try:
        return key, value == "true" if isinstance(kinds[key], bool) else float(value)
    except ValueError:
        raise ConfigError(f"{value!r} is no number for `{key}`", where=where) from None


def _check(name: str, value: float, *, zero: bool = True, where: str = "") -> None:
    if not math.isfinite(value) or value < 0.0 or (value == 0.0 and not zero):
        least = "0 or more" if zero else "above 0"
        raise ConfigError(
            f"The {name} is {value:g}", where=where, next_step=f"Give a number {least}."
        )


def _check_share(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"The {name} is {value:g}", next_step="Give a share from 0 to 1.")
