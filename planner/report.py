"""Show a plan to people: a table, and a timeline with the critical path marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from gangline.ir.program import Program
from gangline.ir.specs.plan import Plan, StagePlan

from .critical_path import timeline
from .profile import Profile
from .workload import complete

COLUMNS = ("  stage", "device", "visits", "s", "90 % of s", "$", "rests on")
NUMBERS = frozenset(COLUMNS[2:6])
BAR_HEIGHT, ROW_HEIGHT, LABEL_WIDTH, CHART_WIDTH, TOP = 16, 24, 220, 640, 34
LINE_WIDTH = 80  # of a plain terminal
SVG_HEAD = 'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="12" role="img"'
COLOURS = {
    "tool": "#5b8c5a",
    "expand": "#5b8c5a",
    "lookup": "#7a6a9c",
    "store": "#7a6a9c",
    "observe": "#7a6a9c",
    "embed": "#c2703d",
    "tokenize": "#9a9a9a",
    "prefill": "#c2703d",
    "decode": "#3d6fb6",
    "detokenize": "#9a9a9a",
}


Spans = Mapping[str, tuple[float, float]]
"""(start, end) seconds by stage name."""


@dataclass(frozen=True, slots=True)
class Bar:
    """The first expected visit of a stage, in seconds since the job starts."""

    stage: str
    op: str
    device: str
    start_s: float
    end_s: float
    critical: bool


def table_rows(plan: Plan) -> list[tuple[str, ...]]:
    """Give a plan's rows as text, under `COLUMNS`; stages of the critical path carry a star."""
    critical = frozenset(plan.critical_path)
    return [_row(row, row.stage in critical) for row in plan.stages]


def _row(row: StagePlan, critical: bool) -> tuple[str, ...]:
    return (
        f"{'*' if critical else ' '} {row.stage}",
        row.device if row.tp * row.pp == 1 else f"{row.device} x{row.tp * row.pp}",
        f"{row.visits:.2g}",
        f"{row.seconds:.3f}",
        f"{row.low_s:.3f}-{row.high_s:.3f}",
        f"{row.usd:.6f}",
        row.source,
    )


def text_table(plan: Plan) -> str:
    """Give a plan as plain text: a header line, a row per stage, what the job takes in all."""
    rows = [COLUMNS, *table_rows(plan)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [" ".join(_aligned(row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, *_summary(plan, "*")]) + "\n"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    for name, cell, width in zip(COLUMNS, row, widths, strict=True):
        yield cell.rjust(width) if name in NUMBERS else cell.ljust(width)


def _summary(plan: Plan, mark: str) -> Iterator[str]:
    yield (
        f"{plan.workflow} on {plan.fleet}: {plan.seconds:.3f} s along the critical path ({mark}), "
        f"${plan.usd:.6f} a job"
    )
    limits = [] if plan.deadline_s is None else [f"deadline {plan.deadline_s:g} s"]
    limits += [] if plan.budget_usd is None else [f"budget ${plan.budget_usd:g}"]
    if limits:
        yield ", ".join(limits)


def bars(plan: Plan, program: Program | None = None, profile: Profile | None = None) -> list[Bar]:
    """Lay a plan out in time: when the first visit of each stage is expected to run.

    Waiting turns, repeated trips and hops between devices are not drawn. Without the program,
    only the order along the critical path is known: other stages are drawn beside it.
    """
    spans = _chained(plan) if program is None else _computed(plan, program, profile)
    critical = frozenset(plan.critical_path)
    return [
        Bar(row.stage, row.op, row.device, *spans[row.stage], row.stage in critical)
        for row in plan.stages
        if row.stage in spans
    ]


def _computed(plan: Plan, program: Program, profile: Profile | None) -> Spans:
    full = complete(program, profile)
    rows = {row.stage: row for row in plan.stages}
    seconds = {stage.id: rows[stage.name].seconds for stage in program.walk() if stage.name in rows}
    return timeline(program, seconds, full.factors, lambda source, target: 0.0).spans


def _chained(plan: Plan) -> Spans:
    critical = frozenset(plan.critical_path)
    spans: dict[str, tuple[float, float]] = {}
    end_s = 0.0
    # Invariant: `end_s` is the end of the critical stages so far.
    for row in plan.stages:
        spans[row.stage] = (end_s, end_s + row.seconds)
        end_s += row.seconds if row.stage in critical else 0.0
    return spans


def timeline_text(
    plan: Plan, program: Program | None = None, profile: Profile | None = None
) -> str:
    """Draw `bars` as text, one line per stage; `#` marks the critical path."""
    drawn = bars(plan, program, profile)
    total_s = max((bar.end_s for bar in drawn), default=0.0) or 1.0
    label = max((len(bar.stage) for bar in drawn), default=0)
    device = max((len(bar.device) for bar in drawn), default=0)
    width = max(20, LINE_WIDTH - label - device - 2)
    lines = [
        f"{bar.stage:<{label}} {bar.device:<{device}} {_text_bar(bar, width / total_s)}".rstrip()
        for bar in drawn
    ]
    return "\n".join([*lines, f"from 0 to {total_s:.3g} s", *_summary(plan, "#")]) + "\n"


def _text_bar(bar: Bar, scale: float) -> str:
    end = max(1, round(bar.end_s * scale))
    left = min(round(bar.start_s * scale), end - 1)
    return " " * left + ("#" if bar.critical else "-") * (end - left)


def timeline_svg(plan: Plan, program: Program | None = None, profile: Profile | None = None) -> str:
    """Draw `bars` as an SVG image, one row per stage, the critical path edged in red."""
    drawn = bars(plan, program, profile)
    end_s = max((bar.end_s for bar in drawn), default=0.0) or 1.0
    height = TOP + ROW_HEIGHT * len(drawn) + ROW_HEIGHT
    width = LABEL_WIDTH + CHART_WIDTH + 80
    parts = [
        f'<svg {SVG_HEAD} viewBox="0 0 {width} {height}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(8, 18, "; ".join(_summary(plan, "red"))),
        *(part for index, bar in enumerate(drawn) for part in _bar(bar, index, end_s)),
        _text(LABEL_WIDTH, height - 8, "0 s"),
        _text(LABEL_WIDTH + CHART_WIDTH, height - 8, f"{end_s:.3g} s", "end"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _bar(bar: Bar, index: int, end_s: float) -> list[str]:
    scale = CHART_WIDTH / end_s
    left, top = LABEL_WIDTH + bar.start_s * scale, TOP + index * ROW_HEIGHT
    width = max((bar.end_s - bar.start_s) * scale, 1.0)
    edge = ' stroke="#b00020" stroke-width="2"' if bar.critical else ""
    label = f"{bar.stage} ({bar.device})"
    title = f"<title>{escape(label)}: {bar.end_s - bar.start_s:.3g} s</title>"
    place = f'x="{left:.1f}" y="{top}" width="{width:.1f}" height="{BAR_HEIGHT}"'
    colour = COLOURS.get(bar.op, "#777777")
    return [
        _text(8, top + 12, label),
        f'<rect {place} fill="{colour}"{edge}>{title}</rect>',
    ]


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'
