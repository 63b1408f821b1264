"""Fit what engine steps and closed loops of requests add to single operations.

Two dozen constants, all of them factors near 1 or small times, are fitted at once on the times to
first token and per token of measured deployments; single operations keep their own fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from gangline.planner.costs.arithmetic import ARRAYS
from gangline.planner.costs.closed_loop import (
    PACKED_TOKENS,
    LoopConstants,
    StepTimes,
    aggregated,
    disaggregated,
)
from gangline.planner.costs.deployment import TRANSFER_BYTES_PER_S
from gangline.planner.costs.interval import errors, ratio_interval
from gangline.planner.costs.step import PARTS, StepConstants, step_cost, weight_format
from gangline.planner.costs.step_parts import at_tokens, head_s, token_parts

from .data import provenance
from .deployment_rows import TABLE, Group, Row, rows

Array = npt.NDArray[np.float64]

BY_GENERATION: tuple[str, ...] = ("collective", "expert_mixed", "moe_layer_s")
GENERATION_SPREAD = 0.35
EVIDENCE = 1.5
"""Weight of a row's log errors against the priors' (which count as one row each)."""

PLAIN = StepConstants()
LOOP = tuple(part.name for part in fields(LoopConstants))
PRIOR: dict[str, tuple[float, float]] = {
    "gemm": (1.0, 0.35),
    "gemm_busy": (1.0, 0.35),
    "expert": (1.0, 0.35),
    "expert_busy": (1.0, 0.35),
    "prompt_attention": (1.0, 0.35),
    "expert_fp4": (1.0, 0.35),
    "expert_mixed": (1.0, 0.35),
    "attention": (1.0, 0.35),
    "collective": (1.0, 0.35),
    "launch": (0.7, 0.35),
    "latency": (0.7, 0.35),
    "layer_s": (1e-5, 0.5),
    "moe_layer_s": (1e-5, 0.5),
    "step_s": (1e-3, 0.5),
    "sequence_s": (5e-6, 0.5),
    "interference": (1.0, 0.25),
    "lockstep": (0.3, 0.5),
    "front_s": (0.03, 1.0),
    "prompt_layer_s": (3e-4, 1.25),
    "prompt_moe_layer_s": (3e-4, 1.25),
    "prompt_linear_layer_s": (3e-4, 1.25),
    "prompt_latent_layer_s": (3e-4, 1.25),
    "prompt_share": (0.5, 0.5),
    "burst": (0.1, 0.5),
    "burst_lockstep": (0.5, 0.5),
    "handover_s": (0.2, 1.0),
    "handover_burst": (0.1, 0.5),
}
"""Where each constant starts, and how far (as a log) one row's worth of evidence may move it."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows as columns, and the parts of their steps before any constant is applied.

    `decode`, `added`, `prompt` and `full` have shape [rows, constants of a step]; `layers` has the counts
    of a prompt's four per-layer constants, shape [rows, 4]. `kind` is device, shape and mode.
    """

    rows: tuple[Row, ...]
    decode: Array
    added: Array
    prompt: Array
    full: Array
    packed: Array
    layers: Array
    running: Array
    waiting: Array
    groups: Array
    servers: Array
    transfer: Array
    output: Array
    concurrency: Array
    ttft: Array
    tpot: Array
    apart: npt.NDArray[np.bool_]
    generation: npt.NDArray[np.str_]
    kind: npt.NDArray[np.str_]

    def column(self, name: str) -> npt.NDArray[Any]:
        """One attribute of all rows."""
        return np.array([getattr(row, name) for row in self.rows])


def parts_of(
    row: Row, group: Group, new: float, batch: Array, context: float, prompts: float
) -> Array:
    """Parts of an iteration by step constant at several batch sizes, shape [batches, parts]."""
    form = weight_format(row.dtype)
    cost = step_cost(
        row.spec, row.shape, row.dtype, group.tp, group.pp, dp=_shared(row, group), chosen=PLAIN
    )
    shared = _shared(row, group)
    token = token_parts(
        row.spec, row.shape, form, group.tp, group.pp, shared, cost.attention.empty_s
    )
    head = head_s(row.spec, row.shape, form, group.tp)
    at = {name: at_tokens(ARRAYS, table, new + batch) for name, table in token.items()}
    at["gemm"] = at["gemm"] + at_tokens(ARRAYS, head, batch + prompts)
    given = np.broadcast_arrays(new, 0.0, batch, context, prompts)
    at["prompt_attention"], at["attention"] = cost.attention_s(ARRAYS, *given)
    at["step_s"], at["sequence_s"] = np.ones(batch.shape), batch + prompts
    zero = np.zeros(batch.shape)
    return np.stack([np.broadcast_to(at.get(name, zero), batch.shape) for name in PARTS], axis=-1)


def _shared(row: Row, group: Group) -> int:
    return group.dp if row.shape.experts else 1


def _capacity(row: Row, group: Group) -> float:
    dp = _shared(row, group)
    cost = step_cost(row.spec, row.shape, row.dtype, group.tp, group.pp, dp=dp, chosen=PLAIN)
    return max(1.0, float(cost.max_batch(row.isl, row.osl)))


@cache
def table() -> Table:
    """Price the parts of every row once, at the number of its requests that decode.

    That number follows from the times; it is taken from those of the priors, which no row of the
    table has touched.
    """
    chosen = rows()
    running, waiting = np.zeros(len(chosen)), np.zeros(len(chosen))
    for at, row in enumerate(chosen):
        group = row.deciding
        waiting[at] = max(1.0, row.concurrency / (group.workers * group.dp))
        running[at] = min(waiting[at], _capacity(row, group))
    data = _priced(chosen, running, waiting, np.maximum(0.95 * running, 1.0))
    start = {name: value for name, (value, _) in PRIOR.items()}
    ttft, tpot = predicted(data, start, np.arange(len(chosen)))
    life = (ttft + data.output * tpot) * running / waiting
    share = np.clip(data.output * tpot / life, 0.05, 1.0)
    return _priced(chosen, running, waiting, np.maximum(share * running, 1.0))


def _priced(chosen: tuple[Row, ...], running: Array, waiting: Array, decoding: Array) -> Table:
    shape = (len(chosen), len(PARTS))
    decode, added, prompt, full = (np.zeros(shape) for _ in range(4))
    packed = np.array([max(1.0, PACKED_TOKENS / row.isl) for row in chosen])
    layers = np.zeros((len(chosen), 4))
    servers, transfer = np.ones(len(chosen)), np.zeros(len(chosen))
    for at, row in enumerate(chosen):
        group, size = row.deciding, decoding[at : at + 1] / row.deciding.pp
        context = row.isl + 0.5 * row.osl
        decode[at] = parts_of(row, group, 0.0, size, context, 0.0)[0]
        if row.agg:
            both = parts_of(row, group, row.isl, size, context, 1.0)[0]
            added[at] = (both - decode[at]) / group.pp
        first = row.prefill or group
        prompt[at] = parts_of(row, first, row.isl, np.zeros(1), 0.0, 1.0)[0]
        if row.prefill:
            many = packed[at]
            iteration = parts_of(row, first, many * row.isl, np.zeros(1), 0.0, many)[0]
            full[at] = iteration / many
        shapes = row.shape
        latent = shapes.layers if shapes.kv_lora_rank else 0
        layers[at] = (shapes.layers, shapes.moe_layers, shapes.linear_layers, latent)
        servers[at] = first.workers * first.dp
        if row.prefill:
            cost = step_cost(row.spec, row.shape, row.dtype, first.tp, first.pp, chosen=PLAIN)
            transfer[at] = cost.kv_bytes_per_request(row.isl) / TRANSFER_BYTES_PER_S
    return Table(
        rows=chosen,
        decode=decode,
        added=added,
        prompt=prompt,
        full=full,
        packed=packed,
        layers=layers,
        running=running,
        waiting=waiting,
        groups=np.array([float(_shared(row, row.deciding)) for row in chosen]),
        servers=servers,
        transfer=transfer,
        output=np.array([row.osl for row in chosen]),
        concurrency=np.array([row.concurrency for row in chosen]),
        ttft=np.array([row.ttft_s for row in chosen]),
        tpot=np.array([row.tpot_s for row in chosen]),
        apart=np.array([row.agg is None for row in chosen]),
        generation=np.array([row.spec.generation for row in chosen]),
        kind=np.array([f"{row.system}/{row.shape.name}/{row.mode}" for row in chosen]),
    )


def predicted(
    data: Table, values: Mapping[str, float], at: npt.NDArray[Any]
) -> tuple[Array, Array]:
    """Predict (ttft, tpot) of the rows `at` with given constants."""
    generation = data.generation[at]
    ttft, tpot = np.zeros(at.size), np.zeros(at.size)
    for name in set(generation.tolist()):
        here = np.flatnonzero(generation == name)
        ttft[here], tpot[here] = _predicted(data, of_generation(values, name), at[here])
    return ttft, tpot


def of_generation(values: Mapping[str, float], generation: str) -> dict[str, float]:
    """Constants on devices of one generation: the common ones times what it adds, if fitted."""
    extra = {name: values.get(f"{generation}.{name}", 1.0) for name in BY_GENERATION}
    return {**values, **{name: values[name] * factor for name, factor in extra.items()}}


def _predicted(
    data: Table, values: Mapping[str, float], at: npt.NDArray[Any]
) -> tuple[Array, Array]:
    factors = np.array([values[name] for name in PARTS])
    for name in ("expert_fp4", "expert_mixed"):
        factors[PARTS.index(name)] *= values["expert"]
    loop = LoopConstants(**{name: values[name] for name in LOOP})
    per_layer = np.array([values[name] for name in LOOP if name.endswith("layer_s")])
    times = StepTimes(
        decode_s=data.decode[at] @ factors,
        prompt_s=data.prompt[at] @ factors,
        added_s=data.added[at] @ factors,
        packed_s=data.full[at] @ factors,
        packed=data.packed[at],
        fixed_s=data.layers[at] @ per_layer,
        running=data.running[at],
        waiting=data.waiting[at],
        groups=data.groups[at],
        output=data.output[at],
    )
    one = aggregated(times, loop)
    two = disaggregated(times, data.servers[at], data.transfer[at], data.concurrency[at], loop)
    apart = data.apart[at]
    return np.where(apart, two[0], one[0]), np.where(apart, two[1], one[1])


def fit_constants(data: Table, chosen: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Fit all constants on the chosen rows: log errors, outliers damped, priors on a log scale.

    Rows weigh by the fourth root of how many share device, model and mode, so that a pair with
    many runs does not rule.
    """
    from scipy.optimize import least_squares

    at = np.flatnonzero(chosen)
    found = sorted(set(data.generation[at].tolist()))
    own = {f"{made}.{name}": (1.0, GENERATION_SPREAD) for made in found for name in BY_GENERATION}
    prior = {**PRIOR, **own}
    names = list(prior)
    start = np.log([prior[name][0] for name in names])
    spread = np.array([prior[name][1] for name in names])
    _, inverse, counts = np.unique(data.kind[at], return_inverse=True, return_counts=True)
    weight = counts[inverse].astype(float) ** -0.25
    weight = EVIDENCE * weight / weight.mean()
    ttft, tpot = data.ttft[at], data.tpot[at]

    def residuals(logs: Array) -> Array:
        values = dict(zip(names, np.exp(logs).tolist(), strict=True))
        first, each = predicted(data, values, at)
        off = (weight * np.log(first / ttft), weight * np.log(each / tpot))
        return np.concatenate([*off, (logs - start) / spread])

    best = least_squares(residuals, start, loss="soft_l1", f_scale=0.15, max_nfev=60)
    return dict(zip(names, np.exp(best.x).tolist(), strict=True))


