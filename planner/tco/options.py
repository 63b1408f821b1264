"""Every way to serve every class of a demand: seconds at load, and replicas needed, as arrays.

For each model, all device types x tp x pp x dtype x batch x {co-located, prefill, decode} are
priced with one vectorised call per (device, dtype, tp, pp); CPU steps on all types with cores.
Prices do not enter here, so a change of price needs no new evaluation.

A replica with pipeline stages has `pp` iterations in flight, each with its own batch. Seconds at
load, for a class with prompt p, output o, prefill seconds P and decode step D(b) at batch b:

    prefill     throughput pp k / P_k for k prompts at once; TTFT = wait of a G/G/m + P_k
    decode      throughput pp b / (o D(b)); TPOT = D(b)
    co-located  b requests need b P + o D(b) of an iteration's time: throughput pp b / that;
                TPOT = D(b) + b P / o (prefills interrupt decoding); TTFT = wait for a slot and
                for prefills before it + P + one D(b) per chunk of the prompt
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from gangline.ir.specs.device import DeviceSpec
from gangline.planner.costs.shape import ModelShape
from gangline.planner.engine_times import MAX_STEP_TOKENS
from gangline.planner.queueing import mean_waits_s

from .config import ServingConfig
from .demand import Demand, DemandClass
from .step_model import StepModel, StepModels, fitted

Array = npt.NDArray[np.float64]

CHUNK_TOKENS = MAX_STEP_TOKENS["gpu"]
"""Prompt tokens an engine computes in one iteration beside decoding requests."""

NETWORK_BYTES_PER_S = 5e10
"""Between two replicas: RoCE at 400 Gbit/s, the upper end of what arXiv 2507.19635 asks for."""

NETWORK_LATENCY_S = 1e-4
"""Set-up of one transfer of a KV cache."""

ROOMY_BATCH = 8
"""Pipeline stages are tried only where fewer of the longest requests fit without them: they add
memory, while two replicas give the same throughput at the same latency."""

MIN_SECONDS = 1e-9


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """What is tried.

    Attributes:
        utilisations: load a prefill or co-located pool is planned for; fewer is faster jobs.
        decode_utilisation: load of the batch slots of a decode pool.
        cpu_utilisation: load of the cores of CPU pools.
    """

    tps: tuple[int, ...] = (1, 2, 4, 8)
    pps: tuple[int, ...] = (1, 2)
    dtypes: tuple[str, ...] = ("bf16", "fp8")
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256)
    prefill_batches: tuple[int, ...] = (1, 4)
    utilisations: tuple[float, ...] = (0.4, 0.65, 0.85)
    decode_utilisation: float = 0.9
    cpu_utilisation: float = 0.7
    roles: tuple[str, ...] = ("colocated", "prefill", "decode")
    devices_per_replica: int = 8
    network_bytes_per_s: float = NETWORK_BYTES_PER_S


@dataclass(frozen=True, slots=True)
class Pools:
    """Ways to serve some classes, aligned: row i of each array is `configs[i]`.

    Attributes:
        classes: numbers of the classes the columns stand for.
        load: replicas that all calls of a class need, [configs, classes]; inf where impossible.
        first_s: mean seconds of the prefill part (or of a CPU step), with waiting.
        rest_s: mean seconds of the decode part.
        first_path_s, rest_path_s: the same with one standard deviation added to each term, as
            a deadline counts them: waits are exponential, work varies as tokens and seconds do.
        token_s: seconds between two tokens.
        service_s: seconds of a slot a call takes, without waiting; of prompts computed together
            each has its share.
        prefill_s: seconds of the prompt's computation alone.
        transfer_s: seconds the KV cache of a call takes over this side's link.
        slots: calls one replica serves at once.
        groups: the group of each configuration.
        rows_of: by group, its rows with one utilisation per batch size, smallest batch first.
    """

    configs: tuple[ServingConfig, ...]
    classes: tuple[int, ...]
    load: Array
    first_s: Array
    rest_s: Array
    first_path_s: Array
    rest_path_s: Array
    token_s: Array
    service_s: Array
    prefill_s: Array
    transfer_s: Array
    slots: Array
    groups: tuple[ServingConfig, ...] = ()
    rows_of: Mapping[ServingConfig, npt.NDArray[np.int64]] = field(default_factory=dict)


FIELDS = (
    "load",
    "first_s",
    "rest_s",
    "first_path_s",
    "rest_path_s",
    "token_s",
    "service_s",
    "prefill_s",
    "transfer_s",
)


@dataclass(slots=True)
class _Work:
    """The classes of one model as arrays of shape [classes]."""

    numbers: tuple[int, ...]
    rate: Array
    prompt: Array
    cached: Array
    output: Array
    prompt_scv: Array
    output_scv: Array
    longest: tuple[tuple[float, float], ...]


@dataclass(slots=True)
class _Rows:
    """Collects blocks of rows of `Pools`."""

    configs: list[ServingConfig] = field(default_factory=list)
    slots: list[Array] = field(default_factory=list)
    blocks: dict[str, list[Array]] = field(default_factory=lambda: {name: [] for name in FIELDS})

    def add(self, configs: list[ServingConfig], slots: Array, **values: Array) -> None:
        """Add a block: one row per configuration, arrays that broadcast to [rows, classes]."""
        self.configs.extend(configs)
        self.slots.append(slots)
        shape = values["load"].shape
        for name in FIELDS:
            value = values.get(name)
            filled = np.zeros(shape) if value is None else np.broadcast_to(value, shape)
            self.blocks[name].append(filled)

    def pools(self, classes: tuple[int, ...]) -> Pools:
        """Stack the blocks."""
        empty = np.zeros((0, len(classes)))
        stacked = {name: np.concatenate([empty, *blocks]) for name, blocks in self.blocks.items()}
        slots = np.concatenate([np.zeros(0), *self.slots])
        groups, rows_of = _by_group(self.configs)
        configs = tuple(self.configs)
        return Pools(configs, classes, slots=slots, groups=groups, rows_of=rows_of, **stacked)


def _by_group(
    configs: list[ServingConfig],
) -> tuple[tuple[ServingConfig, ...], dict[ServingConfig, npt.NDArray[np.int64]]]:
    known: dict[tuple[object, ...], ServingConfig] = {}
    first: dict[ServingConfig, dict[int, int]] = {}
    groups = []
    for row, config in enumerate(configs):
        key = (config.device, config.role, config.model, config.tp, config.pp, config.dtype)
        group = known[key] if key in known else known.setdefault(key, config.group)
        groups.append(group)
        first.setdefault(group, {}).setdefault(config.batch, row)
    rows_of = {
        group: np.array([rows[batch] for batch in sorted(rows)]) for group, rows in first.items()
    }
    return tuple(groups), rows_of


def evaluate(
    demand: Demand,
    devices: Mapping[str, DeviceSpec],
    shapes: Mapping[str, ModelShape],
    space: SearchSpace,
    models: StepModels = fitted,
) -> tuple[Pools, ...]:
    """Price all pools: one `Pools` per model, and one for the CPU steps if there are any."""
    found = []
    names = dict.fromkeys(group.model for group in demand.classes if group.kind == "llm")
    for name in names:
        work = _work(demand, name)
        rows = _Rows()
        for spec in devices.values():
            if spec.kind != "api":
                _add_device(rows, work, spec, name, shapes[name], space, models)
        found.append(rows.pools(work.numbers))
    cpu = tuple(i for i, group in enumerate(demand.classes) if group.kind == "cpu")
    if cpu:
        found.append(_cpu_pools(demand, cpu, devices, space))
    return tuple(found)


def _work(demand: Demand, model: str) -> _Work:
    numbers = tuple(i for i, group in enumerate(demand.classes) if group.model == model)
    groups = [demand.classes[index] for index in numbers]
    prompt = np.array([group.prompt_tokens.mean for group in groups])
    return _Work(
        numbers,
        rate=np.array([demand.calls_per_s(index) for index in numbers]),
        prompt=prompt,
        cached=np.minimum([group.cached_tokens for group in groups], prompt),
        output=np.maximum([group.output_tokens.mean for group in groups], 1.0),
        prompt_scv=np.array([group.prompt_tokens.scv for group in groups]),
        output_scv=np.array([group.output_tokens.scv for group in groups]),
        longest=tuple(_longest(group) for group in groups),
    )


def _longest(group: DemandClass) -> tuple[float, float]:
    """Lengths a replica must at least hold once: the longest of the distribution."""
    return group.prompt_tokens.values[-1], max(group.output_tokens.values[-1], 1.0)


def _add_device(
    rows: _Rows,
    work: _Work,
    spec: DeviceSpec,
    name: str,
    shape: ModelShape,
    space: SearchSpace,
    models: StepModels,
) -> None:
    longest = tuple(map(max, zip(*work.longest, strict=True)))
    roomy: set[tuple[str, int]] = set()
    for dtype, tp, pp in _splits(spec, space):
        if (dtype, tp) in roomy:
            continue
        step = models(spec, shape, dtype, tp, pp)
        if step is None or step.max_batch(longest[0], longest[1]) < 1:
            continue
        if step.max_batch(longest[0], longest[1]) >= ROOMY_BATCH:
            roomy.add((dtype, tp))
        link = min(space.network_bytes_per_s, spec.host_bytes_per_s or space.network_bytes_per_s)
        kv = np.array([shape.kv_bytes(float(tokens)) for tokens in work.prompt])
        transfer = NETWORK_LATENCY_S + kv / (link * tp * pp)
        for role in space.roles:
            base = ServingConfig(spec.type, role, name, tp, pp, dtype)
            add = _add_prefill if role == "prefill" else _add_decode
            add(rows, base, work, step, transfer, space)


def _splits(spec: DeviceSpec, space: SearchSpace) -> Iterator[tuple[str, int, int]]:
    """Formats and splits worth pricing on a device type; CPU sockets are not split."""
    for dtype in space.dtypes:
        for tp in space.tps:
            for pp in space.pps:
                if tp * pp <= (1 if spec.kind == "cpu" else space.devices_per_replica):
                    yield dtype, tp, pp


def _add_prefill(
    rows: _Rows,
    base: ServingConfig,
    work: _Work,
    step: StepModel,
    transfer: Array,
    space: SearchSpace,
) -> None:
    new = np.maximum(work.prompt - work.cached, 1.0)
    configs, count, load = _grid(base, space.prefill_batches, space.utilisations)
    each_s = step.mixed_step_s(new * count, work.cached, 0.0, 0.0, count)
    needed = work.rate * each_s / (base.pp * count * load)
    # Gathering several prompts takes half the time until as many have come, or until the
    # prompts before them are done.
    gather = 0.5 * (count - 1.0) / np.maximum(work.rate, MIN_SECONDS)
    wait = _waits(needed, load, float(base.pp), each_s, work.prompt_scv)
    rows.add(
        configs,
        np.full(len(configs), float(base.pp)),
        load=needed,
        first_s=np.minimum(gather, each_s) + wait + each_s,
        first_path_s=np.minimum(gather, each_s)
        + 2.0 * wait
        + _plus_deviation(each_s, work.prompt_scv),
        service_s=each_s / count,
        prefill_s=each_s,
        transfer_s=transfer,
    )


def _plus_deviation(seconds: Array, scv: Array) -> Array:
    """Add one standard deviation to seconds that vary in proportion to the work."""
    return np.asarray(seconds * (1.0 + np.sqrt(scv)))


def _grid(
    base: ServingConfig, batches: tuple[int, ...], loads: tuple[float, ...]
) -> tuple[list[ServingConfig], Array, Array]:
    """Give all batches at all loads, with both as columns of shape [configs, 1]."""
    pairs = [(batch, load) for batch in batches for load in loads]
    configs = [replace(base, batch=batch, utilisation=load) for batch, load in pairs]
    columns = np.array(pairs, dtype=float).reshape(-1, 2)
    return configs, columns[:, :1], columns[:, 1:]


def _waits(
    needed: Array, load: npt.ArrayLike, slots: npt.ArrayLike, service_s: Array, scv: Array
) -> Array:
    """Wait in a pool that serves the whole model, of half the replicas that would take.

    The search knows no replica counts yet; the estimate of a chosen fleet uses the real ones.
    """
    whole = np.where(np.isfinite(needed), needed, 0.0).sum(axis=-1, keepdims=True)
    replicas = np.maximum(1.0, np.floor(0.5 * whole))
    return mean_waits_s(replicas * slots, load, service_s, scv)


def _add_decode(
    rows: _Rows,
    base: ServingConfig,
    work: _Work,
    step: StepModel,
    transfer: Array,
    space: SearchSpace,
) -> None:
    """Add decode pools, or co-located ones, whose iterations prefills interrupt."""
    alone = base.role == "decode"
    loads = (space.decode_utilisation,) if alone else space.utilisations
    limits = _batch_limits(base, work, step)
    batches = tuple(batch for batch in space.batches if batch <= limits.max())
    if not batches:
        return
    configs, batch, load = _grid(base, batches, loads)
    each_s = step.mixed_step_s(0.0, 0.0, batch, work.prompt + 0.5 * work.output, 0.0)
    new = np.zeros_like(work.prompt) if alone else np.maximum(work.prompt - work.cached, 1.0)
    prefill_s = 0.0 * new if alone else step.mixed_step_s(new, work.cached, 0.0, 0.0)
    cycle = batch * prefill_s + work.output * each_s
    needed = np.where(batch <= limits, work.rate * cycle / (base.pp * batch * load), np.inf)
    wait = _waits(needed, load, base.pp * batch, cycle, work.output_scv)
    behind = _behind_s(work, load * batch * prefill_s / cycle, prefill_s)
    prompt_s = behind + prefill_s + np.ceil(new / CHUNK_TOKENS) * each_s
    token = cycle / work.output
    rest = (work.output - 1.0) * token
    late = wait if alone else 0.0
    rows.add(
        configs,
        base.pp * batch[:, 0],
        load=needed,
        first_s=wait + prompt_s,
        rest_s=rest + late,
        first_path_s=2.0 * wait + _plus_deviation(prompt_s, work.prompt_scv),
        rest_path_s=_plus_deviation(rest, work.output_scv) + 2.0 * late,
        token_s=token,
        service_s=cycle,
        prefill_s=prompt_s,
        transfer_s=transfer,
    )


def _batch_limits(base: ServingConfig, work: _Work, step: StepModel) -> Array:
    """Give how many calls of each class an iteration may hold; may be below 1."""
    lengths = zip(work.prompt, work.output, strict=True)
    return np.array([step.max_batch(prompt, output) / base.pp for prompt, output in lengths])


def _behind_s(work: _Work, busy: Array, prefill_s: Array) -> Array:
    """Wait of a prompt for those before it, in an engine busy with prefills that share of time.

    The queue of an M/G/1: (1 + Cs^2) / 2 x rho / (1 - rho) x S.
    """
    rho = np.minimum(busy, 0.95)
    return np.asarray(0.5 * (1.0 + work.prompt_scv) * rho / (1.0 - rho) * prefill_s)


def _cpu_pools(
    demand: Demand,
    numbers: tuple[int, ...],
    devices: Mapping[str, DeviceSpec],
    space: SearchSpace,
) -> Pools:
    rows = _Rows()
    groups = [demand.classes[index] for index in numbers]
    mean = np.array([group.seconds.mean for group in groups])
    scv = np.array([group.seconds.scv for group in groups])
    rate = np.array([demand.calls_per_s(index) for index in numbers])
    for spec in devices.values():
        if spec.cores <= 0:
            continue
        seconds = mean[None, :] + spec.efficiency.get("tool_s", 0.0)
        needed = rate * seconds / (spec.cores * space.cpu_utilisation)
        wait = _waits(needed, space.cpu_utilisation, spec.cores, seconds, scv)
        rows.add(
            [ServingConfig(spec.type, "cpu", utilisation=space.cpu_utilisation)],
            np.array([float(spec.cores)]),
            load=needed,
            first_s=wait + seconds,
            first_path_s=2.0 * wait + _plus_deviation(seconds, scv),
            service_s=seconds,
            prefill_s=seconds,
        )
    return rows.pools(numbers)
