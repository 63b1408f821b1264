"""Waiting in line: whether an arrival waits, and how long on average, at a given load.

Whitt's form of the Allen-Cunneen approximation for GI/G/c with Sakasegawa's term for the M/M/c
queue (Sakasegawa, "An approximation formula L_q = a b^rho / (1 - rho)", Ann. Inst. Stat. Math.
29, 1977):

    W = (Ca^2 + Cs^2) / 2 x P(wait) x S / (c (1 - rho)),   P(wait) = rho^(sqrt(2 (c + 1)) - 1)

Exact for one server; for many it is within a fifth of M/M/c or within a hundredth of a service
(tests/planner/test_queueing.py).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def wait_probability(servers: npt.ArrayLike, utilisation: npt.ArrayLike) -> Array:
    """Probability that an arrival waits, rho^(sqrt(2 (c + 1)) - 1).

    An approximation of Erlang's C in closed form, exact for one server and within five
    hundredths for many.
    """
    c, rho = np.asarray(servers, dtype=float), np.asarray(utilisation, dtype=float)
    found: Array = np.power(rho, np.sqrt(2.0 * (c + 1.0)) - 1.0)
    return found


def mean_waits_s(
    servers: npt.ArrayLike,
    utilisation: npt.ArrayLike,
    service_s: npt.ArrayLike,
    service_scv: npt.ArrayLike,
    arrival_scv: npt.ArrayLike = 1.0,
) -> Array:
    """Mean seconds in line of many queues at once; inf from a utilisation of 1 on.

    Args:
        servers: how many are served at once.
        utilisation: share of time a server is busy.
        service_s: mean seconds of one service.
        service_scv, arrival_scv: squared coefficients of variation of services and of the time
            between arrivals (1: Poisson).
    """
    c, rho = np.asarray(servers, dtype=float), np.asarray(utilisation, dtype=float)
    spread = 0.5 * (np.asarray(arrival_scv, dtype=float) + np.asarray(service_scv, dtype=float))
    with np.errstate(divide="ignore", invalid="ignore"):
        wait = spread * wait_probability(c, rho) * np.asarray(service_s, dtype=float)
        found = wait / (c * (1.0 - rho))
    return np.where(rho < 1.0, found, np.inf)


def mean_wait_s(
    arrivals_per_s: float, service_s: float, service_scv: float, servers: float
) -> float:
    """Mean seconds in line of one queue with Poisson arrivals, in plain numbers.

    The same formula as `mean_waits_s`, which takes ten times as long for one queue: a search over
    placements asks for one at a time. Infinite where the servers cannot keep up.

    Args:
        arrivals_per_s: Poisson arrivals, over all servers.
        service_s: mean seconds of one service.
        service_scv: squared coefficient of variation of those seconds.
        servers: how many are served at once.
    """
    busy = arrivals_per_s * service_s / servers
    if busy >= 1.0:
        return math.inf
    if busy <= 0.0:
        return 0.0
    exponent = math.sqrt(2.0 * (servers + 1.0)) - 1.0
    single = math.pow(busy, exponent) / (servers * (1.0 - busy)) * service_s
    return 0.5 * (1.0 + service_scv) * single
