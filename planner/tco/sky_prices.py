"""Prices from a CSV in the form of SkyPilot's catalogues, one row an instance type in a zone.

Columns read: AcceleratorName, AcceleratorCount and Price (USD an hour of the whole instance);
where present SpotPrice, Region, AvailabilityZone, InstanceType and GpuInfo (whose memory size
tells boards of one name apart). A device's price is its instance's divided by the count: host
CPU and memory are in it. Form: github.com/skypilot-org/skypilot-catalog.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from gangline.ir.errors import ConfigError
from gangline.planner.catalogue import catalogue

from .price_feed import PriceFeed, PriceQuote, Tier, gather

REQUIRED = ("AcceleratorName", "AcceleratorCount", "Price")
PRICES: Mapping[str, Tier] = {"Price": "on_demand", "SpotPrice": "spot"}
NO_ACCELERATOR = "(no accelerator)"

# Accelerator names, with case, "-" and "_" removed, and the types they may mean; the first is
# meant where no memory size tells. Names of boards the catalogue lacks are left out on purpose.
TYPES: Mapping[str, tuple[str, ...]] = {
    "v100": ("V100-SXM2-16",),
    "t4": ("T4",),
    "a10": ("A10",),
    "a10g": ("A10",),
    "l4": ("L4",),
    "a40": ("A40",),
    "a6000": ("RTX-A6000",),
    "rtxa6000": ("RTX-A6000",),
    "rtx3090": ("RTX-3090",),
    "rtx4090": ("RTX-4090",),
    "l40s": ("L40S",),
    "a100": ("A100-SXM-40", "A100-SXM-80"),
    "a10040gb": ("A100-SXM-40",),
    "a100sxm": ("A100-SXM-80", "A100-SXM-40"),
    "a10080gb": ("A100-SXM-80",),
    "a10080gbsxm": ("A100-SXM-80",),
    "a10080gbpcie": ("A100-PCIE-80",),
    "h100": ("H100-SXM-80",),
    "h10080gb": ("H100-SXM-80",),
    "h100sxm": ("H100-SXM-80",),
    "h100mega": ("H100-SXM-80",),
    "h100pcie": ("H100-PCIE-80",),
    "h200": ("H200-SXM-141",),
    "h200sxm": ("H200-SXM-141",),
    "gh200": ("GH200",),
    "b200": ("B200-SXM-180",),
    "b200sxm": ("B200-SXM-180",),
    "gb200": ("GB200",),
    "b300": ("B300-SXM-288",),
    "gb300": ("GB300",),
    "rtxpro6000": ("RTX-PRO-6000-BW",),
    "mi250": ("MI250",),
    "mi300x": ("MI300X",),
    "mi325x": ("MI325X",),
    "gaudi2": ("Gaudi2",),
    "gaudi3": ("Gaudi3",),
    "trainium2": ("Trainium2",),
}
TPU_V5E = re.compile(r"tpuv5(?:e|litepod)(\d+)")  # one accelerator is a slice of that many chips
MEMORY_MIB = re.compile(r"['\"]SizeInMiB['\"]:\s*(\d+)")
MEMORY_TOLERANCE = 0.15  # sellers print decimal or binary sizes, with or without what ECC takes


def parse_sky_prices(text: str, *, file: str = "prices.csv") -> PriceFeed:
    """Parse and check a catalogue CSV; rows of unknown accelerators are counted, not refused."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    _check_header(reader.fieldnames or (), file)
    unmapped: Counter[str] = Counter()
    try:
        # Every row so far was either turned into quotes or counted in `unmapped`.
        feed = gather(chain.from_iterable(_rows(reader, unmapped, file)), unmapped)
    except csv.Error as error:
        raise ConfigError(
            f"The price file is not valid CSV: {error}",
            where=f"{file}:{reader.line_num}",
            next_step="Save it as comma-separated text.",
        ) from error
    if not feed.quotes and not unmapped:
        raise ConfigError(
            "The price file has no row", where=file, next_step="Add a row for each instance type."
        )
    return feed


def _check_header(header: Sequence[str], file: str) -> None:
    names = list(header)
    missing = [name for name in REQUIRED if name not in names]
    strange = [name for name in names if "price" in name.lower() and name not in PRICES]
    if missing or strange:
        said = f"lacks {', '.join(missing)}" if missing else f"has {strange[0]!r}, of unknown unit"
        raise ConfigError(
            f"The header of the price file {said}",
            where=f"{file}:1",
            next_step="Use SkyPilot's columns: InstanceType, AcceleratorName, AcceleratorCount, "
            "GpuInfo, Price, SpotPrice, Region (USD an hour of the instance).",
        )


def _rows(
    reader: csv.DictReader[str], unmapped: Counter[str], file: str
) -> Iterator[list[tuple[str, PriceQuote]]]:
    for row in reader:
        where = f"{file}:{reader.line_num}"
        if None in row or None in row.values():
            raise ConfigError(
                "The row has more or fewer cells than the header",
                where=where,
                next_step="Quote cells that contain commas.",
            )
        name = row["AcceleratorName"].strip()
        mapped = device_type(name, row.get("GpuInfo", ""))
        if mapped is None:
            unmapped[name or NO_ACCELERATOR] += 1
            continue
        yield _quotes(row, *mapped, where)


def _quotes(
    row: Mapping[str, str], device: str, chips: int, where: str
) -> list[tuple[str, PriceQuote]]:
    count = _number(row, "AcceleratorCount", where)
    if not count:
        raise ConfigError(
            "`AcceleratorCount` of an accelerator is 0 or empty",
            where=where,
            next_step="Give the number of devices in the instance.",
        )
    region = row.get("AvailabilityZone") or row.get("Region") or ""
    source = row.get("InstanceType") or where
    found = []
    for column, tier in PRICES.items():
        price = _number(row, column, where)
        if price is not None:
            quote = PriceQuote(price / (count * chips), tier, region, source)
            found.append((device, quote))
    return found


def _number(row: Mapping[str, str], column: str, where: str) -> float | None:
    """Read a cell that is empty or a finite number not below zero."""
    text = (row.get(column) or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value) and value >= 0:
        return value
    raise ConfigError(
        f"`{column}` is {text!r}",
        where=where,
        next_step="Give USD an hour (or a count) as a plain number that is not negative.",
    )


def device_type(name: str, gpu_info: str = "") -> tuple[str, int] | None:
    """Map an accelerator's name to a catalogue type and the chips one accelerator is.

    Where `gpu_info` states a memory size, the type must have it: a V100 of 32 GB is not mapped.
    """
    plain = re.sub(r"[-_\s]", "", name).lower()
    slice_ = TPU_V5E.fullmatch(plain)
    if slice_ and int(slice_[1]):
        return "TPU-v5e", int(slice_[1])
    size = MEMORY_MIB.search(gpu_info or "")
    for candidate in TYPES.get(plain, ()):
        memory = catalogue()[candidate].spec.memory_bytes
        stated = int(size[1]) * 2**20 if size else 0
        if not stated or abs(stated / memory - 1.0) <= MEMORY_TOLERANCE:
            return candidate, 1
    return None
