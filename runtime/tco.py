"""Which fleet to rent or keep: the optimiser proposes, the simulator judges, a document is written.

A proposal that the simulator finds too slow is proposed again for a shorter time, in proportion
to what it missed by; one it finds faster than it needs to be, for a longer one. The pools are
priced once for all rounds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from gangline.ir.errors import ConfigError, InfeasibleError
from gangline.ir.program import Program
from gangline.ir.specs.fleet import SECONDS_PER_HOUR
from gangline.ir.specs.model import ModelSpec
from gangline.planner.catalogue import CatalogueRow
from gangline.planner.costs.shape import ModelShape, find_shape
from gangline.planner.costs.step import weight_format
from gangline.planner.draws import walk_models
from gangline.planner.profile import Profile
from gangline.planner.tco.age import aged
from gangline.planner.tco.answer import Answer, FleetCost, Slo
from gangline.planner.tco.demand import demand_of
from gangline.planner.tco.document import (
    DOUBTFUL,
    Background,
    Judgement,
    Simulated,
    Trial,
    document_of,
)
from gangline.planner.tco.financing import Financing, Own, Rent
from gangline.planner.tco.fronts import energy_front, latency_front
from gangline.planner.tco.infeasible import (
    binding_part,
    quickest,
    serving_device,
    usd_per_hour_per_ms,
)
from gangline.planner.tco.market import Market
from gangline.planner.tco.options import SearchSpace
from gangline.planner.tco.plan import Choice, answer_of, choose, propose_fleet
from gangline.planner.tco.price_feed import PriceFeed
from gangline.planner.tco.quotes import (
    PriceNote,
    financing_markets,
    limited,
    quoted_market,
    spread_markets,
)
from gangline.planner.tco.search import PlanOptions, Search, make_search
from gangline.planner.tco.what_if import Added, changed_market

from .simulation.sized_fleet import simulate_fleet

MAX_ROUNDS = 4
TIGHTER = 0.98
"""What a proposal is asked to stay within, of the time that measurements say it may take."""

ROOM = 0.85
"""A fleet whose percentile is below this share of the SLO may have been sized too generously."""

NUM_THREADS = 2
"""The parts of the report are a few; more threads would wait for the longest of them."""

AGE_DISCOUNT = 0.15
"""Share a year that prices of older generations fall by, in the sensitivity table: a guess that
stands for resale markets, stated with the row."""


@dataclass(frozen=True, slots=True)
class TcoRequest:
    """What is asked for.

    Attributes:
        rows: device types to choose from.
        feed: prices that stand before those of the rows.
        stock: most devices of a type that can be had.
        age_discount: share a year that prices of older generations fall by.
        detail: also give runners-up, break-even prices, sensitivity and fronts.
        usd_weight, usd_per_kwh: the objective is usd_weight USD/h + usd_per_kwh x kW.
    """

    jobs_per_s: float
    slo: Slo
    rows: Mapping[str, CatalogueRow]
    financing: Financing = field(default_factory=Rent)
    feed: PriceFeed | None = None
    region: str = ""
    dtypes: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    added: tuple[Added, ...] = ()
    stock: Mapping[str, int] = field(default_factory=dict)
    age_discount: float = 0.0
    max_usd_per_hour: float = math.inf
    max_watts: float = math.inf
    usd_weight: float = 1.0
    usd_per_kwh: float = 0.0
    simulate: bool = True
    detail: bool = True
    seed: int = 0
    num_jobs: int | None = None


Tell = Callable[[str], None]


def _silent(text: str) -> None:
    """Tell nobody."""


def plan_tco(
    program: Program,
    profile: Profile | None,
    request: TcoRequest,
    models: Mapping[str, ModelSpec],
    tell: Tell = _silent,
) -> dict[str, Any]:
    """Choose a fleet and give the whole answer as a document (docs/schemas/tco.json).

    Args:
        models: rows of the registry, for models whose shape the planner does not know.
        tell: is told of progress, in sentences; the first answer as soon as it is known.

    Raises:
        InfeasibleError: no fleet keeps the SLO, the stock, the budget or the power.
        ConfigError: a model, a device type or a price that cannot be planned with.
    """
    return _Planning(program, profile, request, models, tell).run()


@dataclass(slots=True)
class _Planning:
    program: Program
    profile: Profile | None
    request: TcoRequest
    models: Mapping[str, ModelSpec]
    tell: Tell
    begun_s: float = field(default_factory=time.monotonic)

    def run(self) -> dict[str, Any]:
        request = self.request
        plain, notes = quoted_market(request.rows, request.financing, request.feed, request.region)
        market = self._changed(aged(plain, request.age_discount))
        search = self._search(market)
        judgement = self._judge(search, market)
        judged = replace(search, slo=replace(search.slo, seconds=judgement.asked_s))
        answer, fronts, unchanged = self._detail(judged, market, plain, notes, judgement)
        background = Background(
            request.rows,
            notes,
            request.financing,
            plain,
            fronts=fronts,
            what_if=self._what_if(answer, unchanged),
        )
        answer = replace(answer, slo=request.slo)
        return document_of(answer, judged, market, judgement, background)

    def _detail(
        self,
        search: Search,
        market: Market,
        plain: Market,
        notes: Mapping[str, PriceNote],
        judgement: Judgement,
    ) -> tuple[Answer, dict[str, tuple[FleetCost, ...]], FleetCost | None]:
        """Give the answer, the fleets around it, and the fleet without the changes asked for."""
        choice, best = judgement.choice, judgement.choice.best
        if not self.request.detail:
            answer = answer_of(search, market, choice, detail=False)
            return answer, {"latency": (), "energy": ()}, self._unchanged(search, plain)
        self.tell("break-even prices and sensitivity")
        variations = self._variations(plain, notes)
        # The solver lets go of the interpreter, so two threads use two cores.
        # Each thread keeps what it solved to itself: the answer depends on no thread's pace.
        with _Workers(NUM_THREADS) as workers:
            begun = workers.begin(
                lambda: latency_front(search.anew(), market, best),
                lambda: energy_front(search.anew(), market, best),
                lambda: self._unchanged(search.anew(), plain),
            )
            answer = answer_of(search, market, choice, variations=variations)
            latency, energy, unchanged = (part.result() for part in begun)
        return answer, {"latency": latency, "energy": energy}, unchanged

    def _changed(self, market: Market) -> Market:
        request = self.request
        return changed_market(limited(market, request.stock), request.without, request.added)

    def _search(self, market: Market) -> Search:
        request = self.request
        demand = demand_of(self.program, self.profile, request.jobs_per_s)
        dtypes = tuple(weight_format(dtype) for dtype in request.dtypes)
        space = replace(SearchSpace(), dtypes=dtypes) if dtypes else SearchSpace()
        options = PlanOptions(
            space=space,
            shapes=self._shapes(),
            max_usd_per_hour=request.max_usd_per_hour,
            max_watts=request.max_watts,
            usd_weight=request.usd_weight,
            usd_per_kwh=request.usd_per_kwh,
            seed=request.seed,
        )
        return make_search(demand, request.slo, market, options)

    def _shapes(self) -> dict[str, ModelShape]:
        """Shapes of the registry's models that the planner's own table lacks."""
        found = {}
        for name in walk_models(self.program):
            if name in self.models:
                try:
                    find_shape(name)
                except ConfigError:
                    found[name] = ModelShape.from_model_spec(self.models[name])
        return found

    def _judge(self, search: Search, market: Market) -> Judgement:
        """Propose and simulate until the percentile is kept, and no cheaper fleet would keep it."""
        asked, kept = search.slo.seconds, None
        trials: list[Trial] = []
        for number in range(1, MAX_ROUNDS + 1):
            narrowed = replace(search, slo=replace(search.slo, seconds=asked))
            try:
                best = propose_fleet(narrowed, market)
            except InfeasibleError:
                if not trials:
                    raise
                break
            cost = search.cost(best, market)
            if number == 1:
                self._tell_first(cost)
            elif cost.in_words() in {trial.fleet for trial in trials}:  # simulated already
                if kept is not None:
                    break
                asked = TIGHTER * min(asked, cost.reached_s)
                continue
            choice = choose(narrowed, market, best)
            found = self._trial(search, market, choice, asked, number)
            trials.append(found.trial)
            if found.trial.kept and (kept is None or _usd(found) < _usd(kept)):
                kept = found
            following = self._next(search, market, found, kept)
            if following is None:
                break
            asked = following
        if kept is None:
            raise self._misses(search, market, trials)
        return replace(kept, trials=tuple(trials))

    def _trial(
        self, search: Search, market: Market, choice: Choice, asked: float, number: int
    ) -> Judgement:
        """Simulate a choice, unless that is not asked for."""
        cost = search.cost(choice.best, market)
        said = (number, cost.in_words(), cost.usd_per_hour, cost.reached_s)
        if not self.request.simulate:
            return Judgement(choice, asked, None, Trial(*said, None, True))
        self.tell(f"simulating {cost.in_words()}")
        found = simulate_fleet(
            self.program,
            self.profile,
            search,
            market,
            choice.best,
            seed=self.request.seed,
            num_jobs=self.request.num_jobs,
        )
        verdict = found.verdict
        simulated = Simulated(
            verdict.num_jobs,
            verdict.rate,
            verdict.seed,
            found.share,
            verdict.mean_s,
            verdict.latencies_s,
            found.busy,
        )
        reached = simulated.quantile(search.slo.percentile)
        trial = Trial(*said, reached, reached <= search.slo.seconds)
        return Judgement(choice, asked, simulated, trial)

    def _next(
        self,
        search: Search,
        market: Market,
        found: Judgement,
        kept: Judgement | None,
    ) -> float | None:
        """Give the time to propose for next; None when nothing is left to learn."""
        reached, limit, asked = found.trial.simulated_s, search.slo.seconds, found.asked_s
        if reached is None or math.isinf(limit):
            return None
        if not found.trial.kept:
            # What was kept before stands: a longer time was tried and failed.
            return None if kept is not None else asked * TIGHTER * limit / reached
        if asked < limit or reached > ROOM * limit or not _binds(search, market, found):
            return None
        return asked * min(TIGHTER * limit / reached, 1.5)

    def _misses(self, search: Search, market: Market, trials: list[Trial]) -> InfeasibleError:
        """Every proposal was too slow in simulation, though one was predicted in time."""
        best = min(trials, key=lambda trial: trial.simulated_s or math.inf)
        reached, percent = best.simulated_s or math.inf, 100.0 * search.slo.percentile
        nearest = math.ceil(reached * 1000.0 * 1.001) / 1000.0
        stage = binding_part(search, search.model(market, math.inf))
        fastest = quickest(search, market)
        saved, device = 0.0, ""
        if fastest is not None:
            saved = usd_per_hour_per_ms(search, market, fastest.budget_s)
            device = serving_device(search, fastest, stage)
        return InfeasibleError(
            f"No fleet keeps p{percent:g} <= {search.slo.seconds:g} s in simulation: the best of "
            f"{len(trials)} proposals reaches {reached:.3f} s for {best.usd_per_hour:.2f} USD an "
            f"hour, and {stage} takes most of it",
            where=f"stage {stage}",
            next_step=f"Ask for p{percent:g} <= {nearest:g} s or more (from there each further "
            f"millisecond saves about {saved:.3g} USD an hour), or add a faster device type.",
            advice={
                "binding_stage": stage,
                "device": device,
                "nearest_slo_s": nearest,
                "percent": percent,
                "usd_per_ms": saved / (SECONDS_PER_HOUR * search.demand.jobs_per_s),
                "usd_per_hour_per_ms": saved,
                "usd_per_hour": best.usd_per_hour,
            },
        )

    def _tell_first(self, cost: FleetCost) -> None:
        seconds = time.monotonic() - self.begun_s
        self.tell(
            f"first answer after {seconds:.1f} s: {cost.in_words()}, "
            f"{cost.usd_per_hour:.2f} USD an hour, p95 {cost.p95_s:.2f} s estimated"
        )

    def _variations(self, plain: Market, notes: Mapping[str, PriceNote]) -> dict[str, Market]:
        """Markets of the sensitivity table, with the same devices removed, added and limited."""
        request = self.request
        found = dict(spread_markets(plain, notes))
        doubtful = [name for name, note in notes.items() if note.confidence == "low"]
        gpus = [name for name in doubtful if plain.devices[name].kind == "gpu"]
        if gpus:
            found[DOUBTFUL] = plain.without(gpus)
        if not request.age_discount:
            found[f"older generations {100 * AGE_DISCOUNT:g} % a year cheaper"] = aged(
                plain, AGE_DISCOUNT
            )
        found |= self._own_variations(request.financing)
        found |= financing_markets(request.rows, request.financing)
        return {name: self._changed(market) for name, market in found.items()}

    def _own_variations(self, financing: Financing) -> dict[str, Market]:
        if not isinstance(financing, Own):
            return {}
        request, found = self.request, {}
        forms = {
            "energy price +50 %": replace(financing, usd_per_kwh=1.5 * financing.usd_per_kwh),
            "energy price -50 %": replace(financing, usd_per_kwh=0.5 * financing.usd_per_kwh),
            "half of the hours used": replace(financing, utilisation=0.5 * financing.utilisation),
        }
        for name, form in forms.items():
            market, _ = quoted_market(request.rows, form, request.feed, request.region)
            found[name] = aged(market, request.age_discount)
        return found

    def _unchanged(self, search: Search, plain: Market) -> FleetCost | None:
        """Plan without the changes that were asked for; None if there are none, or no fleet."""
        request = self.request
        if not request.without and not request.added:
            return None
        market = limited(aged(plain, request.age_discount), request.stock)
        found = search.best(market)
        return None if found is None else search.cost(found, market, "unchanged")

    def _what_if(self, answer: Answer, unchanged: FleetCost | None) -> list[dict[str, Any]]:
        """Compare the answer with what it would be without the changes that were asked for."""
        request, now = self.request, answer.best.usd_per_hour
        changes = [f"without {name}" for name in request.without]
        changes += [f"add {row.device}={row.count}@{row.usd_per_hour:g}" for row in request.added]
        if not changes:
            return []
        return [
            {
                "changes": changes,
                "usd_per_hour": now,
                "unchanged": None if unchanged is None else asdict(unchanged),
                "usd_per_hour_saved": None if unchanged is None else unchanged.usd_per_hour - now,
            }
        ]


class _Workers:
    """A few threads; when something fails, what has not begun is dropped."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._pool.shutdown(wait=kind is None, cancel_futures=kind is not None)

    def begin(self, *parts: Callable[[], Any]) -> list[Future[Any]]:
        """Begin some functions."""
        return [self._pool.submit(part) for part in parts]


def _usd(found: Judgement) -> float:
    return float(found.choice.best.sizing.objective)


def _binds(search: Search, market: Market, found: Judgement) -> bool:
    """Tell whether the deadline costs anything: without one a fleet would be cheaper."""
    free = search.solve(market, math.inf)
    near = 1.0 + 2.0 * search.options.max_gap
    return free is not None and _usd(found) > free.sizing.objective * near
