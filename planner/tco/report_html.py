"""Show the answer as one HTML page that loads nothing: no scripts, no fonts, no network.

Every number of the page comes from the document, and every name in it is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from .charts import (
    bars_chart,
    distribution_chart,
    letter,
    price_chart,
    tornado_chart,
    trade_chart,
)
from .report_text import (
    alternatives,
    fleet_in_words,
    limits_in_words,
    percent,
    pool_busy,
    seconds,
    usd,
)

Document = Mapping[str, Any]

STYLE = """
body { font: 15px/1.5 sans-serif; color: #1c1f24; max-width: 900px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.5em; margin-bottom: .2em } h2 { font-size: 1.15em; margin: 2em 0 .4em }
table { border-collapse: collapse; width: 100%; margin: .5em 0; font-size: 14px }
th, td { text-align: left; padding: .25em .7em .25em 0; border-bottom: 1px solid #e3e5e9; vertical-align: top }
th { color: #5b616b; font-weight: 600; white-space: nowrap } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(112px, 1fr)); gap: .5em; margin: 1em 0 }
.tile { background: #f2f5f9; border-radius: 6px; padding: .5em .7em }
.tile b { display: block; font-size: 1.1em; white-space: nowrap } .tile span { color: #5b616b; font-size: 13px }
.says { font-size: 1.05em; border-left: 4px solid #2f6db5; padding: .2em 0 .2em .8em }
.warning { border-left: 4px solid #c98a1b; padding: .1em 0 .1em .8em; margin: .3em 0 }
.note { color: #5b616b; font-size: 13px } code { font-size: 13px; overflow-wrap: anywhere }
svg { width: 100%; height: auto } td { overflow-wrap: anywhere } td.n { white-space: nowrap }
@media print { body { margin: 0 } h2 { break-after: avoid } svg, tr { break-inside: avoid } }
""".strip()

POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def report_html(document: Document) -> str:
    """Give the report as a whole page."""
    title = f"A fleet for {document['workflow']} at {document['jobs_per_s']:g} jobs/s"
    sections = [
        _answer(document),
        _latency(document),
        _use(document),
        _compared(document),
        _trades(document),
        _break_even(document),
        _sensitivity(document),
        _what_if(document),
        _financing(document),
        _sources(document),
        _grounds(document),
    ]
    body = "\n".join(part for section in sections for part in section)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>\n{STYLE}\n</style></head>\n"
        f"<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def html_table(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: str = "") -> str:
    """Make a table; `numbers` has an `n` at the place of every column of numbers."""
    kinds = [' class="n"' if mark == "n" else "" for mark in numbers.ljust(len(columns))]
    head = "".join(
        f"<th{kind}>{escape(name)}</th>" for name, kind in zip(columns, kinds, strict=True)
    )
    lines = [
        "<tr>"
        + "".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in rows
    ]
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _tile(value: str, what: str) -> str:
    return f'<div class="tile"><b>{escape(value)}</b><span>{escape(what)}</span></div>'


def _note(said: str) -> str:
    return f'<p class="note">{escape(said)}</p>'


def _answer(document: Document) -> Iterator[str]:
    energy, simulated = document["energy"], document["simulated"]
    kind = "simulated" if simulated is not None else "estimated"
    yield _note(f"Objective: {limits_in_words(document)}.")
    yield f'<p class="says">{escape(document["sentence"])}</p>'
    tiles = [
        (usd(document["usd_per_hour"]), "USD per hour"),
        (usd(document["usd_per_1k_jobs"]), "USD per 1,000 jobs"),
        (usd(document["usd_per_mtok"]), "USD per million tokens"),
        (f"{seconds(document['p50_s'])} s", f"p50, {kind}"),
        (f"{seconds(document['p95_s'])} s", f"p95, {kind}"),
        (f"{energy['joules_per_job']:.3g} J", "per job, expected"),
        (f"{energy['expected_w'] / 1000.0:.3g} kW", f"of at most {energy['tdp_w'] / 1000.0:.3g}"),
    ]
    yield f'<div class="tiles">{"".join(_tile(*tile) for tile in tiles)}</div>'
    columns = ("device", "count", "role", "tp x pp", "format", "model", "batch", "W", "USD/h")
    rows = [
        (
            row["device"],
            str(row["count"]),
            row["role"],
            f"{row['tp']} x {row['pp']}",
            row["dtype"] or "-",
            row["model"] or "tools",
            f"{row['batch']:.1f}",
            f"{row['watts']:.0f}",
            usd(row["usd_per_hour"]),
        )
        for row in document["fleet"]
    ]
    yield html_table(columns, rows, " n    nnn")
    gap = document["gap"]
    proven = "no bound is proven" if gap is None else f"proven within {percent(gap, 2)} of optimal"
    yield _note(f"W is thermal design power. The cost is {proven} for the estimated times.")
    for said in document["warnings"]:
        yield f'<p class="warning">{escape(said)}</p>'


def _latency(document: Document) -> Iterator[str]:
    simulated, predicted = document["simulated"], document["predicted"]
    yield "<h2>How long jobs take</h2>"
    estimated = (
        f"Estimated: p50 {seconds(predicted['p50_s'])} s, p95 {seconds(predicted['p95_s'])} s."
    )
    if simulated is None:
        yield _note(f"{estimated} Nothing was simulated.")
        return
    drawn, slo = simulated["distribution"], document["slo"]
    yield distribution_chart(
        drawn["share"],
        drawn["seconds"],
        [(0.5, simulated["p50_s"]), (0.95, simulated["p95_s"])],
        slo["seconds"],
        slo["percentile"],
        "Distribution of jobs",
    )
    low, high = simulated["reached_interval_s"]
    share = simulated["share"]
    part = f", {percent(share)} of the fleet and of the jobs" if share < 1.0 else ""
    yield _note(
        f"Simulated with the scheduler of production: {simulated['num_jobs']} jobs counted at "
        f"{simulated['rate']:.4g} jobs/s{part}, seed {simulated['seed']}. 90 % interval of "
        f"p{100 * slo['percentile']:g}: {seconds(low)} to {seconds(high)} s, taking jobs as "
        f"independent. {estimated}"
    )


def _use(document: Document) -> Iterator[str]:
    yield "<h2>How busy the devices are</h2>"
    rows = [
        (
            f"{row['count']} {row['device']} ({row['role']})",
            min(pool_busy(row), 1.0),
            percent(pool_busy(row)),
        )
        for row in document["fleet"]
    ]
    yield bars_chart(rows, "Share of time busy", "share of time busy", full=1.0)
    yield _note(
        "An engine is busy while it computes anything; one that decodes a large batch is busy "
        "nearly always and may still take more jobs."
    )


def _compared(document: Document) -> Iterator[str]:
    yield "<h2>What else was considered</h2>"
    answer = ("this fleet", float(document["usd_per_hour"]), usd(document["usd_per_hour"]))
    others = alternatives(document)
    bars = [(name, float(cost["usd_per_hour"]), usd(cost["usd_per_hour"])) for name, cost in others]
    yield bars_chart([answer, *bars], "Cost of alternatives", "USD per hour")
    rows = [
        (name, fleet_in_words(cost), usd(cost["usd_per_hour"]), seconds(cost["p95_s"]))
        for name, cost in others
    ]
    yield html_table(("instead", "fleet", "USD/h", "p95 s"), rows, "  nn")
    yield _note(
        "Best single type: the cheapest fleet with one accelerator type. Greedy: every class of "
        "calls on what is cheapest for it alone. Without X: the best fleet that does without X. "
        "Their p95 is estimated."
    )


def _trades(document: Document) -> Iterator[str]:
    yield "<h2>What speed and energy cost</h2>"
    charts = (
        ("latency", "p95_s", "p95 of a job in seconds, estimated", "Cost against latency"),
        ("energy", "watts", "thermal design power in watts", "Cost against power"),
    )
    for name, key, unit, title in charts:
        points = document["fronts"].get(name, ())
        if not points:
            continue
        chosen = next((i for i, row in enumerate(points) if row["label"] == "answer"), -1)
        drawn = [(float(row[key]), float(row["usd_per_hour"]), row["fleet"]) for row in points]
        yield trade_chart(drawn, chosen, title, unit, "USD per hour")
        rows = [
            (
                letter(index),
                row["fleet"],
                usd(row["usd_per_hour"]),
                seconds(row["p95_s"]),
                f"{row['watts']:.0f}",
            )
            for index, row in enumerate(points)
        ]
        yield html_table(("", "fleet", "USD/h", "p95 s", "W"), rows, "  nnn")
    saved = document["usd_per_hour_per_ms"]
    yield _note(
        f"Another millisecond of the SLO would save {saved:.3g} USD an hour."
        if saved
        else "The SLO does not bind: more time would save nothing."
    )


def _break_even(document: Document) -> Iterator[str]:
    found = document["break_even"]
    if not found:
        return
    yield "<h2>At which price the answer changes</h2>"
    drawn = [
        (row["device"], row["usd_per_hour_now"], row["stays_best_until"], row["direction"])
        for row in found
    ]
    yield price_chart(drawn, "Break-even prices")
    rows = [
        (
            row["device"],
            usd(row["usd_per_hour_now"]),
            _flip(row),
            row["then_best"] or "-",
        )
        for row in found
    ]
    yield html_table(("price of", "now", "this fleet stays best", "then best"), rows, " n")
    yield _note(
        "All other prices stay as they are. Dot: today's price; red: where the answer flips; the "
        "bar spans the prices at which it stands."
    )


def _flip(row: Document) -> str:
    limit = row["stays_best_until"]
    if limit is None:
        return "at any price"
    word = "up to" if row["direction"] == "up" else "down to"
    return f"{word} {usd(limit)} USD/h"


def _sensitivity(document: Document) -> Iterator[str]:
    found = document["sensitivity"]
    if not found:
        return
    yield "<h2>If the assumptions are wrong</h2>"
    now = float(document["usd_per_hour"])
    ranked = sorted(found, key=lambda row: -_swing(row, now))
    drawn = [(row["change"], row["usd_per_hour_kept"], row["usd_per_hour_best"]) for row in ranked]
    yield tornado_chart(drawn, now, "Sensitivity of the cost")
    rows = [
        (
            row["change"],
            usd(row["usd_per_hour_kept"]),
            usd(row["usd_per_hour_best"]),
            row["fleet"] if row["changes_fleet"] else "the same",
        )
        for row in ranked
    ]
    columns = ("if", "this fleet, USD/h", "best then, USD/h", "best fleet then")
    yield html_table(columns, rows, " nn")


def _swing(row: Document, now: float) -> float:
    found = (row["usd_per_hour_kept"], row["usd_per_hour_best"])
    return max((abs(value - now) for value in found if value is not None), default=0.0)


def _what_if(document: Document) -> Iterator[str]:
    for row in document["what_if"]:
        yield "<h2>What if</h2>"
        changes = " and ".join(row["changes"])
        if row["unchanged"] is None:
            yield f"<p>{escape(changes)}: without that nothing keeps the SLO.</p>"
            continue
        saved = row["usd_per_hour_saved"]
        word = "saves" if saved >= 0.0 else "costs"
        other = row["unchanged"]
        yield (
            f"<p>{escape(changes)}: {word} {usd(abs(saved))} USD an hour against "
            f"{escape(fleet_in_words(other))} at {usd(other['usd_per_hour'])}.</p>"
        )


def _financing(document: Document) -> Iterator[str]:
    financing = document["financing"]
    yield "<h2>The sums, to be checked by hand</h2>"
    yield _note(f"Financing: {_terms(financing)}. USD per device-hour:")
    rows = [
        (device["device"], line["name"], line["arithmetic"], f"{line['result']:.6g}")
        for device in financing["devices"]
        for line in device["lines"]
    ]
    yield html_table(("device", "what", "arithmetic", "USD/h"), rows, "   n")
    lines = [
        (line["name"], line["arithmetic"], f"{line['result']:.6g}", line["unit"])
        for line in financing["lines"]
    ]
    yield html_table(("of the fleet", "arithmetic", "result", "unit"), lines, "  n")
    energy = document["energy"]
    watts = " + ".join(f"{row['expected_w']:.1f}" for row in energy["rows"])
    low, high = energy["expected_interval_w"]
    yield _note(
        f"Energy: {watts} = {energy['expected_w']:.1f} W expected (90 %: {low:.0f} to {high:.0f}), "
        f"/ {document['jobs_per_s']:g} jobs/s = {energy['joules_per_job']:.4g} J a job; "
        f"{energy['kwh_per_hour']:.4g} kWh an hour; thermal design power {energy['tdp_w']:.0f} W."
    )


def _terms(financing: Document) -> str:
    """Name the form of financing, with its terms where they enter a price."""
    form, terms = financing["form"], financing["terms"]
    if form == "rent" and not terms.get("spot"):
        return "rented on demand"
    said = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in terms.items())
    return f"{form} ({said})"


def _sources(document: Document) -> Iterator[str]:
    yield "<h2>Where the figures come from</h2>"
    rows = []
    for name, price in document["sources"]["prices"].items():
        low, high = price.get("price_low"), price.get("price_high")
        offers = f"{usd(low)} to {usd(high)}" if low is not None or high is not None else "-"
        rows.append(
            (
                name,
                usd(price["usd_per_hour"]),
                price.get("how") or "-",
                offers,
                price.get("confidence") or "-",
                price.get("date") or "-",
                price.get("source") or "-",
            )
        )
    columns = ("price of", "USD/h", "terms", "public offers", "confidence", "date", "source")
    yield html_table(columns, rows, " n")
    estimates = [
        (f"{row['device']} ({row['role']})", row["source"], _intervals(row["intervals"]))
        for row in document["sources"]["estimates"]
    ]
    yield html_table(("seconds of", "rest on", "actual over modelled, 90 %"), estimates)
    yield _note(
        "fitted: constants measured on the device's generation; spec: the data sheet and constants "
        "of other generations; measured: seconds of the profile."
    )


def _intervals(found: Mapping[str, Sequence[float]]) -> str:
    return ", ".join(f"{op} {low:.2f} to {high:.2f}" for op, (low, high) in found.items()) or "-"


def _grounds(document: Document) -> Iterator[str]:
    searched = document["searched"]
    yield "<h2>How the answer was found</h2>"
    yield (
        f"<p>All {searched['device_types']} device types, {searched['ordered_pairs']} ordered pairs "
        f"for prefill and decode and {searched['configurations']} configurations were compared in "
        "one integer program; the simulator judged what it proposed.</p>"
    )
    rounds = [
        (
            str(row["round"]),
            row["fleet"],
            usd(row["usd_per_hour"]),
            seconds(row["predicted_s"]),
            seconds(row["simulated_s"]),
            "yes" if row["kept"] else "no",
        )
        for row in document["rounds"]
    ]
    columns = ("round", "proposal", "USD/h", "estimated s", "simulated s", "in time")
    yield html_table(columns, rounds, "  nnn")
    rows = [
        (
            group["name"],
            group["model"] or "CPU",
            f"{group['calls_per_job']:.3g}",
            f"{group['prompt_tokens']:.0f}" if group["kind"] == "llm" else "-",
            f"{group['cached_tokens']:.0f}" if group["kind"] == "llm" else "-",
            f"{group['output_tokens']:.0f}" if group["kind"] == "llm" else "-",
            seconds(group["seconds"]) if group["kind"] == "cpu" else "-",
        )
        for group in document["demand"]["classes"]
    ]
    columns2 = ("calls", "on", "per job", "prompt", "cached", "output", "CPU s")
    yield html_table(columns2, rows, "  nnnnn")
