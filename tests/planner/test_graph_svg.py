"""A program's drawing as SVG."""

from __future__ import annotations

from xml.etree import ElementTree

from gangline.ir.program import Program, Region, Stage
from gangline.planner.graph_marks import Mark
from gangline.planner.graph_nodes import graph_nodes, marked_nodes
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


MARKS = {"a": Mark("a100/0", 0, 0.25), "again": Mark("l40s/1", 1, 3.0, 0.1)}


def group(text: str, name: str) -> ElementTree.Element:
    root = ElementTree.fromstring(text)
    return next(
        found
        for found in root.iter(f"{SVG}g")
        if any(part.text == name for part in found.iter(f"{SVG}title"))
    )


def test_devices_are_colours_with_a_legend() -> None:
    text = graph_svg(program(), marks=MARKS)
    assert "d0" in group(text, "a").attrib["class"] and "d1" in group(text, "again").attrib["class"]
    words = [part.text for part in ElementTree.fromstring(text).iter(f"{SVG}text")]
    assert {"a100", "l40s", "critical path", "tool · a100 · 250 ms", "tool · l40s · 3 s"} <= set(
        words
    )
    bare = graph_svg(program())
    assert "critical path" not in bare and 'class="key' not in bare


def test_the_critical_path_is_marked_through_boxes() -> None:
    paths = list(ElementTree.fromstring(graph_svg(program(), marks=MARKS)).iter(f"{SVG}path"))
    assert [p.attrib["class"] for p in paths if "edge" in p.attrib["class"]][:1] == [
        "edge critical"
    ]
    beside = {"a": MARKS["a"], "again": Mark("l40s/1", None, 3.0)}
    text = graph_svg(program(), marks=beside)
    assert "critical" in group(text, "a").attrib["class"]
    assert "critical" not in group(text, "again").attrib["class"]


def chain(length: int) -> Program:
    stages = tuple(Stage(n, "tool", f"step{n}", (n - 1,) if n else (), (n,)) for n in range(length))
    return Program("chain", (), (Region((), tuple(range(length)), (length - 1,)),), stages)


def test_a_long_chain_runs_down_the_page() -> None:
    for length, turned in ((4, False), (50, True)):
        root = ElementTree.fromstring(graph_svg(chain(length)))
        width, height = float(root.attrib["width"]), float(root.attrib["height"])
        assert (height > width) is turned and width < 1800
        tops = [g.attrib["transform"] for g in root.iter(f"{SVG}g")]
        assert len(set(tops)) == length


def test_a_curve_down_runs_down_through_its_points() -> None:
    assert curve([(0, 0), (0, 10)], down=True) == "M0 0V10"
    assert curve([(0, 0), (4, 10)], down=True) == "M0 0C0 5 4 5 4 10"


def test_nodes_and_edges_are_flat() -> None:
    nodes, edges = graph_nodes(program())
    assert [(node["id"], node["parent"]) for node in nodes] == [
        ("a", None),
        ("loop", None),
        ("again", "loop"),
    ]
    assert edges == [{"source": "a", "target": "loop"}]


def test_marked_nodes_count_what_is_inside_a_box() -> None:
    nodes, _ = marked_nodes(program(), "stage", MARKS)
    first, loop, _ = nodes
    assert (first["devices"], first["seconds"], first["critical"]) == (["a100"], 0.25, True)
    assert loop["stages"] == ["loop", "again"]
    assert (loop["devices"], loop["seconds"], loop["critical"]) == (["l40s"], 3.0, True)
    assert all(node["seconds"] is None for node in marked_nodes(program(), "stage", {})[0])