WIDEN = 1.3
"""Factor of an interval's log width on generations without a measured deployment: a choice, no
data can tell; between the errors left out within and across generations."""

HELD_OUT = (("b200_sxm", "b300_sxm"), ("b200_sxm",), ("b300_sxm",), ("h200_sxm",), ("gb300",))
"""Devices left out together; B300 is close to B200, so both are left out once."""

ENOUGH = 100
"""Rows below which a fit is not tried."""

QUANTITIES = ("ttft", "tpot")
ENGINES = ("vllm", "sglang", "trtllm")


def left_out(data: Table, by: npt.NDArray[Any], among: npt.NDArray[Any]) -> Array:
    """Log of measured over predicted (ttft, tpot) of rows of a group that the fit never saw.

    Args:
        by: group of each row (its device, or its model); each is left out once.
        among: rows to use at all, shape [rows].

    Returns:
        Shape [rows, 2]; NaN for rows not used and where too few rows are left to fit.
    """
    off = np.full((len(data.rows), 2), np.nan)
    for group in np.unique(by[among]):
        out = (by == group) & among
        if np.count_nonzero(among & ~out) < ENOUGH:
            continue
        values = fit_constants(data, among & ~out)
        at = np.flatnonzero(out)
        off[at] = np.log(_measured(data, at) / np.stack(predicted(data, values, at), axis=-1))
    return off


