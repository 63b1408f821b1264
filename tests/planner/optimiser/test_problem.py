"""Bad placement problems are refused with the node, edge or device at fault."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gangline.ir.errors import PlanError
from gangline.planner.optimiser.problem import GraphProblem

from .placement_cases import chain

GOOD = chain([[1.0, 2.0]] * 3, [[2.0, 1.0]] * 3, 5.0)


def with_value(name: str, place: tuple[int, ...], value: float) -> dict[str, Any]:
    """Give one array of the good problem with one number changed."""
    changed = getattr(GOOD, name).copy()
    changed[place] = value
    return {name: changed}


@pytest.mark.parametrize(
    ("change", "where", "words"),
    [
        (with_value("usd", (1, 0), -1.0), "node n1", "usd of node 'n1'"),
        (with_value("usd", (2, 1), np.nan), "node n2", "usd of node 'n2'"),
        (with_value("seconds", (0, 0), -0.5), "node n0", "-0.5"),
        (with_value("seconds", (0, 1), np.nan), "node n0", "seconds"),
        (with_value("transfer_s", (1, 0, 0), np.inf), "edge 1", "transfer_s"),
        (with_value("transfer_usd", (0, 0, 0), -1.0), "edge 0", "transfer_usd"),
        ({"deadline_s": 0.0}, "deadline_s", "must be more than 0"),
        ({"deadline_s": -3.0}, "deadline_s", "-3"),
        ({"deadline_s": np.nan}, "deadline_s", "nan"),
        ({"edges": np.array([[0, 1], [1, 7]])}, "edge 1", "there are 3 nodes"),
        ({"edges": np.array([[0, 1], [-1, 2]])}, "edge 1", "node -1"),
        ({"edges": np.array([[0, 1], [1, 1]])}, "node n1", "cycle"),
        ({"usd": np.full((3, 2), np.inf)}, "node n0", "no device type"),
        ({"usd": np.ones((2, 2))}, "usd", "shape"),
        ({"site_of": np.array([-1, 0])}, "site_of", "negative"),
        ({"capacity_s": np.array([1.0, np.nan])}, "device type 1", "nan"),
        ({"capacity_s": np.array([1.0])}, "capacity_s", "shape"),
        ({"names": []}, "usd", "shape"),
    ],
)
def test_bad_input_is_located(change: dict[str, Any], where: str, words: str) -> None:
    with pytest.raises(PlanError) as error:
        replace(GOOD, **change)
    assert error.value.where == where
    assert words in error.value.detail


def test_a_longer_cycle_names_one_of_its_nodes_only() -> None:
    edges = np.array([[0, 1], [1, 2], [2, 3], [3, 1], [3, 4]])
    free = np.zeros((5, 1, 1))
    ones = np.ones((5, 1))
    with pytest.raises(PlanError, match="cycle") as error:
        GraphProblem([f"n{k}" for k in range(5)], ones, ones, np.zeros(1, int), edges, free, free)
    assert error.value.where in {"node n1", "node n2", "node n3"}
