"""The drawing of a program: order, room, nesting, speed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gangline.ir.errors import PlanError
from gangline.ir.program import Program, Region, Stage
from gangline.planner.graph_layout import DrawnBox, DrawnNode, GraphLayout, graph_layout
from gangline.planner.isotonic import spread
from gangline.planner.layered import layered

Reads = Callable[[int], tuple[int, ...]]


def flat(count: int, reads: Reads) -> Program:
    stages = tuple(Stage(i, "tool", f"t{i}", reads(i), (i,)) for i in range(count))
    return Program("flat", (), (Region((), tuple(range(count)), (count - 1,)),), stages)


def nested() -> Program:
    """a -> map(draft: tokenize..detokenize) -> branch(x, y) reading a; a constant feeds the map."""
    stages = (
        Stage(0, "tool", "a", (0,), (1,)),
        Stage(1, "constant", "constant", (), (2,), {"value": 3}),
        Stage(2, "compute", "range", (2,), (3,), {"fn": "range"}),
        Stage(3, "map", "map", (3,), (10,), {}, (1,)),
        Stage(4, "tokenize", "draft.tokenize", (4, 1), (5,)),
        Stage(5, "prefill", "draft.prefill", (5,), (6,)),
        Stage(6, "decode", "draft.decode", (6,), (7,)),
        Stage(7, "detokenize", "draft.detokenize", (7,), (8,)),
        Stage(8, "compute", "len", (10,), (11,), {"fn": "len"}),
        Stage(9, "branch", "branch", (11,), (14,), {}, (2, 3)),
        Stage(10, "tool", "x", (1,), (12,)),
        Stage(11, "tool", "y", (10,), (13,)),
        Stage(12, "compute", "dict", (14,), (15,), {"fn": "dict", "keys": ["r"]}),
    )
    regions = (
        Region((0,), (0, 1, 2, 3, 8, 9, 12), (15,)),
        Region((4,), (4, 5, 6, 7), (8,)),
        Region((), (10,), (12,)),
        Region((), (11,), (13,)),
    )
    return Program("nested", (), regions, stages)


def arrows(layout: GraphLayout) -> set[tuple[str, str]]:
    return {(edge.source, edge.target) for edge in layout.edges}


def test_control_flow_is_a_box_and_edges_pass_through_arithmetic() -> None:
    layout = graph_layout(nested(), "stage")
    inside = {node.id: node.box for node in layout.nodes}
    assert inside["a"] == "" and inside["x"] == inside["y"] == "branch"
    assert {inside[f"draft.{op}"] for op in ("tokenize", "prefill", "decode")} == {"map"}
    assert ("a", "map") in arrows(layout), "the body reads a"
    assert ("map", "branch") in arrows(layout), "through len"
    assert ("a", "branch") in arrows(layout), "the then side reads a"
    assert not {"constant", "range", "len", "dict"} & inside.keys()
    sides = next(box.sides for box in layout.boxes if box.id == "branch")
    assert [title for title, _, _ in sides] == ["then", "else"]


def test_a_model_call_is_one_node_at_agent_level() -> None:
    layout = graph_layout(nested(), "agent")
    draft = next(node for node in layout.nodes if node.kind == "llm")
    assert draft.id == "draft" and draft.box == "map"
    assert [name.rpartition(".")[2] for name in draft.stages] == [
        "tokenize",
        "prefill",
        "decode",
        "detokenize",
    ]


def test_two_decodes_of_one_prefill_are_two_calls_without_a_cycle() -> None:
    stages = (
        Stage(0, "tokenize", "d.tokenize", (), (0,)),
        Stage(1, "prefill", "d.prefill", (0,), (1,)),
        Stage(2, "decode", "d.decode", (1,), (2,)),
        Stage(3, "detokenize", "d.detokenize", (2,), (3,)),
        Stage(4, "tool", "grammar", (3,), (4,)),
        Stage(5, "decode", "d.decode#2", (1, 4), (5,)),
        Stage(6, "detokenize", "d.detokenize#2", (5,), (6,)),
    )
    program = Program("forked", (), (Region((), tuple(range(7)), (6,)),), stages)
    layout = graph_layout(program, "agent")
    assert len([node for node in layout.nodes if node.kind == "llm"]) == 2
    assert ("grammar", "d#2") in arrows(layout)


def test_a_decode_in_a_map_is_not_the_prefill_before_it() -> None:
    stages = (
        Stage(0, "tokenize", "d.tokenize", (), (0,)),
        Stage(1, "prefill", "d.prefill", (0,), (1,)),
        Stage(2, "map", "map", (9,), (2,), {}, (1,)),
        Stage(3, "decode", "d.decode", (1,), (4,)),
    )
    program = Program(
        "forked", (), (Region((9,), (0, 1, 2), (2,)), Region((3,), (3,), (4,))), stages
    )
    layout = graph_layout(program, "agent")
    assert [(node.id, node.box) for node in layout.nodes] == [("d", ""), ("d.decode", "map")]


def test_a_value_from_two_levels_out_reaches_the_outermost_box() -> None:
    stages = (
        Stage(0, "tool", "a", (), (0,)),
        Stage(1, "call", "outer", (), (1,), {}, (1,)),
        Stage(2, "call", "inner", (), (2,), {}, (2,)),
        Stage(3, "tool", "b", (0,), (3,)),
    )
    regions = (Region((), (0, 1), (1,)), Region((), (2,), (2,)), Region((), (3,), (3,)))
    layout = graph_layout(Program("deep", (), regions, stages))
    assert arrows(layout) == {("a", "outer")}
    assert [(box.id, box.box) for box in layout.boxes] == [("outer", ""), ("inner", "outer")]


def test_a_recorded_plan_is_drawn_inside_its_step() -> None:
    stages = (
        Stage(0, "tool", "write", (), (0,)),
        Stage(1, "expand", "expand", (0,), (1,)),
    )
    program = Program("planned", (), (Region((), (0, 1), (1,)),), stages)
    assert not graph_layout(program).boxes, "nothing is known before it is recorded"
    plan = [
        {"id": "b", "tool": "read", "after": ["a"]},
        {"id": "a", "tool": "find", "after": []},
    ]
    layout = graph_layout(program, "agent", {"expand": plan})
    assert arrows(layout) == {("write", "expand"), ("expand/a", "expand/b")}
    assert {node.label: node.box for node in layout.nodes} == {
        "write": "",
        "b: read": "expand",
        "a: find": "expand",
    }


def overlapping(layout: GraphLayout) -> Iterator[tuple[str, str]]:
    parts: list[DrawnNode | DrawnBox] = [*layout.nodes, *layout.boxes]
    for one, two in combinations(parts, 2):
        apart = (
            one.x + one.width <= two.x
            or two.x + two.width <= one.x
            or one.y + one.height <= two.y
            or two.y + two.height <= one.y
        )
        if one.box == two.box and not apart:
            yield one.id, two.id


@given(st.integers(2, 40), st.integers(0, 10_000), st.integers(2, 5))
def test_edges_run_rightwards_and_nothing_overlaps(count: int, seed: int, most: int) -> None:
    rng = random.Random(seed)
    reads = [
        tuple({rng.randrange(i) for _ in range(rng.randrange(most))}) if i else ()
        for i in range(count)
    ]
    layout = graph_layout(flat(count, reads.__getitem__))
    place = {node.id: node for node in layout.nodes}
    assert arrows(layout) == {(f"t{s}", f"t{i}") for i in range(count) for s in reads[i]}
    for edge in layout.edges:
        source, target = place[edge.source], place[edge.target]
        assert source.x + source.width < target.x
        xs = [x for x, _ in edge.points]
        assert xs == sorted(xs)
        assert edge.points[0][0] == pytest.approx(source.x + source.width, abs=0.2)
        assert edge.points[-1][0] == pytest.approx(target.x, abs=0.2)
    assert not list(overlapping(layout))
    for node in layout.nodes:
        assert node.x >= 0 and node.x + node.width <= layout.width
        assert node.y >= 0 and node.y + node.height <= layout.height


def test_boxes_hold_what_is_inside_and_nothing_else() -> None:
    layout = graph_layout(nested())
    boxes = {box.id: box for box in layout.boxes}
    for node in layout.nodes:
        if node.box:
            box = boxes[node.box]
            assert box.x < node.x and node.x + node.width < box.x + box.width
            assert box.y < node.y and node.y + node.height < box.y + box.height
    assert not list(overlapping(layout))


def test_crossings_are_untangled() -> None:
    # Two chains whose second nodes come in the wrong order.
    drawing = layered([(100.0, 40.0)] * 4, [(0, 3), (1, 2)])
    (y0, y1, y2, y3) = (y for _, y in drawing.corners)
    assert (y0 < y1) == (y3 < y2)


def test_a_long_edge_bends_around_the_nodes_between() -> None:
    layout = graph_layout(flat(4, lambda i: ((), (0,), (1,), (0, 2))[i]))
    long = next(edge for edge in layout.edges if (edge.source, edge.target) == ("t0", "t3"))
    node = next(node for node in layout.nodes if node.id == "t1")
    level = [y for x, y in long.points if node.x <= x <= node.x + node.width]
    assert level and all(not node.y <= y <= node.y + node.height for y in level)


def test_equal_programs_are_drawn_equally() -> None:
    assert graph_layout(nested()) == graph_layout(nested())


@pytest.mark.parametrize("shape", ["chain", "all read the first", "random"])
def test_500_nodes_in_300_ms_of_cpu(shape: str) -> None:
    rng = random.Random(7)
    shapes: dict[str, Reads] = {
        "chain": lambda i: (i - 1,) if i else (),
        "all read the first": lambda i: tuple({0, i - 1}) if i else (),
        "random": lambda i: tuple({rng.randrange(i) for _ in range(2)}) if i else (),
    }
    program = flat(500, shapes[shape])
    graph_layout(flat(20, lambda i: (i - 1,) if i else ()))
    seconds = []
    for _ in range(3):
        start = time.process_time()
        layout = graph_layout(program)
        seconds.append(time.process_time() - start)
    assert len(layout.nodes) == 500
    assert min(seconds) < 0.3


def test_a_graph_nobody_could_read_is_refused() -> None:
    with pytest.raises(PlanError, match="at most 4000 are drawn"):
        graph_layout(flat(4001, lambda i: ()))


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(PlanError, match="no level 'mlir'"):
        graph_layout(nested(), "mlir")


def test_a_cycle_is_refused() -> None:
    with pytest.raises(ValueError, match="cycle"):
        layered([(1.0, 1.0)] * 2, [(0, 1), (1, 0)])


def test_spread_keeps_order_and_moves_least() -> None:
    assert spread([5.0, 0.0], [1.0, 1.0], [2.0, 2.0], 1.0) == [1.0, 4.0]
    assert spread([0.0, 100.0], [1.0, 1.0], [2.0, 2.0], 1.0) == [0.0, 100.0]
    heavy = spread([5.0, 0.0], [1.0, 1e9], [2.0, 2.0], 1.0)
    assert heavy == pytest.approx([-3.0, 0.0], abs=1e-6)
