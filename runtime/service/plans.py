"""Plans kept for the next equal request: no submit waits for the planner twice.

The first plan of a workflow, model and limits is made on a worker thread; requests that want it
meanwhile wait for the same one. An old plan goes on serving while its successor is made.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gangline.ir.program import Program
from gangline.ir.specs.plan import Plan
from gangline.runtime.clock import Clock
from gangline.runtime.session import Session

from .settings import Settings

if TYPE_CHECKING:
    from gangline.planner.calibration import Calibration

logger = logging.getLogger(__name__)

Key = tuple[str, float | None, float | None]


@dataclass(frozen=True, slots=True)
class Planned:
    """A program with the plan its jobs run by; None where the session makes no plans."""

    program: Program
    program_hash: str
    plan: Plan | None


@dataclass(slots=True)
class _Kept:
    planned: Planned
    made_s: float


class Plans:
    """Make plans, and keep those used last."""

    def __init__(self, session: Session, settings: Settings, clock: Clock) -> None:
        self._session = session
        self._settings = settings
        self._clock = clock
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._making: dict[Key, asyncio.Future[Planned]] = {}
        self._hashes: dict[int, tuple[Program, str]] = {}

    def known(
        self, program: Program, deadline_s: float | None, budget_usd: float | None
    ) -> Planned | None:
        """Give the plan if it is there; an old one is made anew behind the scenes."""
        key = self._key(program, deadline_s, budget_usd)
        kept = self._kept.get(key)
        if kept is None:
            if self._session.fleet is None:
                return Planned(program, key[0], None)
            return None
        if self._clock.now() - kept.made_s > self._settings.plan_ttl_s:
            self._make(program, key)
        self._kept.move_to_end(key)
        return kept.planned

    async def get(
        self, program: Program, deadline_s: float | None, budget_usd: float | None
    ) -> Planned:
        """Give the plan, made now if need be; PlanError if no placement can be made."""
        found = self.known(program, deadline_s, budget_usd)
        if found is not None:
            return found
        return await asyncio.shield(self._make(program, self._key(program, deadline_s, budget_usd)))

    async def percentiles(self, planned: Planned) -> Mapping[str, float] | None:
        """Predict the median and the 95th percentile of the latency of such jobs, in seconds."""
        if planned.plan is None:
            return None
        return await asyncio.to_thread(self._percentiles, planned)

    async def calibration(self) -> Calibration | None:
        """Give what is known of the cost model's errors; None where nothing is learned."""
        history = self._session.history
        return None if history is None else await asyncio.to_thread(history.calibration)

    def _make(self, program: Program, key: Key) -> asyncio.Future[Planned]:
        making = self._making.get(key)
        if making is None:
            making = asyncio.ensure_future(self._made(program, key))
            self._making[key] = making
            making.add_done_callback(lambda done: self._finished(key, done))
        return making

    async def _made(self, program: Program, key: Key) -> Planned:
        plan = await asyncio.to_thread(self._session.plan, program, key[1], key[2])
        planned = Planned(program, key[0], plan)
        self._kept[key] = _Kept(planned, self._clock.now())
        while len(self._kept) > self._settings.plans_kept:
            self._kept.popitem(last=False)
        return planned

    def _finished(self, key: Key, done: asyncio.Future[Planned]) -> None:
        self._making.pop(key, None)
        if not done.cancelled() and done.exception() is not None and key in self._kept:
            logger.warning("a plan could not be renewed: %s", done.exception())

    def _key(self, program: Program, deadline_s: float | None, budget_usd: float | None) -> Key:
        return (self._hash(program), _rounded(deadline_s), _rounded(budget_usd))

    def _hash(self, program: Program) -> str:
        """Give the program's hash, computed once: it is one over its whole text."""
        found = self._hashes.get(id(program))
        if found is None or found[0] is not program:
            if len(self._hashes) > 1024:
                self._hashes.clear()
            found = self._hashes[id(program)] = (program, program.hash)
        return found[1]

    def _percentiles(self, planned: Planned) -> Mapping[str, float] | None:
        from gangline.planner.percentiles import predict_latencies
        from gangline.planner.situation import assignment_of, situation_of
        from gangline.runtime.machine.models import catalogue
        from gangline.runtime.profiles import profile_for

        plan, fleet, history = planned.plan, self._session.fleet, self._session.history
        if plan is None or fleet is None:
            return None
        situation = situation_of(
            planned.program,
            profile_for(planned.program) if history is not None else None,
            fleet,
            catalogue(),
            False,
            max_tp=1,
            calibration=history.calibration() if history is not None else None,
        )
        found = predict_latencies(situation, assignment_of(situation, plan))
        seconds = {"p50_s": found.percentile(50.0), "p95_s": found.percentile(95.0)}
        return {name: value for name, value in seconds.items() if math.isfinite(value)}


def _rounded(limit: float | None) -> float | None:
    """Cut a limit to two digits, so that callers with a limit each share plans; never upwards."""
    if limit is None or limit <= 0.0 or not math.isfinite(limit):
        return limit
    unit = 10.0 ** (math.floor(math.log10(limit)) - 1)
    return math.floor(limit / unit + 1e-9) * unit
