"""`gangline devices`: what this machine is, measured if asked, and the device types known."""

from __future__ import annotations

from textwrap import shorten
from typing import Annotated

import typer

from .output import console, print_document
from .run_command import Json

SOURCE_WIDTH = 30  # characters; what the other columns leave of 80


def devices(
    probe: Annotated[
        bool, typer.Option("--probe", help="Measure this machine (about ten seconds) and keep it.")
    ] = False,
    known: Annotated[bool, typer.Option("--all", help="Also list the catalogue's types.")] = False,
    as_json: Json = False,
) -> None:
    """Show this machine's devices as rows of data; plans are made from these figures."""
    from gangline.planner.catalogue import catalogue, spec_to_json
    from gangline.planner.fleet_file import USD_PER_CORE_HOUR
    from gangline.runtime.machine import probe as probing

    rows = probing.probe() if probe else (probing.detect(),)
    here = [spec_to_json(spec) for spec in rows]
    types = [row.to_json() for row in catalogue().values()] if known else []
    if as_json:
        print_document({"devices": here, **({"catalogue": types} if known else {})})
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("device")
    for name in ("TFLOPS bf16", "TOPS int8", "GB", "GB/s", "$/h"):
        table.add_column(name, justify="right")
    table.add_column("source")
    for row in (*here, *types):
        cpu_price = row["cores"] * USD_PER_CORE_HOUR if row["kind"] == "cpu" else None
        price = row.get("usd_per_hour", cpu_price)
        table.add_row(
            f"{row['type']} (here)" if row in here else row["type"],
            _tera(row["flops"].get("bf16") or row["flops"].get("fp16")),
            *(_tera(row["flops"].get("int8")), f"{row['memory_bytes'] / 1e9:.0f}"),
            *(f"{row['memory_bytes_per_s'] / 1e9:.0f}", "" if price is None else f"{price:.2f}"),
            shorten(row["source"], SOURCE_WIDTH, placeholder=" …"),  # whole with --json
        )
    console().print(table)
    if not probe and str(here[0]["source"]).startswith("detected"):
        console().print("Estimated from the CPU's features: --probe measures it.", style="dim")


def _tera(rate: float | None) -> str:
    return "" if not rate else f"{rate / 1e12:.2f}"