def _measured(data: Table, at: npt.NDArray[Any]) -> Array:
    return np.stack([data.ttft[at], data.tpot[at]], axis=-1)


def intervals(data: Table, among: npt.NDArray[Any]) -> dict[str, dict[str, tuple[float, float]]]:
    """Ratios that 90 % of left-out rows lie between, by family and mode, and quantity.

    The mean (of logs) of two pairs of ends: those of the kind's own rows with their device left
    out, and those of all rows of the mode with device or model left out. The second holds what
    few devices and models of one kind cannot show.
    """
    device = left_out(data, data.column("system"), among)
    model = left_out(data, np.array([row.shape.name for row in data.rows]), among)
    family, mode = data.column("family"), data.column("mode")
    found = {}
    for apart in ("agg", "disagg"):
        pooled = np.concatenate([device[mode == apart], model[mode == apart]])
        for kind in ("dense", "moe_mla"):
            own = device[(mode == apart) & (family == kind)]
            ratios = {}
            for column, quantity in enumerate(QUANTITIES):
                wide = _ends(pooled[:, column], pooled[:, column])
                near = _ends(own[:, column], pooled[:, column])
                low, high = np.sqrt(np.multiply(wide, near)).tolist()
                ratios[quantity] = (low, high)
            found[f"{kind}_{apart}"] = ratios
    return found


