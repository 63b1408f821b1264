"""Small charts as SVG text: bars, a distribution, trade-offs, prices on an axis, a tornado.

Every chart loads nothing and escapes every name. Labels that are too long for their place are
cut, with the whole text as a tooltip; widths are estimated from the number of characters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 860
CHAR_WIDTH = 6.8
"""Pixels of an average character of 12 px sans-serif; capitals and digits are a little wider."""

ROW = 26
LEFT, RIGHT, TOP, BOTTOM = 230, 70, 14, 44
BLUE, GREY, RED, GREEN, PALE = "#2f6db5", "#8a8f98", "#b3261e", "#4f8a4c", "#d9e4f2"
HEAD = 'font-family="sans-serif" font-size="12" role="img"'
MAX_LOG_RATIO = 12.0
"""Values further apart than this are drawn on a logarithmic axis."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values to pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Give the pixel of a value; values outside stay at the edge."""
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Give some four to seven round values within the scale."""
        if self.log:
            return _log_ticks(self.low, self.high)
        step = _round_step((self.high - self.low) / 5.0 or 1.0)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * step for step in (1.0, 2.0, 5.0, 10.0) if power * step >= rough * 0.999)


def _log_ticks(low: float, high: float) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [10.0**power * step for power in exponents for step in (1.0, 2.0, 5.0)]
    inside = [value for value in found if low <= value <= high]
    return inside if len(inside) <= 8 else [value for value in inside if f"{value:e}"[0] == "1"]


def scale(values: Sequence[float], start: float, end: float, *, zero: bool = True) -> Scale:
    """Make a scale that holds all values, logarithmic where they are far apart and not from 0."""
    low, high = min(values), max(values)
    if not zero and low > 0.0 and high / low > MAX_LOG_RATIO:
        return Scale(low / 1.15, high * 1.15, start, end, log=True)
    room = 0.06 * (high - low) or 0.5 * abs(high) or 1.0
    return Scale(0.0 if zero else max(0.0, low - room), high + room, start, end)


def bars_chart(
    rows: Sequence[tuple[str, float, str]], title: str, unit: str, *, full: float | None = None
) -> str:
    """Draw one bar a row: (label, value, what to write behind it); 0 to `full` on the axis."""
    high = max([value for _, value, _ in rows] + ([] if full is None else [full]), default=1.0)
    across = Scale(0.0, high or 1.0, LEFT, WIDTH - 2 * RIGHT)
    parts = []
    for index, (label, value, said) in enumerate(rows):
        top = TOP + index * ROW
        parts.append(text(LEFT - 8, top + 17, label, "end", room=LEFT - 12))
        if full is not None:
            parts.append(_rect(LEFT, top + 4, across.at(full) - LEFT, ROW - 8, PALE))
        colour = BLUE if index == 0 or full is not None else GREY
        parts.append(_rect(LEFT, top + 4, across.at(value) - LEFT, ROW - 8, colour, label))
        parts.append(text(across.at(max(value, full or 0.0)) + 6, top + 17, said, room=2 * RIGHT))
    bottom = TOP + len(rows) * ROW
    parts += _x_axis(across, bottom, unit)
    return _svg(bottom + BOTTOM, title, parts)


def distribution_chart(
    shares: Sequence[float],
    seconds: Sequence[float],
    marks: Sequence[tuple[float, float]],
    limit: float | None,
    share: float,
    title: str,
) -> str:
    """Draw which share of jobs is done within which time, with the SLO as a corner.

    Args:
        marks: (share, seconds) of percentiles to name.
        limit, share: seconds of the SLO and the share of jobs it is for.
    """
    height = 300
    shown = [*seconds, *([] if limit is None else [limit])]
    far = limit is not None and limit > 4.0 * max(seconds)
    across = scale(seconds if far else shown, 70, WIDTH - RIGHT)
    up = Scale(0.0, 1.0, height - BOTTOM, TOP)
    line = " ".join(
        f"{across.at(x):.1f},{up.at(y):.1f}" for x, y in zip(seconds, shares, strict=True)
    )
    parts = [f'<polyline points="{line}" fill="none" stroke="{BLUE}" stroke-width="2.5"/>']
    parts += _x_axis(across, height - BOTTOM, "seconds from arrival to end of a job")
    parts += _y_axis(up, 70, "share of jobs done", percent=True)
    for part, reached in marks:
        x, y = across.at(reached), up.at(part)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{BLUE}"/>')
        said = f"p{100 * part:g}: {reached:.3g} s"
        side = "end" if x > WIDTH - 180 else "start"
        parts.append(text(x + (-8 if side == "end" else 8), y + 16, said, side))
    if limit is not None and not far:
        x = across.at(limit)
        parts.append(_line(x, TOP, x, height - BOTTOM, RED, dashed=True))
        parts.append(text(x - 6, height - BOTTOM - 8, f"SLO {limit:g} s", "end", RED))
        parts.append(_line(70, up.at(share), x, up.at(share), RED, dashed=True))
    elif limit is not None:
        said = f"SLO {limit:g} s, far to the right"
        parts.append(text(WIDTH - RIGHT, height - BOTTOM - 8, said, "end", RED))
    return _svg(height, title, parts)


def trade_chart(
    points: Sequence[tuple[float, float, str]], chosen: int, title: str, x_unit: str, y_unit: str
) -> str:
    """Draw fleets as lettered points (x, y, name) joined by x; the chosen one is filled."""
    height = 320
    across = scale([x for x, _, _ in points], 80, WIDTH - RIGHT, zero=False)
    up = scale([y for _, y, _ in points], height - BOTTOM, TOP + 6, zero=False)
    ordered = sorted(points)
    line = " ".join(f"{across.at(x):.1f},{up.at(y):.1f}" for x, y, _ in ordered)
    parts = [
        f'<polyline points="{line}" fill="none" stroke="{GREY}" stroke-dasharray="4 4"/>',
        *_x_axis(across, height - BOTTOM, x_unit),
        *_y_axis(up, 80, y_unit),
    ]
    for index, (x, y, name) in enumerate(points):
        here = index == chosen
        fill = BLUE if here else "#ffffff"
        left, top = across.at(x), up.at(y)
        parts.append(
            f'<circle cx="{left:.1f}" cy="{top:.1f}" r="6" fill="{fill}" stroke="{BLUE}" '
            f'stroke-width="2"><title>{escape(name)}</title></circle>'
        )
        parts.append(text(left + 10, top - 8, letter(index), bold=here))
    return _svg(height, title, parts)


def letter(index: int) -> str:
    """Name a point: A, B, ... Z, A1, B1, ..."""
    turn, place = divmod(index, 26)
    return chr(ord("A") + place) + (str(turn) if turn else "")


def price_chart(rows: Sequence[tuple[str, float, float | None, str]], title: str) -> str:
    """Draw, a row each, (type, price now, price where the answer flips or None, direction).

    The bar spans the prices at which the answer stands: up to the flip where it uses the type,
    from the flip where it does without it.
    """
    ends = [value for _, now, flip, _ in rows for value in (now, flip) if value is not None]
    across = scale([*ends, 0.0], LEFT, WIDTH - 3 * RIGHT)
    parts = []
    for index, (name, now, flip, direction) in enumerate(rows):
        top = TOP + index * ROW
        parts.append(text(LEFT - 8, top + 17, name, "end", room=LEFT - 12))
        low, high = 0.0, across.high
        if flip is not None:
            low, high = (0.0, flip) if direction == "up" else (flip, across.high)
        left = across.at(low)
        parts.append(_rect(left, top + 6, across.at(high) - left, ROW - 12, PALE, name))
        if flip is not None:
            x = across.at(flip)
            parts.append(_line(x, top + 3, x, top + ROW - 3, RED, width=3))
        x, y = across.at(now), top + ROW / 2
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{BLUE}"/>')
        said = f"now {now:.2f}" + (", never flips" if flip is None else f", flips at {flip:.2f}")
        parts.append(text(WIDTH - 3 * RIGHT + 8, top + 17, said, room=3 * RIGHT - 12))
    bottom = TOP + len(rows) * ROW
    parts += _x_axis(across, bottom, "USD per device-hour")
    return _svg(bottom + BOTTOM, title, parts)


def tornado_chart(
    rows: Sequence[tuple[str, float | None, float | None]], now: float, title: str
) -> str:
    """Draw (change, USD/h of the same fleet or None, USD/h of the best fleet or None) around now.

    The pale bar is what keeping the fleet costs under the change, the dark one the best fleet.
    """
    costs = [value for _, *pair in rows for value in pair if value is not None]
    wide = LEFT + 60
    across = scale([*costs, now], wide, WIDTH - 2 * RIGHT - 20, zero=False)
    middle, parts = across.at(now), []
    for index, (change, kept, best) in enumerate(rows):
        top = TOP + index * ROW
        parts.append(text(wide - 8, top + 17, change, "end", room=wide - 12))
        for value, colour, inset in ((kept, PALE, 4), (best, BLUE, 9)):
            if value is not None:
                x = across.at(value)
                span = max(abs(x - middle), 1.0)
                said = f"{change}: {value:.2f} USD/h"
                parts.append(
                    _rect(min(x, middle), top + inset, span, ROW - 2 * inset, colour, said)
                )
        shown = [across.at(value) for value in (kept, best, now) if value is not None]
        parts.append(text(max(shown) + 6, top + 17, _both(kept, best)))
    bottom = TOP + len(rows) * ROW
    parts.append(_line(middle, TOP, middle, bottom, RED))
    parts += _x_axis(across, bottom, f"USD per hour of the fleet (red: now, {now:.2f})")
    return _svg(bottom + BOTTOM, title, parts)


def _both(kept: float | None, best: float | None) -> str:
    """Write what the same fleet and the best fleet cost."""
    if best is None:
        return "no fleet"
    if kept is None or abs(kept - best) < 0.005:
        return f"{best:.2f}"
    return f"{kept:.2f}, best {best:.2f}"


def text(
    x: float,
    y: float,
    said: str,
    anchor: str = "start",
    colour: str = "#1c1f24",
    *,
    room: float = math.inf,
    bold: bool = False,
) -> str:
    """Write a text, cut to `room` pixels; the whole of it shows as a tooltip where it was cut."""
    most = max(1, int(room / CHAR_WIDTH)) if math.isfinite(room) else len(said)
    cut = said if len(said) <= most else said[: max(most - 1, 1)] + "\u2026"
    whole = "" if cut == said else f"<title>{escape(said)}</title>"
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>'
        f"{escape(cut)}{whole}</text>"
    )


def _x_axis(across: Scale, bottom: float, unit: str) -> Iterator[str]:
    yield _line(across.start, bottom, across.end, bottom, GREY)
    for value in across.ticks():
        x = across.at(value)
        yield _line(x, bottom, x, bottom + 4, GREY)
        yield text(x, bottom + 17, f"{value:g}", "middle", GREY)
    yield text(0.5 * (across.start + across.end), bottom + 35, unit, "middle")


def _y_axis(up: Scale, left: float, unit: str, *, percent: bool = False) -> Iterator[str]:
    yield _line(left, up.start, left, up.end, GREY)
    for value in up.ticks():
        y = up.at(value)
        yield _line(left - 4, y, left, y, GREY)
        said = f"{100 * value:.0f} %" if percent else f"{value:g}"
        yield text(left - 7, y + 4, said, "end", GREY)
    middle = 0.5 * (up.start + up.end)
    yield (
        f'<text transform="translate(16 {middle:.1f}) rotate(-90)" text-anchor="middle" '
        f'fill="#1c1f24">{escape(unit)}</text>'
    )


def _rect(x: float, y: float, width: float, height: float, colour: str, said: str = "") -> str:
    title = f"<title>{escape(said)}</title>" if said else ""
    size = f'width="{max(width, 0.0):.1f}" height="{height:.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{colour}">{title}</rect>'


def _line(
    x1: float, y1: float, x2: float, y2: float, colour: str, *, dashed: bool = False, width: int = 1
) -> str:
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}"{dash}/>'
    )


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    return "\n".join(
        [
            f'<svg {HEAD} viewBox="0 0 {WIDTH} {height:.0f}" aria-label="{escape(title)}">',
            f"<title>{escape(title)}</title>",
            *parts,
            "</svg>",
        ]
    )
