"""Tables people read: the stages of a job, the rows of an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


def steps_table(steps: Sequence[Mapping[str, Any]]) -> Table:
    """One line a step: device, predicted against actual seconds, tokens, $."""
    from rich.table import Table

    # One blank between columns: eight of them and a name like `summarise.detokenize` fill 80.
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name, justify in (
        ("stage", "left"),
        ("device", "left"),
        ("predicted s", "right"),
        ("actual s", "right"),
        ("prompt", "right"),
        ("cached", "right"),
        ("output", "right"),
        ("$", "right"),
    ):
        # A narrow terminal folds a name rather than cut it: a cut name cannot be looked up.
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for step in steps:
        table.add_row(
            str(step["stage"]) + ("" if step["status"] == "succeeded" else f" ({step['status']})"),
            str(step["device"]),
            *(_seconds(step[key]) for key in ("predicted_s", "actual_s")),
            *(_count(step[key]) for key in ("prompt_tokens", "cached_tokens", "output_tokens")),
            usd(step["usd"]),
        )
    return table


def add_total(table: Table, predicted: Mapping[str, Any], actual: Mapping[str, Any]) -> None:
    """Close a steps table with the job's own figures (wall seconds, not the sum of steps)."""
    table.add_section()
    figures = (_seconds(predicted["seconds"]), _seconds(actual["seconds"]))
    table.add_row("job", "", *figures, "", "", "", usd(actual["usd"]), style="bold")


def rows_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], limit: int = 10) -> Table:
    """Show the first rows of an answer; says how many more there are."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(Text(str(name)))
    for row in rows[:limit]:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    if len(rows) > limit:
        table.caption = f"... and {len(rows) - limit} more rows"
    return table


def usd(amount: float | None) -> str:
    """Write dollars so that a hundredth of a cent still shows."""
    if amount is None:
        return ""
    return f"{amount:.2f}" if amount >= 1 else f"{amount:.6f}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _count(value: int | None) -> str:
    return "" if value is None else str(value)
