"""A device type is a row of data: what it can do at best, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One device type. Rates are peaks; the cost model multiplies them by fitted efficiencies.

    Attributes:
        type: catalogue name, for example `H100-SXM-80` or `cpu`.
        kind: `cpu`, `gpu` or `api` (a remote endpoint priced per token).
        flops: dense floating-point (or integer) operations per second, by dtype
            (`fp32`, `bf16`, `fp16`, `fp8`, `int8`).
        memory_bytes: memory usable for weights and KV blocks.
        memory_bytes_per_s: bandwidth of that memory.
        cores: CPU cores a tool step can share; 0 where tools cannot run.
        tdp_w: thermal design power in watts.
        generation: family name that fitted constants are shared under.
        vendor: maker of the device, for example `NVIDIA`.
        units: streaming multiprocessors, compute units or cores of their like; 0 if unknown.
        clock_hz: boost clock of those units; 0 if unknown.
        cache_bytes: last-level cache on the device; 0 if unknown.
        link_bytes_per_s: bandwidth to one peer device (NVLink, xGMI), per direction; 0 for none.
        host_bytes_per_s: bandwidth to the host (PCIe, C2C), per direction.
        efficiency: fitted or probed constants: `mfu` and `mbu` (fractions of peak that real
            kernels reach), `step_s` (fixed seconds per engine step), `tool_s` (fixed seconds
            per tool call).
        source: where the row comes from.
    """

    type: str
    kind: str = "cpu"
    flops: Mapping[str, float] = field(default_factory=dict)
    memory_bytes: int = 0
    memory_bytes_per_s: float = 0.0
    cores: int = 0
    tdp_w: float = 0.0
    generation: str = ""
    vendor: str = ""
    units: int = 0
    clock_hz: float = 0.0
    cache_bytes: int = 0
    link_bytes_per_s: float = 0.0
    host_bytes_per_s: float = 0.0
    efficiency: Mapping[str, float] = field(default_factory=dict)
    source: str = ""
