"""The order of prompt parts: within a point of brute force, and the same text but for its order."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from gangline.ir.passes.prompt_order import Movable, best_orders
from gangline.ir.passes.prompt_parts import arranged, orders, parts_of
from gangline.ir.passes.prompt_reuse import SETTINGS, Atom, Prompt, computed_share

POINT = 0.01
FIELDS = [
    Atom("schema", 500.0, 1),
    Atom("guide", 90.0, 0),
    Atom("question", 30.0, 2),
    Atom("document", 300.0, 2),
    Atom("draft", 80.0, 2, 3.0),
]


@st.composite
def movables(draw: st.DrawFn) -> tuple[Movable, ...]:
    rows = []
    for call in range(draw(st.integers(1, 3))):
        atoms = draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=4, unique=True))
        free = draw(st.sets(st.sampled_from([str(a.key) for a in atoms]), max_size=3))
        text = "\n\n".join(f"{{{atom.key}}}" for atom in atoms) + f"\n\nAnswer {call}:"
        parts = parts_of(text, free)
        inside = (*((atom,) for atom in atoms), (Atom(("end", call), 9.0),))
        visits = draw(st.sampled_from([0.5, 1.0, 3.0]))
        rows.append(Movable(Prompt(visits, (Atom("role", 4.0),), inside), parts))
    return tuple(rows)


@settings(max_examples=60, deadline=None)
@given(movables())
def test_the_order_found_is_within_a_point_of_the_best_of_all(rows: tuple[Movable, ...]) -> None:
    prompts = [row.prompt for row in rows]
    found = computed_share(prompts, best_orders(rows))
    every = product(*(orders(row.parts) for row in rows))
    assert found <= min(computed_share(prompts, one) for one in every) + POINT


@settings(max_examples=60, deadline=None)
@given(movables())
def test_parts_keep_their_text_and_fixed_ones_their_order(rows: tuple[Movable, ...]) -> None:
    for row, order in zip(rows, best_orders(rows), strict=True):
        assert sorted(order) == list(range(len(row.parts)))
        fixed = [at for at in order if not row.parts[at].is_free]
        assert fixed == sorted(fixed)
        written = arranged(row.parts, order).split("\n\n")
        assert written == [row.parts[at].text for at in order]


def test_what_belongs_to_a_database_goes_before_what_belongs_to_a_job() -> None:
    parts = parts_of("{question}\n\n{schema}\n\nSQL:", {"question", "schema"})
    inside = ((FIELDS[2],), (FIELDS[0],), (Atom("end", 2.0),))
    (order,) = best_orders([Movable(Prompt(1.0, (), inside), parts)])
    assert order == (1, 0, 2)


def test_an_order_that_is_as_good_as_any_stays() -> None:
    parts = parts_of("{schema}\n\n{question}\n\nSQL:", {"question", "schema"})
    inside = ((FIELDS[0],), (FIELDS[2],), (Atom("end", 2.0),))
    assert best_orders([Movable(Prompt(1.0, (), inside), parts)]) == ((0, 1, 2),)


def test_calls_of_a_job_agree_although_each_alone_would_not_care() -> None:
    document, question = FIELDS[3], FIELDS[2]
    free = {"document", "question"}
    one = parts_of("{document}\n\n{question}\n\nA:", free)
    two = parts_of("{question}\n\n{document}\n\nB:", free)
    rows = [
        Movable(Prompt(1.0, (), ((document,), (question,), (Atom("a", 2.0),))), one),
        Movable(Prompt(1.0, (), ((question,), (document,), (Atom("b", 2.0),))), two),
    ]
    first, second = best_orders(rows)
    assert arranged(one, first)[:-3] == arranged(two, second)[:-3]


def test_a_field_inside_a_sentence_does_not_move() -> None:
    text = "Question: {question}\n\nThe schema is\n{schema}\nand nothing else.\n\nIn {style}, {question}"
    assert [part.is_free for part in parts_of(text, {"style"})] == [False, False, False]
    assert [part.is_free for part in parts_of(text, {"schema"})] == [False, True, False]


def test_settings_are_those_of_the_claims() -> None:
    assert SETTINGS[0] == (1.0, 1.0) and SETTINGS[1][0] == 1.0 and SETTINGS[2][0] > 1.0
