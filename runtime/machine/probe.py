"""The devices of this machine as rows of data: detected cheaply, or measured once and kept."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gangline.ir.errors import BackendUnavailable
from gangline.ir.specs.device import DeviceSpec
from gangline.planner.catalogue import catalogue, spec_from_json, spec_to_json
from gangline.runtime.folders import cache_dir

if TYPE_CHECKING:
    from .probe_measure import Measured

FORMAT = 1
"""Version of the kept measurements: older files are ignored."""

CPUINFO, MEMINFO = Path("/proc/cpuinfo"), Path("/proc/meminfo")
MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")

CORE_FLOPS = {
    "fp32": {"avx512f": 5.0e10, "avx2": 3.0e10, "": 1.0e10},
    "bf16": {"amx_bf16": 2.5e11, "avx512_bf16": 8.0e10, "": 1.0e10},
    "int8": {"amx_int8": 3.0e11, "avx512_vnni": 1.5e11, "avx_vnni": 8.0e10, "": 3.0e10},
}
"""Operations per second and core that large torch products reach, by the best CPU feature
present. The AMX and AVX-512 figures round measurements on one server CPU; the rest are estimates."""

CORE_BYTES_PER_S = 1.0e10
"""Bandwidth one server core draws from memory (12 to 13 GB/s were measured)."""


def detect() -> DeviceSpec:
    """Describe this CPU without importing torch: what was probed, else a guess from its features.

    The source of the row begins with `probed` or with `detected`.
    """
    kept = _load(_key("cpu"))
    if kept is not None:
        return replace(kept, cores=num_cores(), memory_bytes=memory_bytes())
    return _guess()


def probe(limit_s: float = 6.0) -> tuple[DeviceSpec, ...]:
    """Measure this CPU, then each accelerator torch sees, and keep the result.

    Takes about `limit_s` seconds per device, after a second or two to load torch.

    Raises:
        BackendUnavailable: torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise BackendUnavailable(
            "Probing needs torch, which cannot be imported",
            next_step="Install torch, or run without --probe.",
        ) from error
    cards = range(torch.cuda.device_count())
    return (_probe_cpu(limit_s), *(_probe_accelerator(index, limit_s) for index in cards))


def num_cores() -> int:
    """Count the CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int:
    """Give the memory this process may use: the machine's, or its container's if that is less."""
    fallback = catalogue()["cpu"].spec.memory_bytes
    fields = dict(line.split(":", 1) for line in _read(MEMINFO).splitlines() if ":" in line)
    installed = fields.get("MemTotal", "").split()
    total = int(installed[0]) * 1024 if installed else fallback
    limit = _read(MEMORY_LIMIT).strip()
    return min(total, int(limit)) if limit.isdigit() else total


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _cpu() -> Mapping[str, str]:
    """Give the fields of the first processor, e.g. `model name` and `flags`."""
    first = _read(CPUINFO).split("\n\n", 1)[0]
    rows = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in rows}


def _guess() -> DeviceSpec:
    row = catalogue()["cpu"].spec
    cpu, cores = _cpu(), num_cores()
    flags = set(cpu.get("flags", cpu.get("Features", "")).split())
    flops = {dtype: cores * _best(known, flags) for dtype, known in CORE_FLOPS.items()}
    return replace(
        row,
        flops=flops,
        memory_bytes=memory_bytes(),
        memory_bytes_per_s=cores * CORE_BYTES_PER_S,
        cores=cores,
        tdp_w=row.tdp_w * cores / row.cores,
        source=f"detected: {cpu.get('model name', 'CPU')}; rates guessed from its features",
    )


def _best(known: Mapping[str, float], flags: set[str]) -> float:
    return next(rate for feature, rate in known.items() if not feature or feature in flags)


def _probe_cpu(limit_s: float) -> DeviceSpec:
    from .probe_measure import measure

    measured = measure("cpu", num_cores(), limit_s=limit_s)
    label = _cpu().get("model name", "CPU")
    spec = _measured_spec(_guess(), measured, f"{label}, {num_cores()} cores")
    _store(_key("cpu"), spec)
    return spec


def _probe_accelerator(index: int, limit_s: float) -> DeviceSpec:
    import torch

    from .probe_measure import measure

    properties = torch.cuda.get_device_properties(index)
    measured = measure(f"cuda:{index}", num_cores(), limit_s=limit_s)
    name = str(properties.name)
    row = DeviceSpec(type=name, kind="gpu", memory_bytes=int(properties.total_memory))
    spec = _measured_spec(row, measured, name)
    _store(_key(f"{name}/{index}"), spec)
    return spec


def _measured_spec(row: DeviceSpec, measured: Measured, label: str) -> DeviceSpec:
    """Turn measured times into a row whose roofline gives the measured engine steps back."""
    from gangline.planner.roofline import BYTES_PER_ELEMENT

    from .probe_measure import PREFILL_TOKENS

    overhead_s = measured.step_s + measured.wide_layers * measured.layer_s
    operations = 2.0 * measured.wide_params * PREFILL_TOKENS
    moved = measured.wide_params * BYTES_PER_ELEMENT[measured.precision]
    rate = operations / _busy_s(measured.prefill_s, overhead_s)
    bandwidth = moved / _busy_s(measured.decode_s, overhead_s)
    # A whole step that beats the isolated measurement is the better witness of the peak.
    peak = max(measured.flops[measured.precision], rate)
    read = max(measured.read_bytes_per_s, bandwidth)
    return replace(
        row,
        flops={**measured.flops, measured.precision: peak},
        memory_bytes_per_s=read,
        efficiency={
            **row.efficiency,
            "mfu": rate / peak,
            "mbu": bandwidth / read,
            "step_s": measured.step_s,
            "layer_s": measured.layer_s,
        },
        source=f"probed: {label}, torch {_torch_version()}, {measured.precision}, "
        f"{measured.num_rounds} rounds",
    )


def _busy_s(step_s: float, overhead_s: float) -> float:
    """Seconds of a step without its overhead; noise never makes less than a tenth remain."""
    return max(step_s - overhead_s, 0.1 * step_s)


def _torch_version() -> str:
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return "none"


def _key(device: str) -> str:
    """Identify a measurement: another CPU, core count, torch or format needs a new one."""
    cpu = _cpu()
    parts = (device, cpu.get("model name", ""), cpu.get("stepping", ""), cpu.get("flags", ""))
    text = "\n".join((*parts, str(num_cores()), _torch_version(), str(FORMAT)))
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _load(key: str) -> DeviceSpec | None:
    try:
        data: Any = json.loads((cache_dir("probe") / f"{key}.json").read_text(encoding="utf-8"))
        spec = spec_from_json(data)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return spec if spec.source.startswith("probed") and spec.flops else None


def _store(key: str, spec: DeviceSpec) -> None:
    """Keep a row readable by its owner only; a reader sees the old file or the new one."""
    folder = cache_dir("probe")
    handle, name = tempfile.mkstemp(dir=folder, suffix=".tmp")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(spec_to_json(spec), file, indent=1)
        os.replace(name, folder / f"{key}.json")
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
