"""Mean waits against the cases that have exact answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gangline.planner.queueing import mean_wait_s, mean_waits_s, wait_probability


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


@pytest.mark.parametrize(("servers", "rho"), [(1, 0.3), (1, 0.9), (4, 0.7), (20, 0.9), (50, 0.8)])
def test_waiting_is_near_erlangs(servers: int, rho: float) -> None:
    """Erlang C by its sum; the closed form is within 0.05 of the probability."""
    load = servers * rho
    terms = [load**k / math.factorial(k) for k in range(servers)]
    last = load**servers / math.factorial(servers) / (1.0 - rho)
    exact = last / (sum(terms) + last)
    assert float(wait_probability(servers, rho)) == pytest.approx(exact, abs=0.05)
    exact_wait = exact * 1.0 / (servers * (1.0 - rho))
    assert float(mean_waits_s(servers, rho, 1.0, 1.0)) == pytest.approx(
        exact_wait, rel=0.1, abs=0.03
    )


def test_waiting_against_a_simulated_queue() -> None:
    """M/G/1 with log-normal work: the mean wait of Pollaczek and Khinchine."""
    rng = np.random.default_rng(4)
    count, rho = 400_000, 0.7
    work = rng.lognormal(0.0, 0.8, count)
    work *= rho / work.mean()
    gaps = rng.exponential(1.0, count)
    # Lindley: w[n+1] = max(0, w[n] + work[n] - gap[n+1]), as running minima of a walk.
    walk = np.concatenate([[0.0], np.cumsum(work[:-1] - gaps[1:])])
    waits = walk - np.minimum.accumulate(walk)
    scv = work.var() / work.mean() ** 2
    assert float(mean_waits_s(1, rho, rho, scv)) == pytest.approx(waits.mean(), rel=0.08)
    assert math.isinf(float(mean_waits_s(1, 1.0, 1.0, 1.0)))


def test_one_queue_and_many_follow_one_formula() -> None:
    servers, busy = np.array([1.0, 3.0, 16.0]), np.array([0.2, 0.7, 0.97])
    many = mean_waits_s(servers, busy, 1.5, 2.5)
    one = [mean_wait_s(b * c / 1.5, 1.5, 2.5, c) for b, c in zip(busy, servers, strict=True)]
    assert many.tolist() == pytest.approx(one)
