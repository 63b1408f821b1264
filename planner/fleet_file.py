"""Fleet files: TOML (or the same shape in JSON) to a checked `Fleet`, and back.

    name = "lab"                       # optional; the file's name otherwise
    [[device]]
    name = "old"                       # a device id is old/0, old/1, ...
    type = "A100-SXM-80"               # a catalogue name, or any name with a [device.spec] table
    count = 2
    usd_per_hour = 1.10
    [[link]]
    from = "old"
    to = "new"
    bytes_per_s = 2.5e10
    latency_s = 5e-6

The text is untrusted: every key is known, every value typed and bounded, or it is an error that
names the file and the line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.fleet import Fleet, FleetDevice, Link

from .catalogue import (
    SPEC_KEYS,
    CatalogueRow,
    catalogue,
    find_type,
    spec_from_json,
    spec_to_json,
)
from .toml_file import Place, check_keys, check_value, parse_toml, read_text, required, tables

USD_PER_CORE_HOUR = 0.0504
"""Price of a detected CPU where no fleet file states one: a vCPU of AWS m7i on demand, us-east-1
(0.2016 USD an hour for 4 vCPU with 16 GB)."""

MAX_FILE_BYTES = 1_000_000
MAX_COUNT = 100_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

DEVICE_KEYS: Mapping[str, type] = {
    "name": str,
    "type": str,
    "count": int,
    "backend": str,
    "usd_per_hour": float,
    "usd_per_mtok_in": float,
    "usd_per_mtok_out": float,
    "url": str,
    "api_key_env": str,
    "spec": dict,
}
LINK_KEYS: Mapping[str, type] = {
    "from": str,
    "to": str,
    "bytes_per_s": float,
    "latency_s": float,
}
TOP_KEYS: Mapping[str, type] = {"name": str, "device": list, "link": list}


def load_fleet(path: str | Path, *, cpu: DeviceSpec | None = None) -> Fleet:
    """Read a fleet file; ConfigError names the file and line of what is wrong.

    `cpu` replaces the catalogue's generic row for devices of type `cpu` (a detected or probed
    machine).
    """
    text = read_text(path, "fleet file", MAX_FILE_BYTES, "Check the path given to --fleet.")
    return parse_fleet(text, file=str(path), cpu=cpu)


def parse_fleet(text: str, *, file: str = "fleet.toml", cpu: DeviceSpec | None = None) -> Fleet:
    """Parse and check the text of a fleet file, as `load_fleet`."""
    document = parse_toml(text, file, "fleet file", "See examples/ for fleet files that work.")
    return _fleet(document, Place(file, text), cpu)


def fleet_from_json(data: Mapping[str, Any]) -> Fleet:
    """Rebuild a fleet from `fleet_to_json`, with the same checks as a file."""
    return _fleet(data, Place("fleet.json"), None)


def fleet_to_json(fleet: Fleet) -> dict[str, Any]:
    """Give a fleet as plain JSON: the file's shape, each device with its row spelled out."""
    return {
        "name": fleet.name,
        "device": [_device_to_json(device) for device in fleet.devices],
        "link": [
            {
                "from": link.source,
                "to": link.target,
                "bytes_per_s": link.bytes_per_s,
                "latency_s": link.latency_s,
            }
            for link in fleet.links
        ],
    }


def _device_to_json(device: FleetDevice) -> dict[str, Any]:
    plain = {key: getattr(device, key) for key in DEVICE_KEYS if key not in ("type", "spec")}
    return {**plain, "type": device.spec.type, "spec": spec_to_json(device.spec)}


def default_fleet(cpu: DeviceSpec, usd_per_hour: float | None = None) -> Fleet:
    """Make the fleet used without a file: this CPU at a price, by default per core."""
    price = cpu.cores * USD_PER_CORE_HOUR if usd_per_hour is None else usd_per_hour
    return Fleet("default", (FleetDevice("cpu", cpu, usd_per_hour=price),))


def _fleet(document: Mapping[str, Any], place: Place, cpu: DeviceSpec | None) -> Fleet:
    check_keys(document, TOP_KEYS, place)
    rows = catalogue()
    if cpu is not None:
        rows = {**rows, "cpu": replace(rows["cpu"], spec=cpu)}
    devices = tuple(
        _device(table, replace(place, table="device", index=index), rows)
        for index, table in enumerate(tables(document, "device", place))
    )
    if not devices:
        raise place.error("The fleet has no device", "Add a [[device]] with a name and a type.")
    _check_unique([device.name for device in devices], place)
    links = _links(document, place, {device.name: device for device in devices})
    name = document.get("name", Path(place.file).stem)
    return Fleet(name, devices, links)