def _ends(off: Array, otherwise: Array) -> tuple[float, float]:
    """Interval of ratios of the rows that are numbers; of others where they are few."""
    known = off[~np.isnan(off)]
    ratio = np.exp(known if known.size >= 20 else otherwise[~np.isnan(otherwise)])
    return ratio_interval(np.ones(ratio.size), ratio) if ratio.size else (0.5, 2.0)


def engine_factors(data: Table, values: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Median ratio of measured to predicted of each engine, the models it served weighing alike."""
    at = np.arange(len(data.rows))
    off = np.log(_measured(data, at) / np.stack(predicted(data, values, at), axis=-1))
    engine = data.column("engine")
    found = {}
    for name in ENGINES:
        kinds = [off[(engine == name) & (data.kind == kind)] for kind in np.unique(data.kind)]
        middles = [np.median(rows_of, axis=0) for rows_of in kinds if len(rows_of) >= 5]
        found[name] = dict(zip(QUANTITIES, np.exp(np.median(middles, axis=0)), strict=True))
    return {k: {q: float(v) for q, v in row.items()} for k, row in found.items()}


def fit() -> dict[str, Any]:
    """Give the constants fitted on all rows, intervals from left-out devices, and provenance."""
    data = table()
    every = np.ones(len(data.rows), dtype=bool)
    values = fit_constants(data, every)
    own = sorted({name for name in values if "." in name})
    generations: dict[str, dict[str, float]] = {}
    for name in own:
        made, constant = name.split(".")
        generations.setdefault(made, {})[constant] = values[name]
    return {
        "step": {name: values[name] for name in PARTS},
        "loop": {name: values[name] for name in LOOP},
        "generations": generations,
        "engines": engine_factors(data, values),
        "intervals": _with_unknown(intervals(data, every)),
        "provenance": provenance(TABLE) | {"runs": len(data.rows)},
    }


def _with_unknown(
    ratios: dict[str, dict[str, tuple[float, float]]],
) -> dict[str, dict[str, dict[str, tuple[float, float]]]]:
    """Give every interval a wider one beside it, for generations without a measured run."""
    return {
        kind: {
            quantity: {"known": ends, "unknown": (ends[0] ** WIDEN, ends[1] ** WIDEN)}
            for quantity, ends in found.items()
        }
        for kind, found in ratios.items()
    }


def score() -> list[dict[str, Any]]:
    """Rows of errors and intervals, device by device and model by model left out."""
    data = table()
    system = data.column("system")
    name = np.array([row.shape.name for row in data.rows])
    splits = [("device", "+".join(split), np.isin(system, split)) for split in HELD_OUT]
    splits += [("model", str(model), name == model) for model in np.unique(name)]
    found: list[dict[str, Any]] = []
    for by, label, out in splits:
        values = fit_constants(data, ~out)
        found += _scored(data, values, intervals(data, ~out), by, label, np.flatnonzero(out))
    return found + _each_once(data)


def _each_once(data: Table) -> list[dict[str, Any]]:
    """Errors of all rows, each predicted by the fit that left its device (or model) out."""
    every = np.ones(len(data.rows), dtype=bool)
    model = np.array([row.shape.name for row in data.rows])
    kinds = np.array([f"{row.family}_{row.mode}" for row in data.rows])
    found = []
    for by, groups in (("device", data.column("system")), ("model", model)):
        off = left_out(data, groups, every)
        for kind in sorted(set(kinds.tolist())):
            here = (kinds == kind) & ~np.isnan(off[:, 0])
            for column, quantity in enumerate(QUANTITIES):
                ratio = np.exp(-off[here, column])
                row = {"table": TABLE, "left_out": by, "held_out": "each in turn", "op": quantity}
                found.append(row | {"family": kind} | errors(ratio, np.ones(ratio.size)))
    return found


def _scored(
    data: Table,
    values: Mapping[str, float],
    ratios: Mapping[str, Mapping[str, tuple[float, float]]],
    by: str,
    label: str,
    at: npt.NDArray[Any],
) -> list[dict[str, Any]]:
    middle = np.stack(predicted(data, values, at), axis=-1)
    measured, found = _measured(data, at), []
    kinds = np.array([f"{data.rows[row].family}_{data.rows[row].mode}" for row in at])
    for kind in sorted(set(kinds.tolist())):
        here = kinds == kind
        for column, quantity in enumerate(QUANTITIES):
            ends = ratios[kind][quantity]
            row = {
                "table": TABLE,
                "left_out": by,
                "held_out": label,
                "op": f"{quantity}_{'disagg' if kind.endswith('disagg') else 'agg'}",
                "family": "dense" if kind.startswith("dense") else "moe_mla",
            }
            found.append(row | errors(middle[here, column], measured[here, column], ends))
    return found
