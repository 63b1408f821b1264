"""The public predictor: seconds of one operation, or rates and waits of a deployment, by device.

`predict` is exported as `gangline.planner.predict`. Every operation takes plain numbers or arrays
that broadcast; names (device, format, model) may be arrays too, and are then grouped. Each
operation's arguments are listed in `OPERATIONS`; what its seconds mean is documented at the
function of `planner.costs` that computes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from gangline.ir.errors import ConfigError, UnsupportedFormatError
from gangline.ir.specs.device import DeviceSpec

from .catalogue import find_type
from .costs.attention import (
    ATTENTION_DTYPES,
    attention_source,
    decode_interval,
    decode_s,
    prefill_interval,
    prefill_s,
)
from .costs.collective import collective_interval, collective_s, collective_source, kind_of
from .costs.dtypes import FORMATS, peak
from .costs.gemm import gemm_interval, gemm_s, gemm_source
from .costs.interval import Estimate
from .costs.shape import ModelShape, find_shape

if TYPE_CHECKING:
    from .costs.deployment import Workers

Array = npt.NDArray[np.float64]

DTYPE_SYNONYMS = {
    "bfloat16": "bf16",
    "half": "fp16",
    "float16": "fp16",
    "float": "fp32",
    "float32": "fp32",
    "float8": "fp8",
    "e4m3": "fp8",
    "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8",
    "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8",
    "fp8_blockwise": "fp8_block",
    "fp4": "nvfp4",
    "mxfp4": "nvfp4",
    "int4": "w4a16",
    "int4_wo": "w4a16",
    "w4a16_mxfp4": "w4a16",
    "int8_wo": "w8a16",
    "w8a8": "int8",
}
"""Other names of number formats, lower case, `-` as `_`."""


LARGEST = 1e15
"""No size of an operation comes near it; products of a few such sizes still are numbers."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What one operation takes.

    Attributes:
        run: seconds (and, if asked, the interval and source) of one device.
        names: arguments that are names or whole numbers, one value a call of `run`.
        sizes: arguments that broadcast; all must be positive.
        free: sizes that may be 0.
        defaults: optional arguments.
    """

    run: Callable[[DeviceSpec, Mapping[str, Any], bool], Estimate]
    names: tuple[str, ...]
    sizes: tuple[str, ...]
    free: tuple[str, ...] = ()
    defaults: Mapping[str, Any] | None = None


def predict(
    device: Any = "H100-SXM-80", op: str = "gemm", interval: bool = False, **args: Any
) -> Any:
    """Estimate one operation on a device of the catalogue.

    Args:
        device: catalogue name, a `DeviceSpec`, or an array of names.
        op: `gemm` (dtype, m, n, k), `attention_prefill` (dtype, kv_dtype, batch, isl, past,
            n_heads, n_kv_heads, head_dim), `attention_decode` (dtype, kv_dtype, batch, context,
            n_heads, n_kv_heads, head_dim), `collective` (kind, bytes per rank, n), `throughput`
            (model, dtype, tp, isl, osl) or `deployment` (model, dtype, tp, pp, dp, isl, osl,
            concurrency; optionally prefill and decode, each a dict of workers, tp, pp, dp).
        interval: give (mid, low, high) instead of mid; low and high hold 90 % of measurements.
        args: the operation's arguments. `kv_dtype` defaults to `dtype`, `past` to 0, pp and dp
            to 1.

    Returns:
        Seconds for gemm, attention (one call of one layer on one device) and collective (among
        `n` devices); output tokens per second summed over the GPUs of one group for throughput;
        the pair (ttft_s, tpot_s) for deployment, so that with `interval` its mid, low and high
        are pairs. A float where all sizes are plain numbers and names plain, else an array.
        Where weights or one request do not fit into memory, throughput is 0, and a deployment
        has the times of a device with the memory to hold them. A deployment in 4-bit floats
        that the device lacks is one with weights unpacked to 16 bits.

    Raises:
        ConfigError: unknown operation, device, name or argument, sizes that are not positive or
            beyond `LARGEST`, and a format the device cannot compute in; where device or dtype is
            an array, its entries without the format give NaN instead.
    """
    found = _estimate(device, op, interval, args)
    return (found.mid, found.low, found.high) if interval else found.mid


def predict_with_source(device: Any = "H100-SXM-80", op: str = "gemm", **args: Any) -> Estimate:
    """`predict` with its interval and what it rests on: `measured`, `fitted` or `spec`.

    `measured`: this very device type was in the fitted table; `fitted`: its generation was;
    `spec`: constants of other generations on the figures of its catalogue row. An array of
    devices or formats gives an array of sources. `fits` is False where weights or one request do
    not fit into memory (throughput and deployment; for sizes in an array, where any does not).
    """
    return _estimate(device, op, True, args)


def dtype_of(name: Any, where: str = "dtype") -> str:
    """Canonical name of a number format; ConfigError naming the known ones."""
    plain = str(name).strip().lower().replace("-", "_")
    plain = DTYPE_SYNONYMS.get(plain, plain)
    if plain in FORMATS:
        return plain
    raise ConfigError(
        f"No number format is called {name!r}",
        where=where,
        next_step=f"The formats are {', '.join(FORMATS)}.",
    )


def _estimate(device: Any, op: str, interval: bool, args: Mapping[str, Any]) -> Estimate:
    operation = OPERATIONS.get(op) if isinstance(op, str) else None
    if operation is None:
        raise ConfigError(
            f"No operation is called {op!r}",
            where="op",
            next_step=f"The operations are {', '.join(OPERATIONS)}.",
        )
    given = _arguments(op, operation, args)
    several = [name for name in operation.names if _is_several(given.get(name))]
    if several or _is_several(device):
        return _grouped(device, operation, interval, given, several)
    spec = device if isinstance(device, DeviceSpec) else _spec(str(device))
    found = operation.run(spec, given, interval)
    return found if op == "deployment" else _plain(found)


def _arguments(op: str, operation: Operation, args: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with defaults filled in and sizes checked; ConfigError for odd or missing ones."""
    given = {**(operation.defaults or {}), **args}
    known = operation.names + operation.sizes
    if len(given) != len(known) or any(name not in given for name in known):
        _complain(op, known, given)
    for name in operation.sizes:
        given[name] = _size(name, given[name], zero=name in operation.free)
    shapes = {name: given[name].shape for name in operation.sizes if np.ndim(given[name])}
    if len(shapes) > 1:
        _broadcast(shapes)
    return given


