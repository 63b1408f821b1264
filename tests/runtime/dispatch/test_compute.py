"""Computations: the values Python would give, or a located StepError."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gangline.ir.errors import StepError
from gangline.ir.program import COMPUTE_FUNCTIONS
from gangline.runtime.dispatch.compute import _FUNCTIONS, evaluate

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


def test_every_function_of_the_table_is_there() -> None:
    assert set(_FUNCTIONS) == set(COMPUTE_FUNCTIONS)


@pytest.mark.parametrize(
    ("fn", "operands", "attributes", "value"),
    [
        ("get", [{"a": 1}], {"key": "a"}, 1),
        ("item", [[1, 2, 3], -1], {}, 3),
        ("item", [{"a": 5}, "a"], {}, 5),
        ("len", ["abc"], {}, 3),
        ("eq", [[1], [1]], {}, True),
        ("ne", ["a", "b"], {}, True),
        ("lt", [1, 1.5], {}, True),
        ("ge", ["b", "a"], {}, True),
        ("not", [[]], {}, True),
        ("and", [1, 0], {}, False),
        ("or", ["", 3], {}, True),
        ("add", ["a", "b"], {}, "ab"),
        ("add", [[1], [2]], {}, [1, 2]),
        ("sub", [3, 5], {}, -2),
        ("mul", [3, 0.5], {}, 1.5),
        ("list", [1, "a"], {}, [1, "a"]),
        ("dict", [1, 2], {"keys": ["x", "y"]}, {"x": 1, "y": 2}),
        ("range", [3], {}, [0, 1, 2]),
    ],
)
def test_values(fn: str, operands: list[Any], attributes: dict[str, Any], value: Any) -> None:
    assert evaluate(fn, operands, attributes, "here") == value


@pytest.mark.parametrize(
    ("fn", "operands", "attributes"),
    [
        ("get", [{}], {"key": "a"}),
        ("get", [3], {"key": "a"}),
        ("item", [[1], 5], {}),
        ("len", [7], {}),
        ("lt", [1, "a"], {}),
        ("lt", [None, None], {}),
        ("add", [1, "a"], {}),
        ("mul", ["a", 10**9], {}),
        ("mul", [2**600, 2**600], {}),
        ("mul", [1e308, 10], {}),
        ("range", [10**12], {}),
        ("add", ["x" * 10_000_000, "x" * 10_000_000], {}),
        ("eval", ["1"], {}),
    ],
)
def test_no_value(fn: str, operands: list[Any], attributes: dict[str, Any]) -> None:
    with pytest.raises(StepError) as caught:
        evaluate(fn, operands, attributes, "file.py:3")
    assert caught.value.where == "file.py:3" and caught.value.next_step


@given(fn=st.sampled_from(COMPUTE_FUNCTIONS), operands=st.lists(JSON, min_size=1, max_size=3))
def test_total_or_a_step_error(fn: str, operands: list[Any]) -> None:
    try:
        evaluate(fn, operands, {"key": "a", "keys": ["a", "b"]}, "here")
    except StepError:
        return
