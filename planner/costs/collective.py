"""Seconds of one collective among the devices of one node, or of one transfer between two.

Launch, plus one hop per step of the ring, plus the bytes that cross a device's link by the faster
of two protocols (smoothly joined): a low-latency one at a fraction of the link, and a
bulk one at its full share after a fixed start-up (NCCL's LL/LL128 and Simple protocols,
github.com/NVIDIA/nccl, tuning.cc). Constants (`constants/collective.json`) belong to a
link and generation where devices are linked directly, and to the device measured where they share
PCIe: how slots are wired is a property of that machine. Others take those of their kind of link,
for PCIe the medians over the machines measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from gangline.ir.errors import ConfigError
from gangline.ir.specs.device import DeviceSpec

from .constants import constants

Array = npt.NDArray[np.float64]

TRAFFIC: Mapping[str, Callable[[Array], Array]] = {
    "all_reduce": lambda n: 2.0 * (n - 1.0) / n,
    "all_gather": lambda n: (n - 1.0) / n,
    "reduce_scatter": lambda n: (n - 1.0) / n,
    "all_to_all": lambda n: (n - 1.0) / n,
    "send_recv": lambda n: 1.0 + 0.0 * n,
}
"""Bytes that cross a device's link per byte of its message, in a ring (NCCL's `busbw` factors)."""

STEPS: Mapping[str, Callable[[Array], Array]] = {
    "all_reduce": lambda n: 2.0 * (n - 1.0),
    "all_gather": lambda n: n - 1.0,
    "reduce_scatter": lambda n: n - 1.0,
    "all_to_all": np.log2,
    "send_recv": lambda n: 1.0 + 0.0 * n,
}
"""Hops in turn that the smallest message waits for; pairs of an all-to-all run side by side."""

SYNONYMS = {  # spelled without separators
    "allreduce": "all_reduce",
    "allgather": "all_gather",
    "reducescatter": "reduce_scatter",
    "alltoall": "all_to_all",
    "a2a": "all_to_all",
    "sendrecv": "send_recv",
    "p2p": "send_recv",
}

DEFAULT_LINK_BYTES_PER_S = 1.6e10
"""Where a row states no link at all: PCIe 3.0 x16."""


def kind_of(name: str) -> str:
    """Canonical name of a kind of collective; ConfigError naming them where there is none."""
    plain = name.lower().replace("-", "").replace("_", "").replace(" ", "")
    found = SYNONYMS.get(plain)
    if found is None:
        raise ConfigError(
            f"No collective is called {name!r}",
            where="kind",
            next_step=f"The kinds are {', '.join(TRAFFIC)}.",
        )
    return found


def collective_s(spec: DeviceSpec, kind: str, nbytes: npt.ArrayLike, n: npt.ArrayLike) -> Array:
    """Seconds of a collective among `n` devices of one node; 0 for one device.

    `nbytes` is the size of a rank's whole buffer, as NCCL's own tests count it: what a rank holds
    before an all-reduce, reduce-scatter, all-to-all or send, and after an all-gather (n times
    what it contributed). Arrays broadcast; ConfigError for a kind that is none.
    """
    size, count = np.asarray(nbytes, dtype=float), np.asarray(n, dtype=float)
    fitted = _level(spec)
    seconds = collective_with(spec, fitted, kind_of(kind), size, np.maximum(count, 2.0))
    return np.where(count > 1.0, seconds, 0.0)


def collective_interval(spec: DeviceSpec) -> tuple[float, float]:
    """Ratios (low, high) that 90 % of measured over predicted collectives lie between."""
    found = _level(spec)
    return found["low_ratio"], found["high_ratio"]


def collective_source(spec: DeviceSpec) -> str:
    """`fitted` where the direct link of the device's generation was measured, else `spec`.

    `measured` where devices share PCIe and one machine of this very device was.
    """
    if not _level(spec)["generation_seen"]:
        return "spec"
    return "fitted" if spec.link_bytes_per_s else "measured"


def link_kind(spec: DeviceSpec) -> str:
    """`nvlink` for any direct link between devices, else `pcie`."""
    return "nvlink" if spec.link_bytes_per_s else "pcie"


def _level(spec: DeviceSpec) -> Mapping[str, Any]:
    fitted = constants("collective")["links"]
    found: Mapping[str, Any] = fitted.get(link_of(spec), fitted[link_kind(spec)])
    return found


def link_of(spec: DeviceSpec) -> str:
    """Key of the entry of a device's own link: its generation, or over PCIe its type."""
    kind = link_kind(spec)
    return f"{kind}/{spec.generation if kind == 'nvlink' else spec.type}"


def collective_with(
    spec: DeviceSpec, fitted: Mapping[str, Any], kind: str, size: Array, n: Array
) -> Array:
    """`collective_s` with given constants (what the fit varies); `kind` canonical, `n` above 1."""
    link = spec.link_bytes_per_s or spec.host_bytes_per_s or DEFAULT_LINK_BYTES_PER_S
    wire = TRAFFIC[kind](n) * size / link
    start = fitted["launch_s"] + STEPS[kind](n) * fitted["hop_s"]
    share = fitted["share"][kind]
    if kind == "send_recv":  # a pair has the link to itself and waits for nobody else
        alone: Array = start + wire / share
        return alone
    share = share * (1.0 - fitted["pair_loss"] / n) * (0.5 * n) ** -fitted["crowding"]
    if kind == "all_reduce":
        # Switches of recent NVLink generations reduce in the network from eight devices on.
        share = np.where(n >= 8.0, share * fitted["in_network"], share)
    exchange = kind == "all_to_all"  # point to point: another low-latency protocol
    quick_share = fitted["exchange_quick_share" if exchange else "quick_share"]
    quick = wire / (quick_share * share) + 1e-12
    fill = fitted["exchange_bulk_s" if exchange else "bulk_s"]
    bulk = fill + wire / share
    seconds: Array = start + (quick**-4.0 + bulk**-4.0) ** -0.25
    return seconds
