"""Waiting times of a pool of servers at a given load."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def wait_probability(servers: npt.ArrayLike, utilisation: npt.ArrayLike) -> Array:
    """Probability that an arrival waits, rho^(sqrt(2(c+1)) - 1) (Sakasegawa 1977).

    An approximation of Erlang's C in closed form, exact for one server and within five
    hundredths for many.
    """
    c, rho = np.asarray(servers, dtype=float), np.asarray(utilisation, dtype=float)
    found: Array = np.power(rho, np.sqrt(2.0 * (c + 1.0)) - 1.0)
    return found


def mean_wait_s(
    servers: npt.ArrayLike,
    utilisation: npt.ArrayLike,
    service_s: npt.ArrayLike,
    service_scv: npt.ArrayLike,
    arrival_scv: npt.ArrayLike = 1.0,
) -> Array:
    """Mean seconds in the queue of a G/G/c (Allen and Cunneen's correction of M/M/c).

    W = (Ca^2 + Cs^2) / 2 x P(wait) x S / (c (1 - rho)); inf from a utilisation of 1 on.
    """
    c, rho = np.asarray(servers, dtype=float), np.asarray(utilisation, dtype=float)
    spread = 0.5 * (np.asarray(arrival_scv, dtype=float) + np.asarray(service_scv, dtype=float))
    with np.errstate(divide="ignore", invalid="ignore"):
        wait = spread * wait_probability(c, rho) * np.asarray(service_s, dtype=float)
        found = wait / (c * (1.0 - rho))
    return np.where(rho < 1.0, found, np.inf)
