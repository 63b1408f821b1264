"""Fit the constants of engine steps and closed loops on the times of measured deployments.

Two dozen constants, all of them factors near 1 or small times, are fitted at once on the times to
first token and per token; single operations keep their own fits.
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
from gangline.planner.costs.step import PARTS, StepConstants, step_cost, weight_format
from gangline.planner.costs.step_parts import at_tokens, head_s, token_parts

from .deployment_rows import Group, Row, rows

Array = npt.NDArray[np.float64]

BY_GENERATION: tuple[str, ...] = ("collective", "expert_mixed", "moe_layer_s")
GENERATION_SPREAD = 0.35
EVIDENCE = 1.5
"""Weight of a row's log errors against the priors' (which count as one row each)."""

FIRST = 0.75
"""Weight of the log error of a first token against that of the others, which scatter less."""

PLAIN = StepConstants()
LOOP = tuple(part.name for part in fields(LoopConstants))
SEND = "send_steps"
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

SEND_STEPS = (3.5, 1.5)
"""Iterations before a first token is sent by an engine that sends each as it comes, and how far
(as a log) the settings of one series of runs move them.

Engines take requests in and send tokens out every so many iterations: TensorRT-LLM's
`stream_interval`, SGLang's `stream_interval` and `scheduler_recv_interval`. The table does not
say which were set; from its times, series read 2 to 5 iterations where tokens go out one by one, 10, 20 or 30 elsewhere.
"""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows as columns, and the parts of their steps before any constant is applied.

    `decode`, `added`, `prompt` and `full` have shape [rows, constants of a step]; `layers` has the counts
    of a prompt's four per-layer constants, shape [rows, 4]. `kind` is device, shape and mode;
    `series` numbers the sweeps over concurrency, which share an engine and its settings.
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
    series: npt.NDArray[np.int64]

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
    start = {name: value for name, (value, _) in PRIOR.items()} | {SEND: SEND_STEPS[0]}
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
        series=np.unique([_series(row) for row in chosen], return_inverse=True)[1],
    )


def _series(row: Row) -> str:
    what = (row.system, row.shape.name, row.mode, row.engine, row.dtype, row.isl, row.osl)
    return "/".join(str(part) for part in what)


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


@dataclass(frozen=True, slots=True)
class Fitted:
    """Constants by name, and the iterations each series of the fitted rows waits, by its number."""

    values: dict[str, float]
    send_steps: dict[int, float]


@dataclass(frozen=True, slots=True)
class _Problem:
    """Least squares in the logs of the constants, then of every series' iterations."""

    data: Table
    at: npt.NDArray[Any]
    names: tuple[str, ...]
    start: Array
    spread: Array
    weight: Array
    series: npt.NDArray[Any]

    def residuals(self, logs: Array) -> Array:
        """Weighted log errors of (ttft, tpot), then how far the logs are from their priors."""
        first, each = self._times(logs)
        first = first + self._sent(logs)
        off = (first / self.data.ttft[self.at], each / self.data.tpot[self.at])
        rows = [FIRST * self.weight * np.log(off[0]), self.weight * np.log(off[1])]
        return np.concatenate([*rows, (logs - self.start) / self.spread])

    def slopes(self, logs: Array) -> Array:
        """Derivatives: of constants by differences, of a series only its own rows change."""
        count, here = len(self.names), self.residuals(logs)
        found = np.zeros((here.size, logs.size))
        for column in range(count):
            moved = logs.copy()
            moved[column] += STEP
            found[:, column] = (self.residuals(moved) - here) / STEP
        sent = self._sent(logs)
        share = sent / (self._times(logs)[0] + sent)
        found[np.arange(self.at.size), count + self.series] = FIRST * self.weight * share
        own = np.arange(count, logs.size)
        found[2 * self.at.size + own, own] = 1.0 / self.spread[own]
        return found

    def _times(self, logs: Array) -> tuple[Array, Array]:
        values = dict(zip(self.names, np.exp(logs[: len(self.names)]).tolist(), strict=True))
        return predicted(self.data, values | {SEND: 0.0}, self.at)

    def _sent(self, logs: Array) -> Array:
        steps = np.exp(logs[len(self.names) :])[self.series]
        return np.asarray(steps * self.data.tpot[self.at])


STEP = 1e-5
"""Difference of a log by which slopes are taken."""


def fit_constants(data: Table, chosen: npt.NDArray[np.bool_]) -> Fitted:
    """Fit all constants on the chosen rows: log errors, outliers damped, priors on a log scale.

    What an engine was told about blocks of tokens goes with the model it serves, so every series
    has its own iterations before the first token, held near those of one told nothing; left to
    the constants, settings would look like properties of models. Rows weigh by the fourth root
    of how many share device, model and mode, so that a pair with many runs does not rule.
    """
    from scipy.optimize import least_squares

    problem, numbers = _problem(data, np.flatnonzero(chosen))
    best = least_squares(
        problem.residuals,
        problem.start,
        jac=problem.slopes,
        loss="soft_l1",
        f_scale=0.15,
        max_nfev=40,
    )
    found = np.exp(best.x)
    count = len(problem.names)
    values = dict(zip(problem.names, found[:count].tolist(), strict=True))
    steps = dict(zip(numbers.tolist(), found[count:].tolist(), strict=True))
    return Fitted(values | {SEND: SEND_STEPS[0]}, steps)


def _problem(data: Table, at: npt.NDArray[Any]) -> tuple[_Problem, npt.NDArray[Any]]:
    found = sorted(set(data.generation[at].tolist()))
    own = {f"{made}.{name}": (1.0, GENERATION_SPREAD) for made in found for name in BY_GENERATION}
    prior = {**PRIOR, **own}
    numbers, series = np.unique(data.series[at], return_inverse=True)
    start = [value for value, _ in prior.values()] + [SEND_STEPS[0]] * numbers.size
    spread = [width for _, width in prior.values()] + [SEND_STEPS[1]] * numbers.size
    _, inverse, counts = np.unique(data.kind[at], return_inverse=True, return_counts=True)
    weight = counts[inverse].astype(float) ** -0.25
    weight = EVIDENCE * weight / weight.mean()
    names = tuple(prior)
    return _Problem(data, at, names, np.log(start), np.array(spread), weight, series), numbers