def _broadcast(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """The shape all of these broadcast to; ConfigError naming them where there is none."""
    try:
        return np.broadcast_shapes(*shapes.values())
    except ValueError:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items() if shape)
        raise ConfigError(
            f"Shapes do not broadcast: {listed}",
            where=next(iter(shapes)),
            next_step="Give arrays of one shape, or of shapes that numpy broadcasts.",
        ) from None


def _complain(op: str, known: tuple[str, ...], given: Mapping[str, Any]) -> None:
    missing = [name for name in known if name not in given]
    odd = [name for name in given if name not in known]
    says = [f"lacks {', '.join(missing)}"] if missing else []
    says += [f"takes no {', '.join(odd)}"] if odd else []
    raise ConfigError(
        f"{op} {' and '.join(says)}", where=op, next_step=f"It takes {', '.join(known)}."
    )


def _size(name: str, value: Any, *, zero: bool) -> Any:
    """Check one size; plain numbers stay plain, everything else becomes a float array."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (int, float)):
        fine = (value > 0 or (zero and value == 0)) and value < LARGEST
    else:
        try:
            value = np.asarray(value, dtype=float)
        except (TypeError, ValueError):
            value = np.asarray(np.nan)
        fine = bool(np.all((value >= 0 if zero else value > 0) & (value < LARGEST)))
    if fine:
        return value
    raise ConfigError(
        f"{name} must be {'0 or more' if zero else 'greater than 0'} and below {LARGEST:g}, "
        "all of it numbers",
        where=name,
        next_step=f"Give {name} as a number or an array of numbers.",
    )


def _is_several(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim > 0)


@cache
def _spec(name: str) -> DeviceSpec:
    spec = find_type(name, where="device").spec
    if spec.kind == "api":
        raise ConfigError(
            f"{name} is a remote endpoint, not a device",
            where="device",
            next_step="`gangline devices --all` lists the types.",
        )
    return spec


def _plain(found: Estimate) -> Estimate:
    """Give floats where the sizes were plain numbers."""
    if isinstance(found.mid, np.ndarray) and found.mid.ndim:
        return found
    mid, low, high = (cast(Array, float(value)) for value in found[:3])
    return Estimate(mid, low, high, found.source, found.fits)


def _grouped(
    device: Any,
    operation: Operation,
    interval: bool,
    given: Mapping[str, Any],
    several: list[str],
) -> Estimate:
    """Run once per distinct device and names, and put the answers where their entries were."""
    labels = {"device": device} | {name: given[name] for name in operation.names}
    named = {
        name: np.asarray([*value] if _is_several(value) else [value], dtype=object)
        for name, value in labels.items()
    }
    shapes = {name: value.shape for name, value in named.items() if value.size != 1}
    shapes |= {name: np.shape(given[name]) for name in operation.sizes}
    shape = _broadcast(shapes) or (1,)
    spread = {name: np.broadcast_to(value, shape).ravel() for name, value in named.items()}
    keys = [tuple(map(str, entry)) for entry in zip(*spread.values(), strict=True)]
    flat = {name: np.broadcast_to(given[name], shape).ravel() for name in operation.sizes}
    pairs = operation.run is _deployment
    out = np.full((3, 2, len(keys)) if pairs else (3, len(keys)), np.nan)
    sources = np.full(len(keys), "spec", dtype=object)
    fits = np.zeros(len(keys), dtype=bool)
    places: dict[tuple[str, ...], list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    for found_at in places.values():
        at = np.array(found_at)
        one = {name: values[at[0]] for name, values in spread.items()}
        here = {**given, **one, **{name: values[at] for name, values in flat.items()}}
        spec = here.pop("device")
        spec = spec if isinstance(spec, DeviceSpec) else _spec(str(spec))
        try:
            found = operation.run(spec, here, interval)
        except UnsupportedFormatError:
            continue  # stays NaN
        out[..., at] = np.asarray([np.broadcast_to(v, out[0][..., at].shape) for v in found[:3]])
        sources[at], fits[at] = found.source, found.fits
    shaped = out.reshape(*out.shape[:-1], *shape)
    mid, low, high = (cast(Array, tuple(value) if pairs else value) for value in shaped)
    return Estimate(mid, low, high, cast(str, sources.reshape(shape)), fits.reshape(shape))


def _supported(spec: DeviceSpec, dtype: str, among: tuple[str, ...]) -> str:
    """The canonical format if the device computes in it, else UnsupportedFormatError."""
    name = dtype_of(dtype)
    if name in among and peak(spec, name) is not None:
        return name
    able = [form for form in among if peak(spec, form) is not None]
    raise UnsupportedFormatError(
        f"{spec.type} cannot compute this operation in {name}",
        where="dtype",
        next_step=f"It can in {', '.join(able)}.",
    )


GEMM_DTYPES = tuple(FORMATS)


def _with(mid: Any, ratios: tuple[Any, Any], source: str) -> Estimate:
    low, high = ratios
    return Estimate(mid, mid * np.minimum(low, 1.0), mid * np.maximum(high, 1.0), source)


def _gemm(spec: DeviceSpec, args: Mapping[str, Any], interval: bool) -> Estimate:
    dtype = _supported(spec, args["dtype"], GEMM_DTYPES)
    m, n, k = args["m"], args["n"], args["k"]
    mid = gemm_s(spec, dtype, m, n, k)
    if not interval:
        return Estimate(mid, mid, mid, "")
    return _with(mid, gemm_interval(spec, dtype, m, n, k), gemm_source(spec, dtype))


def _attention(spec: DeviceSpec, args: Mapping[str, Any]) -> tuple[str, str, tuple[Any, ...]]:
    dtype = _supported(spec, args["dtype"], ATTENTION_DTYPES)
    stored = args["kv_dtype"]
    kv_dtype = dtype if stored in (None, "auto") else dtype_of(stored, "kv_dtype")
    heads, kv_heads = args["n_heads"], args["n_kv_heads"]
    if not np.all(np.asarray(heads) >= np.asarray(kv_heads)):
        raise ConfigError(
            "n_kv_heads exceeds n_heads",
            where="n_kv_heads",
            next_step="Give the heads of queries as n_heads, those of keys as n_kv_heads.",
        )
    return dtype, kv_dtype, (heads, kv_heads, args["head_dim"])


def _prefill(spec: DeviceSpec, args: Mapping[str, Any], interval: bool) -> Estimate:
    dtype, kv_dtype, heads = _attention(spec, args)
    lengths = (args["batch"], args["isl"], args["past"])
    mid = prefill_s(spec, dtype, kv_dtype, *lengths, *heads)
    if not interval:
        return Estimate(mid, mid, mid, "")
    ratios = prefill_interval(spec, kv_dtype)
    return _with(mid, ratios, attention_source(spec, kv_dtype, "prefill"))


def _decode(spec: DeviceSpec, args: Mapping[str, Any], interval: bool) -> Estimate:
    dtype, kv_dtype, heads = _attention(spec, args)
    mid = decode_s(spec, dtype, kv_dtype, args["batch"], args["context"], *heads)
    if not interval:
        return Estimate(mid, mid, mid, "")
    return _with(mid, decode_interval(spec, kv_dtype), attention_source(spec, kv_dtype))


def _collective(spec: DeviceSpec, args: Mapping[str, Any], interval: bool) -> Estimate:
    kind = kind_of(str(args["kind"]))
    mid = collective_s(spec, kind, args["bytes"], args["n"])
    if not interval:
        return Estimate(mid, mid, mid, "")
    return _with(mid, collective_interval(spec), collective_source(spec))


def _throughput(spec: DeviceSpec, args: Mapping[str, Any], interval: bool) -> Estimate:
    # Here, not above: single operations need no engine steps, and should answer at once.
    from .costs.throughput import throughput_estimate

    dtype = _supported(spec, args["dtype"], GEMM_DTYPES)
    tp = _whole("tp", args["tp"])
    shape = _shape(args["model"])
    found = throughput_estimate(spec, shape, dtype, tp, args["isl"], args["osl"])
    return found._replace(fits=bool(np.all(np.asarray(found.mid) > 0.0)))


def _deployment(spec: DeviceSpec, args: Mapping[str, Any], interval: bool) -> Estimate:
    from .costs.deployment import deployment_times

    dtype = _served(spec, args["dtype"])
    shape = _shape(args["model"])
    for name in ("osl", "concurrency"):
        _at_least_one(name, args[name])
    prefill, decode = (_workers(name, args[name]) for name in ("prefill", "decode"))
    if (prefill is None) != (decode is None):
        raise ConfigError(
            "A split deployment needs both prefill and decode workers",
            where="prefill" if prefill is None else "decode",
            next_step="Give both, or neither for workers that do both.",
        )
    # Tables of both kinds of deployment leave these three empty where workers are split.
    split = prefill is not None and decode is not None
    sizes = {"tp": args["tp"], "pp": args["pp"], "dp": args["dp"]}
    tp, pp, dp = (
        1 if split and _is_missing(size) else _whole(name, size) for name, size in sizes.items()
    )
    found = deployment_times(
        spec,
        shape,
        dtype,
        isl=args["isl"],
        osl=args["osl"],
        concurrency=args["concurrency"],
        tp=tp,
        pp=pp,
        dp=dp,
        prefill=prefill,
        decode=decode,
    )
    first, later = _plain(found.ttft), _plain(found.tpot)
    mid, low, high = (cast(Array, (first[part], later[part])) for part in range(3))
    return Estimate(mid, low, high, found.ttft.source, found.fits)


def _served(spec: DeviceSpec, dtype: Any) -> str:
    """The format a device serves a checkpoint in, else UnsupportedFormatError."""
    from .costs.step import UNPACKED

    name = dtype_of(dtype)
    # Checkpoints in 4 bits (gpt-oss) are served on older devices too, unpacked to 16.
    served = UNPACKED[name] if name == "nvfp4" and peak(spec, name) is None else name
    return _supported(spec, served, GEMM_DTYPES)


def _shape(model: Any) -> ModelShape:
    """The shape of a name or mapping; numbers that come out of numpy arrays are plain ones."""
    plain = _with_plain_numbers(model) if isinstance(model, Mapping) else model
    return find_shape(plain, where="model")


def _at_least_one(name: str, value: Any) -> None:
    """Refuse fewer than one token or request."""
    if value < 1.0 if isinstance(value, (int, float)) else np.any(value < 1.0):
        raise ConfigError(
            f"{name} = {value!r} is below 1", where=name, next_step=f"Give {name} as 1 or more."
        )


def _workers(name: str, value: Any) -> Workers | None:
    """Workers of one kind, what a row leaves empty left out; None where there are none."""
    from .costs.deployment import as_workers

    if _is_missing(value):
        return None
    if isinstance(value, Mapping):
        given = {k: v for k, v in value.items() if not _is_missing(v)}
        try:
            return as_workers(_with_plain_numbers(given), name)
        except ConfigError as error:
            raise ConfigError(error.detail, where=name, next_step=error.next_step) from None
    raise ConfigError(
        f"{name} = {value!r} is no table of workers",
        where=name,
        next_step=f"Give {name} as a mapping with workers, tp, pp and dp, or leave it out.",
    )


def _with_plain_numbers(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """A mapping with numpy's numbers turned into Python's."""
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in value.items()}


def _is_missing(value: Any) -> bool:
    """Whether a table left this empty: None, or the NaN that readers put in its place."""
    return value is None or (isinstance(value, (float, np.floating)) and bool(np.isnan(value)))


def _whole(name: str, value: Any) -> int:
    """Check a number of devices: a whole number of 1 or more."""
    number = value.item() if isinstance(value, (np.generic, np.ndarray)) else value
    if isinstance(number, (int, float)) and number >= 1 and number % 1 == 0:
        return int(number)
    raise ConfigError(
        f"{name} = {value!r} is not a whole number of 1 or more",
        where=name,
        next_step=f"Give {name} as 1 or more devices.",
    )


_HEADS = ("n_heads", "n_kv_heads", "head_dim")

OPERATIONS: Mapping[str, Operation] = {
    "gemm": Operation(_gemm, ("dtype",), ("m", "n", "k")),
    "attention_prefill": Operation(
        _prefill, ("dtype", "kv_dtype"), ("batch", "isl", "past", *_HEADS), ("past",),
        {"kv_dtype": None, "past": 0},
    ),
    "attention_decode": Operation(
        _decode, ("dtype", "kv_dtype"), ("batch", "context", *_HEADS), (), {"kv_dtype": None}
    ),
    "collective": Operation(_collective, ("kind",), ("bytes", "n")),
    "throughput": Operation(
        _throughput, ("model", "dtype", "tp"), ("isl", "osl"), (), {"tp": 1}
    ),
    "deployment": Operation(
        _deployment,
        ("model", "dtype", "tp", "pp", "dp", "prefill", "decode"),
        ("isl", "osl", "concurrency"), (),
        {"tp": 1, "pp": 1, "dp": 1, "prefill": None, "decode": None},
    ),
}  # fmt: skip
"""Every operation of `predict`, by name."""
