"""How an engine request went, with the times its steps are measured by."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gangline.ir.specs.request import Finished, RequestFailed, Submit


@dataclass(frozen=True, slots=True)
class RequestOutcome:
    """A finished request. Times are on the runtime's clock; `first_token_s` may be NaN."""

    finished: Finished
    submitted_s: float
    at_s: float
    first_token_s: float = math.nan


@dataclass(frozen=True, slots=True)
class DirectOutcome:
    """A request that belonged to no job and has ended, for metrics. Times as above."""

    submit: Submit
    device: str
    event: Finished | RequestFailed
    submitted_s: float
    at_s: float
    first_token_s: float = math.nan
    usd: float = 0.0
