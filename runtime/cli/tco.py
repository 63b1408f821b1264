"""`gangline tco`: which fleet to rent, reserve or own for a workflow, at what price."""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gangline.ir.errors import ConfigError, GanglineError, UsageError

from .output import console, print_document
from .run_command import Json, Model

if TYPE_CHECKING:
    from gangline.ir.program import Program
    from gangline.planner.catalogue import CatalogueRow
    from gangline.planner.profile import Profile
    from gangline.planner.tco.answer import Slo
    from gangline.planner.tco.financing import Financing
    from gangline.planner.tco.what_if import Added

TIERS = {"on-demand": "rent", "spot": "spot", "reserved": "reserve", "owned": "own"}
"""Price tiers, with the financing each stands for."""

TERMS = {
    "years": "years",
    "interest": "rate",
    "usd-per-kwh": "usd_per_kwh",
    "load": "load",
    "utilisation": "utilisation",
    "pue": "pue",
    "host-share": "host_share",
    "residual": "residual_share",
}
"""Options that are terms of a financing, with the term each sets."""

ENERGY_FIRST = (1e-4, 1.0)
"""Weights of (USD, kWh) when energy counts: money breaks ties only."""

WORKFLOW = typer.Argument(help="A built-in name (text_to_sql) or path/to/file.py:name.")
SUFFIXES = (".html", ".json", ".txt")


