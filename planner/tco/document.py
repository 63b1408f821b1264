"""The whole answer as one plain document: what the terminal, the page and `--json` show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from gangline.ir.errors import GanglineError
from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.fleet import SECONDS_PER_HOUR
from gangline.planner.catalogue import CatalogueRow
from gangline.planner.costs.shape import find_shape
from gangline.planner.engine_times import POWER_SPREAD, fitted_times
from gangline.planner.profile import NORMAL_95

from .answer import Answer, FleetCost, FleetRow
from .arithmetic import Line, fleet_lines, hourly_lines, number
from .config import ServingConfig
from .energy_use import expected_watts
from .financing import Financing
from .market import Market
from .plan import Choice
from .quotes import PriceNote
from .search import Search

DOUBTFUL = "without types of doubtful price"
"""Row of the sensitivity table: what is best among accelerators whose price can be quoted."""

NUM_POINTS = 60
"""Quantiles a simulated distribution is told by."""

SETTLED = 3.0
"""Mean latencies that the counted arrivals last for at least, for a simulation to be trusted."""

IN_STOCK = "in stock"
"""How `Market.with_stock` calls what is owned: its price is given, not computed."""

FAR_APART = 1.5
"""Public offers further apart than this are worth a warning."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a simulation of the chosen fleet found.

    Attributes:
        share: which part of the fleet, and of the jobs, was simulated.
        latencies_s: of the counted jobs, sorted.
        busy: share of time the replicas of a kind were busy.
    """

    num_jobs: int
    rate: float
    seed: int
    share: float
    mean_s: float
    latencies_s: tuple[float, ...]
    busy: Mapping[ServingConfig, float]

    def quantile(self, share: float) -> float:
        """Give the latency that such a share of jobs stays within."""
        return self.latencies_s[max(0, math.ceil(share * len(self.latencies_s)) - 1)]

    def interval(self, share: float) -> tuple[float, float]:
        """Give a 90 % interval of a quantile, from order statistics.

        The rank of the true quantile among n independent values is binomial; jobs that queue
        behind each other are not independent, so the interval is a narrow one.
        """
        count = len(self.latencies_s)
        spread = NORMAL_95 * math.sqrt(count * share * (1.0 - share))
        low = min(max(math.floor(count * share - spread), 1), count)
        high = min(max(math.ceil(count * share + spread), 1), count)
        return self.latencies_s[low - 1], self.latencies_s[high - 1]


@dataclass(frozen=True, slots=True)
class Trial:
    """One round: what was proposed, predicted and simulated; `kept` if it keeps the SLO."""

    round: int
    fleet: str
    usd_per_hour: float
    predicted_s: float
    simulated_s: float | None
    kept: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """The choice that stands, and how it was found.

    Attributes:
        asked_s: seconds the optimiser was asked for, so that the percentile holds in simulation.
    """

    choice: Choice
    asked_s: float
    simulated: Simulated | None
    trial: Trial
    trials: tuple[Trial, ...] = ()


@dataclass(frozen=True, slots=True)
class Background:
    """What the answer rests on, for the report.

    Attributes:
        plain: the market before types were removed, added or limited.
        fronts: fleets around the answer, by what they trade money for.
        what_if: what the answer would be without the changes that were asked for.
    """

    rows: Mapping[str, CatalogueRow]
    notes: Mapping[str, PriceNote]
    financing: Financing
    plain: Market
    fronts: Mapping[str, Sequence[FleetCost]] = field(default_factory=dict)
    what_if: Sequence[Mapping[str, Any]] = ()


def document_of(
    answer: Answer, search: Search, market: Market, judgement: Judgement, back: Background
) -> dict[str, Any]:
    """Write everything down; what is infinite is null."""
    simulated, options = judgement.simulated, search.options
    document = answer.to_json()
    del document["prices"], document["watts"], document["kwh_per_1k_jobs"], document["label"]
    document["predicted"] = {
        "p50_s": answer.best.p50_s,
        "p95_s": answer.best.p95_s,
        "reached_s": answer.best.reached_s,
    }
    for row, plain in zip(answer.best.fleet, document["fleet"], strict=True):
        plain["busy"] = None if simulated is None else simulated.busy.get(_kind(row))
    document["simulated"] = None if simulated is None else _simulated(simulated, answer)
    if simulated is not None:
        document["p50_s"], document["p95_s"] = simulated.quantile(0.5), simulated.quantile(0.95)
        document["reached_s"] = simulated.quantile(answer.slo.percentile)
    document["rounds"] = [asdict(trial) for trial in judgement.trials]
    document["objective"] = {"usd": options.usd_weight, "usd_per_kwh": options.usd_per_kwh}
    document["energy"] = _energy(answer, search, market, judgement)
    document["demand"] = _demand(search)
    document["financing"] = _financing(answer, search, market, back)
    names = _named(answer)
    document["sources"] = {
        "prices": {name: _price(name, market, back) for name in names},
        "estimates": _estimates(answer, search, market),
    }
    document["fronts"] = {
        name: [_point(cost) for cost in costs] for name, costs in back.fronts.items()
    }
    document["what_if"] = list(back.what_if)
    document["warnings"] = _warnings(answer, document, back)
    document["sentence"] += _doubt(answer, document, back)
    found: dict[str, Any] = _plain(document)
    return found


def _kind(row: FleetRow) -> ServingConfig:
    """Give the kind of replicas a row of a fleet stands for."""
    config = ServingConfig(row.device, row.role, row.model, row.tp, row.pp, row.dtype)
    return config.group


def _simulated(simulated: Simulated, answer: Answer) -> dict[str, Any]:
    latencies = simulated.latencies_s
    shares = [index / (NUM_POINTS - 1) for index in range(NUM_POINTS)]
    points = [latencies[round(share * (len(latencies) - 1))] for share in shares]
    share = answer.slo.percentile
    return {
        "num_jobs": simulated.num_jobs,
        "rate": simulated.rate,
        "share": simulated.share,
        "seed": simulated.seed,
        "mean_s": simulated.mean_s,
        "p50_s": simulated.quantile(0.5),
        "p95_s": simulated.quantile(0.95),
        "p99_s": simulated.quantile(0.99),
        "reached_s": simulated.quantile(share),
        "reached_interval_s": list(simulated.interval(share)),
        "distribution": {"share": shares, "seconds": points},
    }


def _energy(answer: Answer, search: Search, market: Market, judgement: Judgement) -> dict[str, Any]:
    busy = judgement.simulated.busy if judgement.simulated is not None else None
    rows = [
        {"device": device, "role": role, "expected_w": watts}
        for device, role, watts in expected_watts(search, market, judgement.choice.best, busy)
    ]
    expected = math.fsum(float(row["expected_w"]) for row in rows)  # type: ignore[arg-type]
    rate = search.demand.jobs_per_s
    return {
        "tdp_w": answer.best.watts,
        "expected_w": expected,
        "expected_interval_w": [expected * POWER_SPREAD[0], expected * POWER_SPREAD[1]],
        "kwh_per_hour": expected / 1000.0,
        "joules_per_job": expected / rate,
        "kwh_per_1k_jobs": expected / rate / SECONDS_PER_HOUR,
        "rows": rows,
    }


def _demand(search: Search) -> dict[str, Any]:
    demand = search.demand
    return {
        "tokens_per_job": demand.tokens_per_job,
        "output_tokens_per_job": demand.output_tokens_per_job,
        "classes": [
            {
                "name": group.name,
                "kind": group.kind,
                "model": group.model,
                "calls_per_job": group.calls_per_job,
                "prompt_tokens": group.prompt_tokens.mean,
                "cached_tokens": group.cached_tokens,
                "output_tokens": group.output_tokens.mean,
                "seconds": group.seconds.mean,
            }
            for group in demand.classes
        ],
    }


def _financing(answer: Answer, search: Search, market: Market, back: Background) -> dict[str, Any]:
    """Write out every price: per device-hour, per fleet, per thousand jobs."""
    devices = {}
    for name in dict.fromkeys(row.device for row in answer.best.fleet):
        devices[name] = _device_lines(name, market, back)
    rows = tuple(asdict(row) for row in answer.best.fleet)
    lines = fleet_lines(
        rows, answer.best.usd_per_hour, answer.jobs_per_s, search.demand.tokens_per_job
    )
    return {
        "form": type(back.financing).__name__.lower(),
        "terms": asdict(back.financing),
        "devices": [
            {"device": name, "how": _how(name, market), "lines": [x.to_json() for x in found]}
            for name, found in devices.items()
        ],
        "lines": [line.to_json() for line in lines],
    }


def _how(name: str, market: Market) -> str:
    ways = [
        offer.terms.how + (f" (at most {offer.limit:g})" if math.isfinite(offer.limit) else "")
        for offer in market.offers[name]
    ]
    return "; ".join(dict.fromkeys(ways))


def _device_lines(name: str, market: Market, back: Background) -> tuple[Line, ...]:
    note, row = back.notes.get(name), back.rows.get(name)
    watts = market.devices[name].tdp_w
    found: list[Line] = []
    for offer in market.offers[name]:
        if math.isfinite(offer.limit):
            usd = offer.usd_per_hour
            found.append(Line(f"at most {offer.limit:g} of them", number(usd), usd))
            if offer.terms.how == IN_STOCK:
                continue
        # A quote needs no arithmetic.
        start = None if note is None else note.list_usd_per_hour
        capex = None if row is None else row.capex_usd
        lines = hourly_lines(offer.terms, back.financing, start, capex, watts)
        found += lines
        total = offer.terms.total
        if total and abs(offer.usd_per_hour - total) > 1e-9 * total:
            factor = offer.usd_per_hour / total
            found.append(Line("by age", f"{number(total)} x {number(factor)}", offer.usd_per_hour))
    return tuple(found)


def _named(answer: Answer) -> list[str]:
    """Device types of the answer, the baselines, the runners-up and the break-even table."""
    costs = [answer.best, *answer.runners_up]
    costs += [cost for cost in answer.baselines.values() if cost is not None]
    names = [row.device for cost in costs for row in cost.fleet]
    return list(dict.fromkeys([*names, *(row.device for row in answer.break_even)]))


def _price(name: str, market: Market, back: Background) -> dict[str, Any]:
    note = back.notes.get(name)
    usd = market.usd(name)
    plain = {"usd_per_hour": usd if math.isfinite(usd) else back.plain.usd(name)}
    how = _how(name, market) if name in market.offers else ""
    return {**plain, "how": how, **({} if note is None else asdict(note))}


def _estimates(answer: Answer, search: Search, market: Market) -> list[dict[str, Any]]:
    """Say what the seconds of every kind of replica rest on, with 90 % intervals."""
    return [_estimate(row, search, market.devices[row.device]) for row in answer.best.fleet]


def _estimate(row: FleetRow, search: Search, spec: DeviceSpec) -> dict[str, Any]:
    plain = {"device": row.device, "role": row.role}
    if row.role == "cpu":
        return {**plain, "source": "measured", "intervals": {}}
    shapes = search.options.shapes
    try:
        shape = shapes[row.model] if row.model in shapes else find_shape(row.model)
        times = fitted_times(spec, shape, row.tp, row.pp, row.dtype)
    except GanglineError:  # a row without rates of its own format: priced by another model
        return {**plain, "source": "spec", "intervals": {}}
    ops = {"prefill": ("prefill",), "decode": ("decode",)}.get(row.role, ("prefill", "decode"))
    return {
        **plain,
        "source": times.source,
        "intervals": {op: list(times.intervals[op]) for op in ops},
    }


def _point(cost: FleetCost) -> dict[str, Any]:
    return {
        "fleet": cost.in_words(),
        "label": cost.label,
        "usd_per_hour": cost.usd_per_hour,
        "p95_s": cost.p95_s,
        "watts": cost.watts,
    }


def _warnings(answer: Answer, document: Mapping[str, Any], back: Background) -> list[str]:
    found = []
    for name in dict.fromkeys(row.device for row in answer.best.fleet):
        found += _price_warnings(name, back.notes.get(name))
    for row in document["sources"]["estimates"]:
        if row["source"] == "spec":
            found.append(
                f"The times of {row['device']} rest on its data sheet: no deployment on a device of "
                "its generation was measured."
            )
    simulated = document["simulated"]
    if simulated is not None:
        found += _simulation_warnings(answer, simulated)
    return list(dict.fromkeys(found))


def _doubt(answer: Answer, document: Mapping[str, Any], back: Background) -> str:
    """Say beside the answer, not only among the warnings, that it rests on prices nobody quoted."""
    names = dict.fromkeys(row.device for row in answer.best.fleet)
    notes = {name: back.notes.get(name) for name in names}
    weak = [name for name, note in notes.items() if note is not None and note.confidence == "low"]
    if not weak:
        return ""
    said = f" Check first: the price of {' and of '.join(weak)} has low confidence."
    for row in document["sensitivity"]:
        if row["change"] == DOUBTFUL and row["changes_fleet"] and row["fleet"]:
            best = row["usd_per_hour_best"]
            said += f" Without accelerators of such prices the best is {row['fleet']}"
            return f"{said} at {best:.2f} USD an hour."
    return said


def _simulation_warnings(answer: Answer, simulated: Mapping[str, Any]) -> list[str]:
    found = []
    if simulated["num_jobs"] < SETTLED * simulated["rate"] * simulated["mean_s"]:
        found.append(
            "The simulation is short beside what a job takes: its queues may not have settled."
        )
    low, high = simulated["reached_interval_s"]
    if low <= answer.slo.seconds < high:
        found.append(
            f"The SLO of {answer.slo.seconds:g} s lies within the simulation's own error: "
            f"{low:.3g} to {high:.3g} s."
        )
    return found


def _price_warnings(name: str, note: PriceNote | None) -> list[str]:
    if note is None:
        return []
    found = []
    if note.confidence == "low":
        when = f" of {note.date}" if note.date else ""
        found.append(f"The price of {name} has low confidence ({note.source}{when}).")
    low, high = note.price_low, note.price_high
    if low and high and high > FAR_APART * low:
        found.append(f"Public offers for {name} range from {low:g} to {high:g} USD an hour.")
    return found


def _plain(value: Any) -> Any:
    """Write infinity as null, tuples as lists, numpy's numbers as Python's."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bool) or value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value.item()
