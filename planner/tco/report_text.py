"""Show the answer on a terminal: the fleet first, then what would change it, then its grounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]

NUMBERS = frozenset(
    {"count", "tp", "busy", "load", "W", "USD/h", "p95 s", "now", "until", "kept", "best"}
)


def report_text(document: Document) -> str:
    """Give the report as plain text."""
    parts = [
        _head(document),
        _fleet(document),
        _figures(document),
        [document["sentence"]],
        _compared(document),
        _break_even(document),
        _sensitivity(document),
        _what_if(document),
        _prices(document),
        [f"warning: {text}" for text in document["warnings"]],
    ]
    return "\n\n".join("\n".join(part) for part in map(list, parts) if part) + "\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Align rows under their columns; numbers to the right."""
    lines = [tuple(columns), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if name in NUMBERS else cell.ljust(width)
            for name, cell, width in zip(columns, line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]


def limits_in_words(document: Document) -> str:
    """Say the SLO in words."""
    slo = document["slo"]
    found = []
    if slo["seconds"] is not None:
        found.append(f"p{100 * slo['percentile']:g} <= {slo['seconds']:g} s")
    if slo["ttft_s"] is not None:
        found.append(f"time to first token <= {1000 * slo['ttft_s']:g} ms")
    if slo["tpot_s"] is not None:
        found.append(f"time per token <= {1000 * slo['tpot_s']:g} ms")
    return ", ".join(found) or "no deadline"


def usd(value: float | None) -> str:
    """Write dollars with enough digits to be checked."""
    if value is None:
        return "-"
    return f"{value:,.2f}" if abs(value) >= 1.0 or value == 0.0 else f"{value:.4g}"


def seconds(value: float | None) -> str:
    """Write seconds."""
    return "-" if value is None else f"{value:.3g}"


def percent(share: float | None, digits: int = 0) -> str:
    """Write a share."""
    return "-" if share is None else f"{100.0 * share:.{digits}f} %"


def _head(document: Document) -> list[str]:
    searched = document["searched"]
    return [
        f"{document['workflow']} at {document['jobs_per_s']:g} jobs/s, {limits_in_words(document)}",
        (
            f"searched {searched['device_types']} device types, {searched['ordered_pairs']} "
            f"ordered pairs, {searched['configurations']} configurations"
        ),
    ]


def pool_busy(row: Document) -> float:
    """Give the share of time a row's replicas are busy: simulated where there is a simulation."""
    return float(row["utilisation"] if row["busy"] is None else row["busy"])


def _fleet(document: Document) -> list[str]:
    rows = [
        (
            row["device"],
            str(row["count"]),
            row["role"],
            str(row["tp"]),
            row["dtype"] or "-",
            percent(pool_busy(row)),
            percent(row["utilisation"]),
            f"{row['watts']:.0f}",
            usd(row["usd_per_hour"]),
        )
        for row in document["fleet"]
    ]
    columns = ("device", "count", "role", "tp", "format", "busy", "load", "W", "USD/h")
    return [
        *table(columns, rows),
        "(busy: share of time with work at hand; load: share of what it could do in full batches)",
    ]


def _figures(document: Document) -> Iterator[str]:
    energy, simulated = document["energy"], document["simulated"]
    gap = percent(document["gap"], 2) if document["gap"] is not None else "not proven"
    yield (
        f"{usd(document['usd_per_hour'])} USD/h, {usd(document['usd_per_1k_jobs'])} USD per 1,000 "
        f"jobs, {usd(document['usd_per_mtok'])} USD per million tokens (gap {gap})"
    )
    yield _tokens(document["demand"])
    yield (
        f"{energy['expected_w']:.0f} W expected ({energy['tdp_w']:.0f} W at most), "
        f"{energy['kwh_per_hour']:.3g} kWh an hour, {energy['joules_per_job']:.3g} J a job"
    )
    predicted = document["predicted"]
    estimated = (
        f"p50 {seconds(predicted['p50_s'])} s, p95 {seconds(predicted['p95_s'])} s estimated"
    )
    if simulated is None:
        yield f"{estimated}; not simulated"
        return
    low, high = simulated["reached_interval_s"]
    share = 100 * document["slo"]["percentile"]
    part = f" on {percent(simulated['share'])} of the fleet" if simulated["share"] < 1.0 else ""
    yield (
        f"p50 {seconds(simulated['p50_s'])} s, p95 {seconds(simulated['p95_s'])} s simulated "
        f"({simulated['num_jobs']} jobs{part}, seed {simulated['seed']}; p{share:g} within "
        f"{seconds(low)} to {seconds(high)} s); {estimated}"
    )
    if len(document["rounds"]) > 1:
        tried = (
            f"{row['fleet']}: {seconds(row['simulated_s'])} s for {usd(row['usd_per_hour'])}"
            for row in document["rounds"]
        )
        yield f"rounds: {'; '.join(tried)}"


def _tokens(demand: Document) -> str:
    """Say what a job's tokens are: those found in a cache cost next to nothing."""
    cached = sum(row["calls_per_job"] * row["cached_tokens"] for row in demand["classes"])
    total = demand["tokens_per_job"]
    part = percent(cached / total) if total else "none"
    return f"{total:,.0f} tokens a job, of which {part} are taken from a prefix cache"


def fleet_in_words(cost: Document) -> str:
    """Name a fleet in a few words."""
    words = [f"{row['count']} {row['device']} ({row['role']})" for row in cost["fleet"]]
    return ", ".join(words) or "no devices"


def alternatives(document: Document) -> list[tuple[str, Document]]:
    """Give the fleets beside the answer, with what each is."""
    found = [
        (name.replace("_", " "), cost)
        for name, cost in document["baselines"].items()
        if cost is not None
    ]
    return [*found, *((cost["label"], cost) for cost in document["runners_up"])]


def _compared(document: Document) -> list[str]:
    rows = [
        (name, usd(cost["usd_per_hour"]), seconds(cost["p95_s"]), fleet_in_words(cost))
        for name, cost in alternatives(document)
    ]
    return table(("instead", "USD/h", "p95 s", "fleet"), rows) if rows else []


def _break_even(document: Document) -> list[str]:
    rows = [
        (
            row["device"],
            usd(row["usd_per_hour_now"]),
            ("above " if row["direction"] == "up" else "below ") + usd(row["stays_best_until"])
            if row["stays_best_until"] is not None
            else "never",
            row["then_best"] or "-",
        )
        for row in document["break_even"]
    ]
    return table(("price of", "now", "flips", "then best"), rows) if rows else []


def _sensitivity(document: Document) -> list[str]:
    rows = [
        (
            row["change"],
            usd(row["usd_per_hour_kept"]),
            usd(row["usd_per_hour_best"]),
            row["fleet"] if row["changes_fleet"] else "the same",
        )
        for row in document["sensitivity"]
    ]
    if not rows:
        return []
    return [
        *table(("if", "kept", "best", "fleet"), rows),
        "(kept: USD/h of the fleet above; best: of the cheapest then, to 0.2 %, by estimate)",
    ]


def _what_if(document: Document) -> Iterator[str]:
    for row in document["what_if"]:
        changes, saved = " and ".join(row["changes"]), row["usd_per_hour_saved"]
        if row["unchanged"] is None:
            yield f"what if: {changes}: without that nothing keeps the SLO"
        else:
            word = "saves" if saved >= 0.0 else "costs"
            yield (
                f"what if: {changes}: {word} {usd(abs(saved))} USD/h against "
                f"{fleet_in_words(row['unchanged'])} at {usd(row['unchanged']['usd_per_hour'])}"
            )


def _prices(document: Document) -> Iterator[str]:
    financing = document["financing"]
    for row in financing["devices"]:
        price = document["sources"]["prices"][row["device"]]
        when = f", {price['date']}" if price.get("date") else ""
        source = price.get("source", "")
        yield f"{row['device']}: {row['how']}; {source}{when}"
        for line in row["lines"]:
            result = f"{line['result']:.6g} {line['unit']}"
            if " " in line["arithmetic"]:
                yield f"  {line['name']} = {line['arithmetic']} = {result}"
            elif len(row["lines"]) > 1:
                yield f"  {line['name']}: {result}"