def tco(
    workflow: Annotated[str | None, WORKFLOW] = None,
    profile: Annotated[
        Path | None, typer.Option("--profile", help="What jobs do: a profile file or a trace.")
    ] = None,
    rate: Annotated[float, typer.Option("--rate", help="Jobs per second.")] = math.nan,
    slo: Annotated[
        list[str] | None, typer.Option("--slo", help="p95=20s; also ttft=500ms and tpot=30ms.")
    ] = None,
    model: Model = None,
    dtype: Annotated[
        list[str] | None, typer.Option("--dtype", help="Only these number formats, e.g. fp8.")
    ] = None,
    catalogue: Annotated[
        Path | None, typer.Option("--catalogue", help="Device types to choose from (TOML).")
    ] = None,
    financing: Annotated[
        str | None, typer.Option("--financing", help="rent, reserve or own.")
    ] = None,
    years: Annotated[float | None, typer.Option("--years", help="Of owning or reserving.")] = None,
    interest: Annotated[
        float | None, typer.Option("--interest", help="Of owning, a year: 0.08 for 8 %.")
    ] = None,
    usd_per_kwh: Annotated[
        str | None, typer.Option("--usd-per-kwh", help="Of owning: price of energy.")
    ] = None,
    load: Annotated[
        float | None, typer.Option("--load", help="Of owning: share of TDP drawn on average.")
    ] = None,
    utilisation: Annotated[
        float | None, typer.Option("--utilisation", help="Of owning: share of hours used.")
    ] = None,
    pue: Annotated[
        float | None, typer.Option("--pue", help="Of owning: power of the site over its devices'.")
    ] = None,
    host_share: Annotated[
        float | None, typer.Option("--host-share", help="Of owning: hosts, share of device cost.")
    ] = None,
    residual: Annotated[
        float | None, typer.Option("--residual", help="Of owning: resale value, share of price.")
    ] = None,
    prices: Annotated[
        Path | None, typer.Option("--prices", help="Prices: TOML, or a SkyPilot catalogue (CSV).")
    ] = None,
    region: Annotated[
        str, typer.Option("--region", help="Only quotes of regions that begin so.")
    ] = "",
    tier: Annotated[
        str, typer.Option("--tier", help="on-demand, spot, reserved or owned.")
    ] = "on-demand",
    without: Annotated[
        list[str] | None, typer.Option("--without", help="Leave a device type out.")
    ] = None,
    add: Annotated[
        list[str] | None, typer.Option("--add", help="Devices in stock: L4=4, or L4=4@0.20 USD/h.")
    ] = None,
    stock: Annotated[
        list[str] | None, typer.Option("--stock", help="Most that can be had: H100-SXM-80=16.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget-usd-per-hour", help="Most the fleet may cost.")
    ] = None,
    power: Annotated[
        float | None, typer.Option("--power-limit-w", help="Most the fleet may draw (TDP).")
    ] = None,
    objective: Annotated[
        str, typer.Option("--objective", help="usd, energy, or USD/kWh to charge on top.")
    ] = "usd",
    age_discount: Annotated[
        float, typer.Option("--age-discount", help="Older generations cheaper by, a year: 0.15.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of drawn and simulated jobs.")] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Estimate only; simulate nothing.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Also write a report (.html, .json, .txt).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Choose the cheapest mix of device types for WORKFLOW at a rate, within an SLO."""
    from gangline.runtime.machine.models import catalogue as models
    from gangline.runtime.tco import TcoRequest, plan_tco

    _check_out(out)
    terms = {
        "years": years,
        "interest": interest,
        "usd-per-kwh": None if usd_per_kwh is None else _power_price(usd_per_kwh),
        "load": load,
        "utilisation": utilisation,
        "pue": pue,
        "host-share": host_share,
        "residual": residual,
    }
    rows = _rows(catalogue)
    form = _financing(financing, tier, terms)
    weights = _objective(objective)
    request = TcoRequest(
        jobs_per_s=_rate(rate),
        slo=_slo(slo or ()),
        rows=rows,
        financing=form,
        feed=_feed(prices),
        region=region,
        dtypes=_dtypes(dtype or ()),
        without=tuple(_type(name, rows, "--without") for name in without or ()),
        added=_stocks(add or (), rows, "--add"),
        stock={row.device: row.count for row in _stocks(stock or (), rows, "--stock")},
        age_discount=_share("--age-discount", age_discount),
        max_usd_per_hour=_amount("--budget-usd-per-hour", budget, math.inf),
        max_watts=_amount("--power-limit-w", power, math.inf),
        usd_weight=weights[0],
        usd_per_kwh=weights[1],
        simulate=not quick,
        seed=seed,
    )
    program, known = _program(workflow, profile, model)
    with _solver_silenced():
        document = plan_tco(program, known, request, models(), _tell)
    if out is not None:
        _write(out, _rendered(document, out.suffix))
    if as_json:
        print_document(document)
    else:
        from gangline.planner.tco.report_text import report_text

        console().print(report_text(document), markup=False, end="")


def _tell(text: str) -> None:
    console(stderr=True).print(text, markup=False)


def _program(
    workflow: str | None, profile: Path | None, model: str | None
) -> tuple[Program, Profile | None]:
    """Give the program to plan for: the workflow's, or one stage after another of a profile."""
    if workflow is not None:
        from gangline.runtime.profiles import profile_for

        from .plan import compile_for

        program = compile_for(workflow, model)
        return program, profile_for(program, profile)
    if profile is None or model is None:
        raise UsageError(
            "Nothing says what to plan for"
            if profile is None
            else "A profile alone does not say which model its calls go to",
            where="--profile" if profile else "WORKFLOW",
            next_step="Name a workflow, or give --profile FILE with --model NAME.",
        )
    from gangline.planner.profile_file import program_of
    from gangline.planner.tco.profile_graph import ordered
    from gangline.runtime.profiles import load_profile

    loaded = load_profile(profile)
    text = profile.read_text(encoding="utf-8")
    return program_of(ordered(loaded, text, str(profile)), model)


def _rows(catalogue: Path | None) -> dict[str, CatalogueRow]:
    from gangline.planner.catalogue import catalogue as built_in

    if catalogue is None:
        return dict(built_in())
    from gangline.planner.tco.catalogue_file import read_catalogue_file

    return dict(read_catalogue_file(catalogue))


def _rate(rate: float) -> float:
    from .arguments import parse_rate

    if math.isnan(rate):
        raise UsageError(
            "The rate is missing or no number",
            where="--rate",
            next_step="Give jobs per second, such as --rate 50.",
        )
    return parse_rate(rate)


def _slo(texts: Sequence[str]) -> Slo:
    """Read `p95=20s`, `ttft=500ms`, `tpot=30ms`."""
    from gangline.planner.tco.answer import Slo

    from .arguments import parse_duration

    found = Slo()
    for text in texts:
        match = re.fullmatch(r"(p\d{1,2}(?:\.\d+)?|ttft|tpot)=(.+)", text.strip())
        if match is None or (match[1][0] == "p" and not 0.0 < float(match[1][1:]) < 100.0):
            raise UsageError(
                f"{text!r} is not an objective",
                where="--slo",
                next_step="Write for example p95=4s, ttft=500ms or tpot=30ms.",
            )
        with _located("--slo"):
            seconds = parse_duration(match[2])
        if match[1] in ("ttft", "tpot"):
            found = replace(found, **{f"{match[1]}_s": seconds})
        else:
            found = replace(found, seconds=seconds, percentile=float(match[1][1:]) / 100.0)
    return found


@contextlib.contextmanager
def _located(option: str) -> Iterator[None]:
    """Say which option an error is about, where it does not say so itself."""
    try:
        yield
    except GanglineError as error:
        error.where = error.where or option
        raise


def _dtypes(given: Sequence[str]) -> tuple[str, ...]:
    from gangline.planner.costs.step import weight_format

    names = [name.strip() for text in given for name in text.split(",")]
    with _located("--dtype"):
        return tuple(dict.fromkeys(weight_format(name) for name in names))


def _type(name: str, rows: dict[str, CatalogueRow], option: str) -> str:
    from gangline.planner.catalogue import find_type

    return find_type(name, rows, where=option).spec.type


def _stocks(texts: Sequence[str], rows: dict[str, CatalogueRow], option: str) -> tuple[Added, ...]:
    from gangline.planner.tco.what_if import parse_added

    found = []
    for text in texts:
        row = parse_added(text, where=option)
        found.append(replace(row, device=_type(row.device, rows, option)))
    return tuple(found)


def _amount(option: str, value: float | None, absent: float = 0.0) -> float:
    if value is None:
        return absent
    if not math.isfinite(value) or value < 0.0:
        raise UsageError(
            f"{value:g} is no amount", where=option, next_step="Give a number of 0 or more."
        )
    return value


def _share(option: str, value: float) -> float:
    if not 0.0 <= value < 1.0:
        raise UsageError(
            f"{value:g} is no share", where=option, next_step="Give 0 or more and less than 1."
        )
    return value


def _power_price(text: str) -> float:
    from gangline.planner.tco.financing import parse_power_price

    return parse_power_price(text, where="--usd-per-kwh")


def _feed(prices: Path | None) -> Any:
    if prices is None:
        return None
    from gangline.planner.tco.price_feed import read_prices

    return read_prices(prices)


def _financing(name: str | None, tier: str, terms: dict[str, float | None]) -> Financing:
    """Read a form of financing, by name or by the tier of its prices, and set its terms."""
    from gangline.planner.tco.financing import Own, parse_financing

    if tier not in TIERS:
        raise UsageError(
            f"No price tier is called {tier!r}",
            where="--tier",
            next_step=f"Use {', '.join(TIERS)}.",
        )
    form = parse_financing(name or TIERS[tier], where="--financing")
    known = {field.name for field in fields(form)}
    for option, value in terms.items():
        if value is None:
            continue
        if TERMS[option] not in known:
            raise UsageError(
                f"--{option} is no term of this financing",
                where=f"--{option}",
                next_step="Add --financing own, or leave the option out.",
            )
        changes: dict[str, Any] = {TERMS[option]: _amount(f"--{option}", value)}
        form = replace(form, **changes)
    with _located("--financing"):  # its own checks come with the first price
        if isinstance(form, Own):
            form.hourly(1.0, 1.0)
        else:
            form.hourly(1.0)
    return form


def _objective(text: str) -> tuple[float, float]:
    """Read what is minimised as weights of (USD, kWh)."""
    if text == "usd":
        return 1.0, 0.0
    if text == "energy":
        return ENERGY_FIRST
    from gangline.planner.tco.financing import parse_power_price

    try:
        return 1.0, parse_power_price(text)
    except ConfigError:
        raise UsageError(
            f"{text!r} is no objective",
            where="--objective",
            next_step="Use usd, energy, or a price of energy to charge on top, such as 0.3.",
        ) from None


@contextlib.contextmanager
def _solver_silenced() -> Iterator[None]:
    """Keep what the solver's own library writes off the terminal and out of the document.

    It writes to the process's stdout and stderr; what Python writes to stderr still gets there.
    """
    with contextlib.ExitStack() as stack:
        try:
            own = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8")
        except OSError:  # a process without a stderr
            yield
            return
        stack.callback(own.close)
        if _writes_to(sys.stderr, 2):
            stack.enter_context(contextlib.redirect_stderr(own))
        sys.stdout.flush()
        for descriptor in (1, 2):
            with contextlib.suppress(OSError):
                stack.enter_context(_to_nowhere(descriptor))
        yield


def _writes_to(stream: Any, descriptor: int) -> bool:
    try:
        return bool(stream.fileno() == descriptor)
    except (AttributeError, OSError, ValueError):  # captured, or closed
        return False


@contextlib.contextmanager
def _to_nowhere(descriptor: int) -> Iterator[None]:
    kept, nowhere = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)


def _check_out(out: Path | None) -> None:
    """Refuse a report that could not be written before any work is done."""
    if out is None:
        return
    if out.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"A report ends in {', '.join(SUFFIXES)}, not {out.suffix or 'nothing'!r}",
            where="--out",
            next_step="Rename it.",
        )
    folder = out.absolute().parent
    if not folder.is_dir() or out.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(
            f"The report cannot be written to {str(out)!r}",
            where="--out",
            next_step="Name a file in a folder that exists and may be written to.",
        )


def _rendered(document: dict[str, Any], suffix: str) -> str:
    if suffix.lower() == ".json":
        import json

        return json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    if suffix.lower() == ".txt":
        from gangline.planner.tco.report_text import report_text

        return report_text(document)
    from gangline.planner.tco.report_html import report_html

    return report_html(document)


def _write(path: Path, text: str) -> None:
    """Write a report, whole or not at all: what was there before stays until it is complete."""
    from gangline.runtime.folders import write_whole

    try:
        write_whole(path, text)
    except OSError as error:
        raise UsageError(
            f"The report cannot be written: {error.strerror}",
            where=str(path),
            next_step="Check --out.",
        ) from None
    _tell(f"written: {path}")
