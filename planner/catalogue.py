"""The catalogue of device types: rows of data read from `catalogue.toml` beside this file."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from gangline.ir.errors import ConfigError
from gangline.ir.specs.device import DeviceSpec

CATALOGUE_PATH = Path(__file__).with_name("catalogue.toml")
# Names an earlier catalogue used; fleet files that say them still work.
FORMER_NAMES: Mapping[str, str] = {
    "V100-SXM-16": "V100-SXM2-16",
    "B200-SXM-192": "B200-SXM-180",
    "MI300X-192": "MI300X",
    "Gaudi3-128": "Gaudi3",
}

SPEC_KEYS: Mapping[str, type] = {
    "type": str,
    "kind": str,
    "flops": dict,
    "memory_bytes": int,
    "memory_bytes_per_s": float,
    "cores": int,
    "tdp_w": float,
    "generation": str,
    "vendor": str,
    "units": int,
    "clock_hz": float,
    "cache_bytes": int,
    "link_bytes_per_s": float,
    "host_bytes_per_s": float,
    "efficiency": dict,
}
"""What files may state of a device type, and the type of each value."""


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """One device type with its on-demand price and the source of every figure.

    Attributes:
        spec: the device itself.
        usd_per_hour: middling on-demand price; None where none was found or none makes sense
            (a remote endpoint). A plan that rents such a device needs a price from its user.
        confidence: `low`, `medium` or `high`, the lowest of the row's figures.
        sources: where each figure comes from.
        price_low: lowest public offer in USD an hour (often spot or a marketplace), or None.
        price_high: highest public offer in USD an hour (often a hyperscaler), or None.
        capex_usd: purchase price of one device, or None.
        price_date: year, or year and month, the prices are of; empty without prices.
    """

    spec: DeviceSpec
    usd_per_hour: float | None = None
    confidence: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    price_low: float | None = None
    price_high: float | None = None
    capex_usd: float | None = None
    price_date: str = ""

    def to_json(self) -> dict[str, Any]:
        """Give the row as plain JSON (schema: docs/schemas/devices.json)."""
        return {
            **spec_to_json(self.spec),
            "usd_per_hour": self.usd_per_hour,
            "confidence": self.confidence,
            "sources": dict(self.sources),
            "price_low": self.price_low,
            "price_high": self.price_high,
            "capex_usd": self.capex_usd,
            "price_date": self.price_date,
        }


def spec_to_json(spec: DeviceSpec) -> dict[str, Any]:
    """Give a device row as plain JSON."""
    return {
        "type": spec.type,
        "kind": spec.kind,
        "flops": dict(spec.flops),
        "memory_bytes": spec.memory_bytes,
        "memory_bytes_per_s": spec.memory_bytes_per_s,
        "cores": spec.cores,
        "tdp_w": spec.tdp_w,
        "generation": spec.generation,
        "vendor": spec.vendor,
        "units": spec.units,
        "clock_hz": spec.clock_hz,
        "cache_bytes": spec.cache_bytes,
        "link_bytes_per_s": spec.link_bytes_per_s,
        "host_bytes_per_s": spec.host_bytes_per_s,
        "efficiency": dict(spec.efficiency),
        "source": spec.source,
    }


def spec_from_json(data: Mapping[str, Any]) -> DeviceSpec:
    """Rebuild a device row from `spec_to_json`; keys left out keep their defaults."""
    return DeviceSpec(
        type=str(data["type"]),
        kind=str(data.get("kind", "cpu")),
        flops={str(key): float(rate) for key, rate in data.get("flops", {}).items()},
        memory_bytes=int(data.get("memory_bytes", 0)),
        memory_bytes_per_s=float(data.get("memory_bytes_per_s", 0.0)),
        cores=int(data.get("cores", 0)),
        tdp_w=float(data.get("tdp_w", 0.0)),
        generation=str(data.get("generation", "")),
        vendor=str(data.get("vendor", "")),
        units=int(data.get("units", 0)),
        clock_hz=float(data.get("clock_hz", 0.0)),
        cache_bytes=int(data.get("cache_bytes", 0)),
        link_bytes_per_s=float(data.get("link_bytes_per_s", 0.0)),
        host_bytes_per_s=float(data.get("host_bytes_per_s", 0.0)),
        efficiency={str(key): float(value) for key, value in data.get("efficiency", {}).items()},
        source=str(data.get("source", "")),
    )


@cache
def catalogue() -> Mapping[str, CatalogueRow]:
    """Read the packaged rows, by device type."""
    return read_catalogue(CATALOGUE_PATH.read_text(encoding="utf-8"))


def read_catalogue(text: str) -> Mapping[str, CatalogueRow]:
    """Parse a catalogue in the form of `catalogue.toml`, by device type."""
    document = tomllib.loads(text)
    kinds = document["kind"]
    rows = [_row(data, kinds[data["kind"]]["efficiency"]) for data in document["device"]]
    return {row.spec.type: row for row in rows}


def _row(data: Mapping[str, Any], efficiency: Mapping[str, float]) -> CatalogueRow:
    sources = dict(data.get("sources", {}))
    merged = {**efficiency, **data.get("efficiency", {})}
    source = "; ".join(dict.fromkeys(sources.get(key, "") for key in ("flops", "memory")))
    spec = spec_from_json({**data, "efficiency": merged, "source": source.strip("; ")})
    return CatalogueRow(
        spec,
        data.get("usd_per_hour"),
        str(data.get("confidence", "")),
        sources,
        price_low=data.get("price_low"),
        price_high=data.get("price_high"),
        capex_usd=data.get("capex_usd"),
        price_date=str(data.get("price_date", "")),
    )


def find_type(
    name: str, rows: Mapping[str, CatalogueRow] | None = None, *, where: str = ""
) -> CatalogueRow:
    """Find a device type; ConfigError with near matches when there is none of that name."""
    known = catalogue() if rows is None else rows
    if name in known:
        return known[name]
    if FORMER_NAMES.get(name) in known:
        return known[FORMER_NAMES[name]]
    near = near_matches(name, known)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    raise ConfigError(
        f"No device type is called {name!r}",
        where=where,
        next_step=f"{hint}`gangline devices --all` lists the types; "
        "a type of your own goes into a [device.spec] table under its [[device]].",
    )


def near_matches(name: str, known: Mapping[str, Any]) -> list[str]:
    """Give up to three known names that look like `name`, whatever its case, nearest first."""
    asked = name.casefold()

    def likeness(key: str) -> float:
        near = difflib.SequenceMatcher(a=asked, b=key.casefold()).ratio()
        # "h100" means H100-SXM-80: a common start counts for more than length does against it.
        return max(near, 0.75 if asked and key.casefold().startswith(asked) else 0.0)

    ranked = sorted(known, key=likeness, reverse=True)
    return [key for key in ranked[:3] if likeness(key) >= 0.6]
