"""Catalogues people write: the device types that a fleet may be chosen from.

    [[device]]
    type = "L4"                     # a built-in type, with its built-in row
    [[device]]
    type = "acme-9"                 # a type of one's own needs its figures
    kind = "gpu"
    flops = { bf16 = 4e14, fp8 = 8e14 }
    memory_bytes = 96_000_000_000
    memory_bytes_per_s = 3.2e12
    tdp_w = 600
    usd_per_hour = 2.50
    price_date = "2026-05"
    confidence = "high"
    [device.sources]
    usd_per_hour = "quote 1234"

Figures given for a built-in type replace its own. The text is untrusted: what is wrong in it is
an error that names the file and the line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gangline.planner.catalogue import (
    SPEC_KEYS,
    CatalogueRow,
    catalogue,
    find_type,
    spec_from_json,
    spec_to_json,
)
from gangline.planner.toml_file import (
    Place,
    check_keys,
    check_value,
    parse_toml,
    read_text,
    required,
    tables,
)

MAX_FILE_BYTES = 5_000_000
PRICE_KEYS: Mapping[str, type] = {
    "usd_per_hour": float,
    "price_low": float,
    "price_high": float,
    "capex_usd": float,
    "price_date": str,
    "confidence": str,
    "sources": dict,
}
NEEDED = ("flops", "memory_bytes", "memory_bytes_per_s")


def read_catalogue_file(path: str | Path) -> Mapping[str, CatalogueRow]:
    """Read a catalogue file (TOML); ConfigError says what is wrong where.

    The built-in CPU types stay, for tools and text, unless the file has a CPU type itself.
    """
    text = read_text(path, "catalogue", MAX_FILE_BYTES, "Check the path given to --catalogue.")
    return parse_catalogue(text, file=str(path))


def parse_catalogue(text: str, *, file: str = "catalogue.toml") -> Mapping[str, CatalogueRow]:
    """Parse and check the text of a catalogue file, as `read_catalogue_file`."""
    document = parse_toml(text, file, "catalogue", "Write [[device]] tables.")
    top = Place(file, text)
    check_keys(document, {"device": list}, top)
    rows: dict[str, CatalogueRow] = {}
    for index, table in enumerate(tables(document, "device", top)):
        place = replace(top, table="device", index=index)
        row = _row(table, place)
        if row.spec.type in rows:
            raise place.error(f"{row.spec.type!r} is there twice", "Remove one.", "type")
        rows[row.spec.type] = row
    if not rows:
        raise top.error("The catalogue has no device", "Add a [[device]] with its type.")
    if not any(row.spec.kind == "cpu" for row in rows.values()):
        rows |= {name: row for name, row in catalogue().items() if row.spec.kind == "cpu"}
    return rows


def _row(table: Mapping[str, Any], place: Place) -> CatalogueRow:
    check_keys(table, {**SPEC_KEYS, **PRICE_KEYS}, place)
    required(table, ("type",), place)
    own = {key: value for key, value in table.items() if key in SPEC_KEYS}
    for key in ("flops", "efficiency"):
        for name, rate in table.get(key, {}).items():
            check_value(f"{key}.{name}", rate, float, place)
    name = table["type"]
    # A type that brings no figures is a built-in one, or a slip of the pen.
    known = catalogue().get(name) or (
        find_type(name, where=place.where("type")) if len(own) == 1 else None
    )
    data = {"kind": "gpu", **(spec_to_json(known.spec) if known else {}), **own}
    if known is not None:
        data["type"] = known.spec.type
    data["source"] = place.where("type") if known is None or len(own) > 1 else known.spec.source
    spec = spec_from_json(data)
    if spec.kind not in ("cpu", "gpu"):
        raise place.error(f"`kind` is {spec.kind!r}", "Use cpu or gpu.", "kind")
    missing = [key for key in NEEDED if not getattr(spec, key)]
    if missing:
        raise place.error(
            f"The row of {name!r} has no {' and no '.join(missing)}",
            "Give the figures; without them nothing can be planned on it.",
            missing[0],
        )
    return _priced(CatalogueRow(spec) if known is None else replace(known, spec=spec), table, place)


def _priced(row: CatalogueRow, table: Mapping[str, Any], place: Place) -> CatalogueRow:
    given = {key: value for key, value in table.items() if key in PRICE_KEYS and key != "sources"}
    sources = table.get("sources", {})
    for name, source in sources.items():
        check_value(f"sources.{name}", source, str, place)
    if "usd_per_hour" in given:
        # The ends of public offers and the date belonged to the price that is replaced.
        blank: dict[str, Any] = {"price_low": None, "price_high": None, "price_date": ""}
        given = {**blank, "confidence": "", **given}
        sources = {"usd_per_hour": place.where("usd_per_hour"), **sources}
    return replace(row, **given, sources={**row.sources, **sources})
