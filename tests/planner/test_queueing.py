"""Mean waits against the cases that have exact answers."""

from __future__ import annotations

import math

import pytest

from gangline.planner.queueing import mean_wait_s


@pytest.mark.parametrize("busy", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("scv", [0.0, 1.0, 8.0])
def test_one_server_is_pollaczek_khinchine(busy: float, scv: float) -> None:
    exact = busy / (1.0 - busy) * 0.5 * (1.0 + scv) * 2.0
    assert mean_wait_s(busy / 2.0, 2.0, scv, 1.0) == pytest.approx(exact)


@pytest.mark.parametrize("servers", [2, 8, 32])
@pytest.mark.parametrize("busy", [0.7, 0.95])
def test_many_servers_are_close_to_erlang_c(servers: int, busy: float) -> None:
    offered = busy * servers
    below = sum(offered**k / math.factorial(k) for k in range(servers))
    top = offered**servers / math.factorial(servers) / (1.0 - busy)
    exact = top / (below + top) / (servers * (1.0 - busy))
    assert mean_wait_s(offered, 1.0, 1.0, servers) == pytest.approx(exact, rel=0.2, abs=0.01)


def test_an_overloaded_server_never_catches_up() -> None:
    assert mean_wait_s(2.0, 1.0, 1.0, 2.0) == math.inf
    assert mean_wait_s(0.0, 1.0, 1.0, 2.0) == 0.0
