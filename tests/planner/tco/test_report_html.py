"""The page: it loads nothing, escapes everything, and its drawings stay in their frames."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from gangline.planner.tco.charts import (
    CHAR_WIDTH,
    WIDTH,
    Scale,
    bars_chart,
    distribution_chart,
    price_chart,
    scale,
    text,
    tornado_chart,
    trade_chart,
)
from gangline.planner.tco.report_html import report_html

from .report_cases import HOSTILE, document

VOID = frozenset({"meta", "br", "img", "link", "input"})


class Page(HTMLParser):
    """Collects tags and text, and fails where tags do not match."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def close(self) -> None:
        super().close()
        assert self._open == []


def read(page: str) -> Page:
    found = Page()
    found.feed(page)
    found.close()
    return found


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("simulated", [False, True])
def test_the_page_loads_nothing(own: bool, simulated: bool) -> None:
    page = report_html(document(own=own, simulated=simulated))
    found = read(page)
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(found.tags)
    names = {name for name, _ in found.attributes}
    assert not {"src", "href", "srcset", "action"} & names
    assert not [name for name in names if name.startswith("on")]
    assert "url(" not in page and "@import" not in page and "http://" not in page
    assert found.tags.count("svg") == (7 if simulated else 6)


def test_names_are_shown_and_not_obeyed() -> None:
    page = report_html(document(name=HOSTILE))
    assert "<b " not in page and 'onclick="x' not in page
    found = read(page)
    assert "b" not in found.tags[found.tags.index("table") :]
    assert any(HOSTILE in words for words in found.words)


def test_every_figure_of_the_answer_is_on_the_page() -> None:
    shown = document(own=True)
    words = " ".join(" ".join(read(report_html(shown)).words).split())
    assert shown["sentence"] in words
    for warning in shown["warnings"]:
        assert warning in words
    for device in shown["financing"]["devices"]:
        for line in device["lines"]:
            assert line["arithmetic"] in words
    for row in (*shown["sensitivity"], *shown["break_even"]):
        assert (row.get("change") or row["device"]) in words
    for price in shown["sources"]["prices"].values():
        assert price["source"] in words and price["date"] in words
    low, high = shown["simulated"]["reached_interval_s"]
    assert f"{low:.3g} to {high:.3g} s" in words
    assert "50 % of the fleet" in words


def test_a_page_without_a_deadline_or_detail() -> None:
    bare = copy.deepcopy(document(simulated=False))
    bare["slo"]["seconds"] = None
    for name in ("break_even", "sensitivity", "runners_up", "warnings", "what_if"):
        bare[name] = []
    bare["gap"], bare["fronts"] = None, {}
    bare["baselines"] = {"best_single_type": None, "greedy": None}
    words = " ".join(read(report_html(bare)).words)
    assert "no deadline" in words and "no bound is proven" in words


LONG = "a device with a name that is far too long for its place in any chart of this page " * 3
CHARTS = {
    "bars": bars_chart([(LONG, 3.0, "3.00"), ("b", 1.0, "1.00")], "t", "USD per hour"),
    "busy": bars_chart([(LONG, 0.4, "40 %")], "t", "share of time busy", full=1.0),
    "distribution": distribution_chart(
        [0.0, 0.5, 0.95, 1.0], [1.0, 2.0, 8.0, 9.0], [(0.5, 2.0), (0.95, 8.0)], 10.0, 0.95, "t"
    ),
    "far": distribution_chart(
        [0.0, 0.5, 1.0], [1.0, 2.0, 3.0], [(0.5, 2.0), (0.95, 3.0)], 900.0, 0.95, "t"
    ),
    "trade": trade_chart([(1.0, 400.0, LONG), (2.0, 5.0, "b"), (9.0, 4.0, "c")], 1, "t",
                         "p95 in seconds", "USD per hour"),
    "price": price_chart([(LONG, 2.0, 3.0, "up"), ("b", 2.0, None, "up"), ("c", 9.0, 1.0, "down")], "t"),
    "tornado": tornado_chart([(LONG, 9.0, 2.0), ("b", None, 5.0), ("c", 4.0, None)], 5.0, "t"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHARTS)
def test_nothing_is_drawn_outside_its_frame(name: str) -> None:
    svg = CHARTS[name]
    width, height = map(float, re.findall(r'viewBox="0 0 (\S+) (\S+)"', svg)[0])
    pattern = r'<text x="(\S+)" y="(\S+)" text-anchor="(\w+)"[^>]*>([^<]*)'
    texts = re.findall(pattern, svg)
    assert texts
    for x, y, anchor, said in texts:
        long = CHAR_WIDTH * len(said)
        left = float(x) - {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * long
        assert left >= -1.0 and left + long <= width + 1.0, said
        assert 0.0 < float(y) <= height
    for x, y, wide, high in re.findall(
        r'<rect x="(\S+)" y="(\S+)" width="(\S+)" height="(\S+)"', svg
    ):
        assert float(x) >= 0.0 and float(x) + float(wide) <= width
        assert float(y) + float(high) <= height
    for x in re.findall(r'c?x\d?="(\S+)"', svg):
        assert 0.0 <= float(x) <= width
    read(svg)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("bars", "USD per hour"),
        ("busy", "share of time busy"),
        ("distribution", "seconds from arrival"),
        ("trade", "p95 in seconds"),
        ("trade", "USD per hour"),
        ("price", "USD per device-hour"),
        ("tornado", "USD per hour of the fleet"),
    ],
)
def test_axes_are_labelled_with_their_unit(name: str, unit: str) -> None:
    svg = CHARTS[name]
    assert unit in svg
    ticks = re.findall(r'y="\S+" text-anchor="middle" fill="#8a8f98">([\d.e+-]+)<', svg)
    assert 2 <= len(ticks) <= 9
    assert len(set(ticks)) == len(ticks)


def test_bars_are_as_long_as_their_values() -> None:
    svg = bars_chart([("a", 4.0, ""), ("b", 1.0, "")], "t", "USD")
    wide = [float(width) for width in re.findall(r'<rect [^>]*width="(\S+)"', svg)]
    assert wide[0] == pytest.approx(4.0 * wide[1], rel=0.01)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0, 1370.0), (3.2, 3.9), (0.02, 0.07)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = Scale(low, high, 0.0, 100.0).ticks()
    assert 3 <= len(ticks) <= 8
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    step = ticks[1] - ticks[0]
    assert f"{step:e}"[0] in "125"


def test_far_apart_values_get_a_logarithmic_axis() -> None:
    wide = scale([5.0, 400.0], 0.0, 100.0, zero=False)
    assert wide.log
    assert wide.at(5.0 * 400.0**0.5 / 5.0**0.5) == pytest.approx(50.0)
    assert not scale([5.0, 40.0], 0.0, 100.0, zero=False).log


def test_a_cut_text_keeps_the_whole_as_a_tooltip() -> None:
    found: Any = text(0, 0, "x" * 100, room=70.0)
    assert "x" * 100 in found and "\u2026" in found
    assert "title" not in text(0, 0, "short", room=70.0)
    assert WIDTH > 600
