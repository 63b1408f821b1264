"""Waiting in line: mean waits of a group of servers at a rate of arrivals.

Whitt's form of the Allen-Cunneen approximation for GI/G/c with Sakasegawa's term for the M/M/c
queue (Sakasegawa, "An approximation formula L_q = a b^rho / (1 - rho)", Ann. Inst. Stat. Math.
29, 1977). Exact for one server; for many it is within a fifth of M/M/c or within a hundredth of a
service (tests/planner/test_queueing.py).
"""

from __future__ import annotations

import math


def mean_wait_s(
    arrivals_per_s: float, service_s: float, service_scv: float, servers: float
) -> float:
    """Mean seconds in line before service begins; infinite where the servers cannot keep up.

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
