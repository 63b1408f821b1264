"""A program's drawing as SVG."""

from __future__ import annotations

from xml.etree import ElementTree

from gangline.ir.program import Program, Region, Stage
from gangline.planner.graph_svg import curve, graph_svg, shortened

SVG = "{http://www.w3.org/2000/svg}"


def program(name: str = "a") -> Program:
    stages = (
        Stage(0, "tool", name, (), (0,)),
        Stage(1, "loop", "loop", (0,), (1,), {"max_trips": 4}, (1, 2)),
        Stage(2, "compute", "not", (2,), (3,), {"fn": "not"}),
        Stage(3, "tool", "again", (4,), (5,)),
    )
    regions = (Region((), (0, 1), (1,)), Region((2,), (2,), (3,)), Region((4,), (3,), (5,)))
    return Program("shown", (), regions, stages)


def test_the_image_names_all_and_loads_nothing() -> None:
    text = graph_svg(program())
    root = ElementTree.fromstring(text)
    words = [part.text for part in root.iter(f"{SVG}text")]
    assert {"a", "again", "loop, at most 4"} <= set(words)
    assert "href" not in text and "url(" not in text and "@import" not in text


def test_names_are_escaped() -> None:
    hostile = '</text><script>alert("1")</script>'
    root = ElementTree.fromstring(graph_svg(program(hostile)))
    assert not list(root.iter(f"{SVG}script"))
    assert hostile in [part.text for part in root.iter(f"{SVG}title")]


def test_a_status_is_a_word_and_a_class() -> None:
    root = ElementTree.fromstring(graph_svg(program(), status={"a": "failed"}))
    group = next(g for g in root.iter(f"{SVG}g") if g.attrib["class"] == "tool failed")
    assert [part.text for part in group.iter(f"{SVG}text")] == ["a", "tool · failed"]


def test_curves_run_level_into_their_points() -> None:
    assert curve([(0, 0), (10, 0)]) == "M0 0H10"
    assert curve([(0, 0), (10, 4)]) == "M0 0C5 0 5 4 10 4"


def test_long_labels_are_cut() -> None:
    assert shortened("short", 200) == "short"
    cut = shortened("a_very_long_name_of_a_tool", 80)
    assert cut.endswith("…") and len(cut) == 10
