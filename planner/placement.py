"""Choose a device for every class of stages: least dollars within a deadline.

Classes, not stages, are placed: a program that calls one model in ten places has one class for
it. Small problems (all that a written workflow gives) are solved exactly by branch and bound;
larger ones by upgrading the critical path greedily and then giving back what was not needed, and
by jumps of many classes at once where single changes of the time nearly add up.

The time of an assignment is asked for as a whole, because stages on one device wait for each
other; `optimiser/place.py` places graphs whose nodes do not, with a proof.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

EXACT_LIMIT = 5_000
"""Assignments up to which the search is exact; one evaluation takes some 100 µs."""

JUMPS = 6
"""Rounds of the search by jumps at most; each times every single move once."""

Assignment = tuple[int, ...]
"""Device index by class index."""


@dataclass(frozen=True, slots=True)
class PlacementProblem:
    """What there is to place.

    Attributes:
        usd: expected dollars per job by class and device; infinite where the class cannot run.
        seconds: end-to-end seconds of a job under an assignment.
        fits: whether an assignment respects memory and links.
        deadline_s: upper bound for `seconds`; infinite for none.
    """

    usd: Sequence[Sequence[float]]
    seconds: Callable[[Assignment], float]
    fits: Callable[[Assignment], bool]
    deadline_s: float = math.inf

    @property
    def num_assignments(self) -> int:
        """How many assignments there are in all: the size of an exhaustive search."""
        return math.prod(len(self._options(index)) for index in range(len(self.usd)))

    def cost(self, assignment: Assignment) -> float:
        """Give the expected dollars of one job."""
        return sum(row[device] for row, device in zip(self.usd, assignment, strict=True))

    def _options(self, index: int) -> list[int]:
        """Give the devices a class can run on, cheapest first; ties keep the fleet's order."""
        row = self.usd[index]
        usable = [device for device, usd in enumerate(row) if math.isfinite(usd)]
        return sorted(usable, key=lambda device: row[device])

    def options(self) -> list[list[int]]:
        """Give `_options` of all classes."""
        return [self._options(index) for index in range(len(self.usd))]


@dataclass(frozen=True, slots=True)
class Solution:
    """An assignment with its cost and time; `proven` when nothing cheaper exists."""

    assignment: Assignment
    usd: float
    seconds: float
    proven: bool


def cheapest(problem: PlacementProblem) -> Solution | None:
    """Find the cheapest assignment within the deadline, the faster one of equals; None if none."""
    if problem.num_assignments <= EXACT_LIMIT:
        return _branch_and_bound(problem)
    found = [_greedy(problem), _by_jumps(problem)]
    return min((one for one in found if one is not None), key=_by_cost, default=None)


def fastest(problem: PlacementProblem) -> Solution | None:
    """Find the fastest assignment whatever the deadline, the cheaper one of equals."""
    if problem.num_assignments > EXACT_LIMIT:
        return _descend(problem, _first_fit(problem), _by_time)
    return min(_all(problem), key=_by_time, default=None)


def fastest_within(problem: PlacementProblem, budget_usd: float) -> Solution | None:
    """Find the fastest assignment that costs no more than a budget (small problems only)."""
    if problem.num_assignments > EXACT_LIMIT:
        return None
    affordable = (found for found in _all(problem) if found.usd <= budget_usd)
    return min(affordable, key=_by_time, default=None)


def _by_time(solution: Solution) -> tuple[float, float, Assignment]:
    return (solution.seconds, solution.usd, solution.assignment)


def _by_cost(solution: Solution) -> tuple[float, float, Assignment]:
    return (solution.usd, solution.seconds, solution.assignment)


def _solution(problem: PlacementProblem, assignment: Assignment, proven: bool) -> Solution:
    return Solution(assignment, problem.cost(assignment), problem.seconds(assignment), proven)


def _assignments(options: Sequence[Sequence[int]]) -> Iterator[Assignment]:
    if not options:
        yield ()
        return
    for rest in _assignments(options[:-1]):
        for device in options[-1]:
            yield (*rest, device)


def _all(problem: PlacementProblem) -> Iterator[Solution]:
    for assignment in _assignments(problem.options()):
        if problem.fits(assignment):
            yield _solution(problem, assignment, True)


def _branch_and_bound(problem: PlacementProblem) -> Solution | None:
    options = problem.options()
    if not all(options):
        return None
    least = [problem.usd[index][devices[0]] for index, devices in enumerate(options)]
    # floors[k]: the least that classes k, k+1, ... can add to a partial assignment of k classes.
    floors = [sum(least[index:]) for index in range(len(least) + 1)]
    best: Solution | None = None
    stack: list[tuple[Assignment, float]] = [((), 0.0)]
    # Invariant: every assignment cheaper than `best` that meets the deadline extends a partial
    # assignment on the stack. The tolerance keeps equals, of which the faster one wins.
    while stack:
        partial, usd = stack.pop()
        depth = len(partial)
        if best is not None and usd + floors[depth] > best.usd * (1.0 + 1e-12) + 1e-18:
            continue
        if depth == len(options):
            best = _better(problem, partial, best)
            continue
        stack.extend(
            ((*partial, device), usd + problem.usd[depth][device])
            for device in reversed(options[depth])
        )
    return best