def _device(
    table: Mapping[str, Any], place: Place, rows: Mapping[str, CatalogueRow]
) -> FleetDevice:
    check_keys(table, DEVICE_KEYS, place)
    required(table, ("name", "type"), place)
    _check_text(table, place)
    _check_count(table, place)
    spec = _spec(table, place, rows)
    _check_price(table, spec, place)
    return FleetDevice(
        name=table["name"],
        spec=spec,
        count=table.get("count", 1),
        backend=table.get("backend", "openai" if spec.kind == "api" else "engine"),
        usd_per_hour=float(table.get("usd_per_hour", 0.0)),
        usd_per_mtok_in=float(table.get("usd_per_mtok_in", 0.0)),
        usd_per_mtok_out=float(table.get("usd_per_mtok_out", 0.0)),
        url=table.get("url", ""),
        api_key_env=table.get("api_key_env", ""),
    )


def _check_text(table: Mapping[str, Any], place: Place) -> None:
    for key in ("name", "backend"):
        if key in table and not NAME.fullmatch(table[key]):
            raise place.error(
                f"{table[key]!r} is not a {key}",
                "Use up to 64 letters, digits, dots, dashes and underscores.",
                key,
            )
    if table.get("api_key_env") and not VARIABLE.fullmatch(table["api_key_env"]):
        # The value may be a secret pasted by mistake: it is not repeated.
        raise place.error(
            "`api_key_env` is not the name of an environment variable",
            "Put the key into an environment variable and give that variable's name.",
            "api_key_env",
        )
    if table.get("url"):
        _check_url(table["url"], place)


def _check_url(url: str, place: Place) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise place.error("`url` is not an http address", "Write https://host/v1.", "url")
    if parts.username or parts.password:
        raise place.error("`url` holds a password", "Use api_key_env instead.", "url")


def _check_count(table: Mapping[str, Any], place: Place) -> None:
    if not 1 <= table.get("count", 1) <= MAX_COUNT:
        raise place.error(
            f"`count` is {table['count']}", f"Give a count from 1 to {MAX_COUNT}.", "count"
        )


def _spec(table: Mapping[str, Any], place: Place, rows: Mapping[str, CatalogueRow]) -> DeviceSpec:
    own = table.get("spec")
    if own is None:
        return find_type(table["type"], rows, where=place.where("type")).spec
    check_keys(own, {**SPEC_KEYS, "source": str}, place)
    for key in ("flops", "efficiency"):
        for name, value in own.get(key, {}).items():
            check_value(name, value, float, place)
    spec = spec_from_json({"kind": "gpu", "source": place.file, **own, "type": table["type"]})
    if spec.kind not in ("cpu", "gpu", "api"):
        raise place.error(f"`kind` is {spec.kind!r}", "Use cpu, gpu or api.", "kind")
    if spec.kind != "api" and not (spec.flops and spec.memory_bytes and spec.memory_bytes_per_s):
        raise place.error(
            f"The row of {spec.type!r} is incomplete",
            "Give it flops, memory_bytes and memory_bytes_per_s.",
            "spec",
        )
    return spec


def _check_price(table: Mapping[str, Any], spec: DeviceSpec, place: Place) -> None:
    if "usd_per_hour" in table or {"usd_per_mtok_in", "usd_per_mtok_out"} <= table.keys():
        return
    needed = "usd_per_mtok_in and usd_per_mtok_out" if spec.kind == "api" else "usd_per_hour"
    listed = catalogue().get(spec.type)
    hint = f" {_listed_price(listed)}" if listed is not None and spec.kind != "api" else ""
    raise place.error(
        f"Device {table['name']!r} has no price", f"Add {needed}; 0 is a price too.{hint}"
    )


def _listed_price(row: CatalogueRow) -> str:
    if row.usd_per_hour is None:
        return f"The catalogue knows no price of a {row.spec.type}."
    return f"The catalogue lists {row.usd_per_hour:g} USD an hour on demand."


def _check_unique(names: Sequence[str], place: Place) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise replace(place, table="device", index=index).error(
                f"Two devices are called {name!r}", "Rename one, or raise its `count`.", "name"
            )


def _links(
    document: Mapping[str, Any], place: Place, devices: Mapping[str, FleetDevice]
) -> tuple[Link, ...]:
    links: dict[tuple[str, str], Link] = {}
    for index, table in enumerate(tables(document, "link", place)):
        at = replace(place, table="link", index=index)
        link = _link(table, at, devices)
        if (link.source, link.target) in links:
            raise at.error(f"Two links go from {link.source!r} to {link.target!r}", "Remove one.")
        links[link.source, link.target] = link
    return tuple(links.values())


def _link(table: Mapping[str, Any], place: Place, devices: Mapping[str, FleetDevice]) -> Link:
    check_keys(table, LINK_KEYS, place)
    required(table, ("from", "to", "bytes_per_s"), place)
    for key in ("from", "to"):
        if table[key] not in devices:
            raise place.error(
                f"The link names {table[key]!r}, which is no device of the fleet",
                f"Its devices are {', '.join(devices)}.",
                key,
            )
    if table["from"] == table["to"]:
        raise place.error("The link joins a device with itself", "Remove it.", "to")
    if table["bytes_per_s"] == 0:
        raise place.error("`bytes_per_s` is 0", "Give the bandwidth in bytes.", "bytes_per_s")
    return Link(
        table["from"],
        table["to"],
        float(table["bytes_per_s"]),
        float(table.get("latency_s", 0.0)),
    )
