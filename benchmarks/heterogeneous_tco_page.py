"""The tables of docs/reproductions/heterogeneous_tco.md, made from the study's figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from gangline.planner.costs.kv_transfer import GBIT
from gangline.planner.tco.financing import PAPER_FULL, PAPER_OPERATING

from .heterogeneous_tco import (
    DEVICES,
    LENGTHS,
    SLAS,
    VARIANTS,
    Assumptions,
    Case,
    cases,
    gaudi3_break_even,
    study,
    transfers,
    values,
)

PAGE = Path(__file__).parents[1] / "docs" / "reproductions" / "heterogeneous_tco.md"
SHOWN = (
    "B200::B200",
    "B200::Gaudi3",
    "H100::Gaudi3",
    "B200::H100",
    "B200::MI300x",
    "MI300x::MI300x",
    "Gaudi3::Gaudi3",
    "Gaudi3::B200",
    "H100::A100",
)
"""Pairs the paper shows or speaks of, and those that do better here."""

FITTED = "fitted cost model, dense"
LINK_GBIT = 400.0


def tables() -> dict[str, str]:
    """Make every table of the page, by the name of its marker."""
    figures = study()
    made = {"devices": _devices(), "worked example": _worked_example()}
    for name in VARIANTS:
        made[name] = _values(figures[name])
    made["best pairs"] = _best_pairs(figures["as printed"])
    made["gaudi3 break-even"] = _break_even()
    made["kv transfer"] = _transfers()
    return made


def write_tables(page: Path = PAGE) -> None:
    """Put fresh tables between the markers of the page."""
    text = page.read_text(encoding="utf-8")
    for name, table in tables().items():
        pattern = rf"(<!-- table: {re.escape(name)} -->\n).*?(<!-- end -->)"
        written = table.replace("\\", r"\\")
        text, count = re.subn(pattern, rf"\g<1>{written}\n\g<2>", text, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"{page.name} has {count} markers for {name!r}")
    page.write_text(text, encoding="utf-8")


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(header)
    lines = [names, ["---"] * len(names), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _devices() -> str:
    header = (
        "device",
        "price $",
        "FP16 TFLOPS printed",
        "dense",
        "TDP W",
        "operating $/h printed",
        "by the rule",
        "with the principal",
    )
    dense = Assumptions(dense=True)
    rows = [
        (
            name,
            f"{row.usd:,.0f}",
            f"{row.printed_tflops:g}",
            f"{dense.spec(name).flops['fp16'] / 1e12:.0f}",
            f"{row.tdp_w:g}",
            f"{row.printed_operating:.2f}",
            f"{PAPER_OPERATING.hourly(row.usd, row.tdp_w).total:.3f}",
            f"{PAPER_FULL.hourly(row.usd, row.tdp_w).total:.3f}",
        )
        for name, row in DEVICES.items()
    ]
    return _table(header, rows)


def _values(figures: Mapping[str, Mapping[str, float | None]]) -> str:
    columns = [(lengths, sla) for lengths in LENGTHS for sla in SLAS]
    header = ["prefill::decode", *(f"{lengths} {sla}" for lengths, sla in columns)]
    rows = []
    for pair in SHOWN:
        cells = [pair]
        for lengths, sla in columns:
            found = [
                figures[case.name][pair]
                for case in cases()
                if (case.lengths, case.sla) == (lengths, sla)
            ]
            cells.append(_range([value for value in found if value is not None]))
        rows.append(cells)
    return _table(header, rows)


def _range(found: list[float]) -> str:
    return f"{min(found):.2f}-{max(found):.2f}" if found else "none"


def _best_pairs(figures: Mapping[str, Mapping[str, float | None]]) -> str:
    rows = []
    for case in cases():
        ranked = sorted(
            ((value, pair) for pair, value in figures[case.name].items() if value), reverse=True
        )
        cells = [f"{pair} {value:.2f}" for value, pair in ranked[:3]]
        others = [figures[case.name][pair] for pair in ("B200::Gaudi3", "B200::B200")]
        rows.append([case.name, *cells, *(f"{value or 0.0:.2f}" for value in others)])
    return _table(("case", "best", "second", "third", "B200::Gaudi3", "B200::B200"), rows)


def _break_even() -> str:
    rows = []
    for case in cases():
        cells = [case.name]
        for pair in ("B200::Gaudi3", "H100::Gaudi3"):
            usd = gaudi3_break_even(case, pair, "B200::B200", Assumptions())
            cells.append("never" if usd is None else f"{usd:,.0f}")
        rows.append(cells)
    return _table(("case", "B200::Gaudi3 below $", "H100::Gaudi3 below $"), rows)


def _transfers() -> str:
    header = (
        "case",
        "KV MB per request",
        "egress peak",
        "ingress mean",
        "ingress peak",
        "fits 400",
    )
    rows = []
    for case in cases():
        if case.sla != "latency":
            continue
        found = transfers(case, Assumptions())
        served = {pair: moved for pair, moved in found.items() if moved is not None}
        fitting = sum(moved.fits(LINK_GBIT * GBIT) for moved in served.values())
        one = next(iter(served.values()))
        rows.append(
            (
                case.name,
                f"{one.kv_bytes / 1e6:.0f}",
                _gbit(moved.egress_peak for moved in served.values()),
                _gbit(moved.ingress_mean for moved in served.values()),
                _gbit(moved.ingress_peak for moved in served.values()),
                f"{fitting} of {len(served)}",
            )
        )
    return _table(header, rows)


def _gbit(rates: Iterable[float]) -> str:
    found = [rate / GBIT for rate in rates]
    return f"{min(found):.0f}-{max(found):.0f}"


TABLE_3 = {
    # (device of prefill, device of decode): ms and USD of the two tasks and of the transfer
    "A: HP::HP": (80.0 + 25.0, 1000 * 0.00008 + 500 * 0.00006),
    "B: HP::CO": (80.0 + 10.0 + 30.0, 1000 * (0.00008 + 0.000005) + 500 * 0.00002),
    "C: CO::CO": (130.0 + 30.0, 1000 * 0.00005 + 500 * 0.00002),
}
"""Worked example of the paper's table 3: 1000 prompt tokens, 500 output tokens, 120 ms."""

TABLE_3_LIMIT_MS = 120.0
PRINTED = {"A: HP::HP": 0.11, "B: HP::CO": 0.095, "C: CO::CO": 0.07}


def _worked_example() -> str:
    rows = [
        (
            name,
            f"{milliseconds:g}",
            f"{usd:.3f}",
            f"{PRINTED[name]:g}",
            "yes" if milliseconds <= TABLE_3_LIMIT_MS else "no: over 120 ms",
        )
        for name, (milliseconds, usd) in TABLE_3.items()
    ]
    return _table(("plan", "ms", "$", "$ printed", "feasible"), rows)


def case_named(name: str) -> Case:
    """Find a case by its name."""
    return next(case for case in cases() if case.name == name)


__all__ = ["PAGE", "SHOWN", "TABLE_3", "case_named", "tables", "values", "write_tables"]