def _better(
    problem: PlacementProblem, assignment: Assignment, best: Solution | None
) -> Solution | None:
    if not problem.fits(assignment):
        return best
    found = _solution(problem, assignment, True)
    if found.seconds > problem.deadline_s:
        return best
    return found if best is None else min(best, found, key=_by_cost)


def _greedy(problem: PlacementProblem) -> Solution | None:
    """Start from the cheapest fit, buy time where it is cheapest, then give back."""
    found = _first_fit(problem)
    # Invariant: each round is strictly faster, so the loop ends.
    while found is not None and found.seconds > problem.deadline_s:
        upgrades = [move for move in _moves(problem, found) if move.seconds < found.seconds]
        if not upgrades:
            return None
        start = found
        found = max(upgrades, key=lambda move: _gain_per_usd(start, move))
    return _descend(problem, found, _by_cost)


def _by_jumps(problem: PlacementProblem) -> Solution | None:
    """Move all classes at once as if single changes of the time added up, then correct for it."""
    from .optimiser.additive import cheapest_sum  # deferred: small problems need no numpy

    start, best = _first_fit(problem), None
    short_s = 0.0
    # Invariant: `best` is in time and fits; every round goes on from what the last one found.
    for _ in range(JUMPS):
        if start is None:
            break
        # The deadline, less what the last jump took longer than its changes added up to.
        room_s = problem.deadline_s - start.seconds - short_s
        chosen = cheapest_sum(problem.usd, _changes(problem, start), room_s)
        if chosen is None or not problem.fits(chosen):
            break
        found = _solution(problem, chosen, False)
        if found.seconds <= problem.deadline_s:
            if best is not None and found.usd >= best.usd:
                break
            best = found
        short_s = max(0.0, found.seconds - problem.deadline_s)
        start = found
    return None if best is None else _descend(problem, best, _by_cost)


def _changes(problem: PlacementProblem, start: Solution) -> list[list[float]]:
    """Give the seconds that moving each class alone adds, by class and device."""

    def seconds(index: int, device: int) -> float:
        moved = (*start.assignment[:index], device, *start.assignment[index + 1 :])
        return problem.seconds(moved) - start.seconds

    return [
        [seconds(index, device) if math.isfinite(usd) else 0.0 for device, usd in enumerate(row)]
        for index, row in enumerate(problem.usd)
    ]


def _gain_per_usd(start: Solution, move: Solution) -> float:
    paid = move.usd - start.usd
    gained = start.seconds - move.seconds
    return gained / paid if paid > 0.0 else math.inf


def _first_fit(problem: PlacementProblem) -> Solution | None:
    options = problem.options()
    if not all(options):
        return None
    cheapest_each = tuple(devices[0] for devices in options)
    if problem.fits(cheapest_each):
        return _solution(problem, cheapest_each, False)
    # Everything on one device needs no link; the first that holds it all is a start.
    for device in range(len(problem.usd[0])):
        together = tuple(device if device in devices else devices[0] for devices in options)
        if problem.fits(together):
            return _solution(problem, together, False)
    return None


def _moves(problem: PlacementProblem, start: Solution) -> Iterator[Solution]:
    """Yield what differs from `start` in the devices of one class, or of all on one device."""
    options = problem.options()
    for index, devices in enumerate(options):
        for device in devices:
            moved = (*start.assignment[:index], device, *start.assignment[index + 1 :])
            yield from _if_fits(problem, start, moved)
    for source in sorted(set(start.assignment)):
        for target in range(len(problem.usd[0])):
            together = tuple(
                target if device == source and target in options[index] else device
                for index, device in enumerate(start.assignment)
            )
            yield from _if_fits(problem, start, together)


def _if_fits(
    problem: PlacementProblem, start: Solution, assignment: Assignment
) -> Iterator[Solution]:
    if assignment != start.assignment and problem.fits(assignment):
        yield _solution(problem, assignment, False)


def _descend(
    problem: PlacementProblem,
    start: Solution | None,
    key: Callable[[Solution], tuple[float, float, Assignment]],
) -> Solution | None:
    """Improve by single moves until none helps; by cost, the deadline is kept."""
    deadline_s = problem.deadline_s if key is _by_cost else math.inf
    best = start
    while best is not None:
        allowed = [move for move in _moves(problem, best) if move.seconds <= deadline_s]
        found = min(allowed, key=key, default=best)
        if key(found) >= key(best):
            return best
        best = found
    return None
