"""Expected work of a program: how often each stage runs, and on what.

A map multiplies visits by its width, a loop by its expected trips, a branch by the probability
of the side taken. Defaults come from the program text alone; history replaces them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from gangline.ir.program import STEP_OPS, Program, Stage
from gangline.ir.visits import Visit, region_factors, visits

from .profile import PRIOR_JOBS, Amount, Profile, StageProfile

CHARS_PER_TOKEN = 3.5
"""English prose has about 4 characters per token, SQL and code about 3."""

DEFAULT_FIELD_TOKENS = 150.0
"""Tokens a template field is taken to hold when nothing was measured."""

DEFAULT_OUTPUT_SHARE = 0.4
"""Share of `max_tokens` an answer is expected to use: authors leave room."""

DEFAULT_MAX_TOKENS = 256
DEFAULT_MAP_WIDTH = 3.0
DEFAULT_TRIP_SHARE = 0.5
DEFAULT_BRANCH_PROBABILITY = 0.5
DEFAULT_TOOL_S = 0.05
DEFAULT_TIMEOUT_S = 30.0

MEMORY_S: Mapping[str, float] = {"lookup": 0.005, "store": 0.005, "observe": 0.005}
"""Measured on one disk: a lookup in a thousand entries, and a commit; the first job tells more."""

TEXT_FIXED_S, TEXT_S_PER_TOKEN = 5e-4, 2e-6
"""Tokenising: a template to fill, then about half a million tokens per second and core."""


def default_profile(program: Program) -> Profile:
    """Make a profile from the program alone."""
    producers = program.producers()
    factors = {stage.name: _factor(stage, producers) for stage in program.walk() if stage.regions}
    shared = _shared_in_maps(program)
    stages = {
        visit.stage.name: _declared(visit, producers, visit.stage.id in shared)
        for visit in visits(program, factors)
        if visit.stage.op in STEP_OPS
    }
    return Profile(stages, factors)


def _factor(stage: Stage, producers: Mapping[int, Stage]) -> float:
    if stage.op == "map":
        return _width(stage, producers)
    if stage.op == "loop":
        trips = float(stage.attributes.get("max_trips", 1))
        return max(1.0, DEFAULT_TRIP_SHARE * trips) if trips > 1 else DEFAULT_TRIP_SHARE * trips
    if stage.op == "branch":
        # Of a switch's arms each is expected equally often.
        arms = stage.attributes.get("arms")
        return 1.0 / arms if arms else DEFAULT_BRANCH_PROBABILITY
    return 1.0


def _width(stage: Stage, producers: Mapping[int, Stage]) -> float:
    """Items of a map: exact for constant lists and ranges, a guess otherwise."""
    source = producers.get(stage.operands[0]) if stage.operands else None
    if source is None:
        return DEFAULT_MAP_WIDTH
    if source.op == "constant" and isinstance(source.attributes.get("value"), list | tuple):
        return float(len(source.attributes["value"]))
    if source.op == "compute" and source.attributes.get("fn") == "list":
        return float(len(source.operands))
    if source.op == "compute" and source.attributes.get("fn") == "range":
        bound = producers.get(source.operands[0])
        if bound is not None and isinstance(bound.attributes.get("value"), int):
            return float(bound.attributes["value"])
    return DEFAULT_MAP_WIDTH


def _shared_in_maps(program: Program) -> frozenset[int]:
    """Find the stages inside a map that read nothing of the item: all items compute the same."""
    found: set[int] = set()
    for stage in program.walk():
        if stage.op == "map":
            found.update(_independent(program, stage.regions[0]))
    return frozenset(found)


def _independent(program: Program, region: int) -> Iterator[int]:
    body = program.regions[region]
    tainted = set(body.arguments)
    for index in body.stages:
        stage = program.stages[index]
        # Invariant: `tainted` holds every value of this region that depends on the item.
        if stage.regions or tainted.intersection(stage.operands):
            tainted.update(stage.results)
        else:
            yield stage.id


def _declared(visit: Visit, producers: Mapping[int, Stage], shared: bool) -> StageProfile:
    stage = visit.stage
    prompt = _prompt_tokens(stage, producers)
    # Items that compute one prompt compute it once; the others find it in the prefix cache.
    cached = prompt.mean * (visit.width - 1.0) / visit.width if shared and visit.width > 1 else 0.0
    if stage.op == "prefill" and len(stage.operands) > 1:
        begun = producers.get(stage.operands[1])
        held = _prompt_tokens(begun, producers).mean if begun is not None else 0.0
        cached = max(cached, min(held, prompt.mean - 1.0))
    return StageProfile(
        op=stage.op,
        visits=visit.visits,
        prompt_tokens=prompt,
        cached_tokens=Amount.exactly(cached if stage.op == "prefill" else 0.0),
        output_tokens=_output_tokens(stage, producers),
        seconds=_declared_seconds(stage, prompt.mean),
    )


def _origin(stage: Stage, op: str, producers: Mapping[int, Stage]) -> Stage | None:
    """Follow first operands back to the stage of that op (decode -> prefill -> tokenize)."""
    found: Stage | None = stage
    while found is not None and found.op != op:
        found = producers.get(found.operands[0]) if found.operands else None
    return found


def _prompt_tokens(stage: Stage, producers: Mapping[int, Stage]) -> Amount:
    if stage.op == "embed":
        field = DEFAULT_FIELD_TOKENS
        return Amount(field, 0.2 * field, 4.0 * field)
    if stage.op not in ("tokenize", "prefill", "decode"):
        return Amount.exactly(0.0)
    source = _origin(stage, "tokenize", producers)
    if source is None:
        return Amount(DEFAULT_FIELD_TOKENS, 0.2 * DEFAULT_FIELD_TOKENS, 4.0 * DEFAULT_FIELD_TOKENS)
    template = source.attributes.get("template", ())
    text = sum(len(str(message.get("text", ""))) for message in template) / CHARS_PER_TOKEN
    fields = DEFAULT_FIELD_TOKENS * sum(1 for name in _names(source) if name != "prefix")
    return Amount(text + fields, text + 0.2 * fields, text + 4.0 * fields)


def _names(tokenize: Stage) -> Sequence[str]:
    """Give the names of a tokenize stage's operands; what is not named counts as a field."""
    names: Sequence[str] = tokenize.attributes.get("names", ())
    return [*names, *[""] * (len(tokenize.operands) - len(names))]


def _output_tokens(stage: Stage, producers: Mapping[int, Stage]) -> Amount:
    source = _origin(stage, "decode", producers) if stage.op in ("decode", "detokenize") else None
    if source is None:
        return Amount.exactly(0.0)
    most = float(source.attributes.get("max_tokens", DEFAULT_MAX_TOKENS))
    return Amount(max(1.0, DEFAULT_OUTPUT_SHARE * most), max(1.0, 0.05 * most), max(1.0, most))


def _declared_seconds(stage: Stage, tokens: float) -> Amount | None:
    if stage.op in ("tool", "expand"):  # an expansion is priced as one call of a tool
        return _tool_seconds(stage)
    if stage.op in MEMORY_S:
        mean = MEMORY_S[stage.op]
        return Amount(mean, 0.2 * mean, 8.0 * mean)
    if stage.op in ("tokenize", "detokenize"):
        mean = TEXT_FIXED_S + TEXT_S_PER_TOKEN * tokens
        return Amount(mean, 0.3 * mean, 4.0 * mean)
    return None


def _tool_seconds(stage: Stage) -> Amount:
    timeout = float(stage.attributes.get("timeout_s") or DEFAULT_TIMEOUT_S)
    mean = min(DEFAULT_TOOL_S, 0.5 * timeout)
    return Amount(mean, 0.02 * mean, max(mean, min(timeout, 40.0 * mean)))


def complete(program: Program, history: Profile | None = None) -> Profile:
    """Fill a profile up with the program's defaults, so that every step stage has a row.

    Rows of the history stand as they are. Once it rests on jobs, stages it never saw become
    less likely, and the factors of control stages are inferred from the visits inside them.
    """
    base = default_profile(program)
    if history is None:
        return base
    factors = {**base.factors, **history.factors}
    doubt = PRIOR_JOBS / (PRIOR_JOBS + history.num_jobs)
    declared = _recount(program, base, factors)
    unseen = {name: replace(row, visits=row.visits * doubt) for name, row in declared.items()}
    full = replace(history, stages={**unseen, **history.stages}, factors=factors)
    if history.num_jobs == 0:
        return full
    return replace(full, factors={**factors, **_inferred_factors(program, full)})


def _recount(
    program: Program, base: Profile, factors: Mapping[str, float]
) -> dict[str, StageProfile]:
    counted = {visit.stage.name: visit.visits for visit in visits(program, factors)}
    return {name: replace(row, visits=counted[name]) for name, row in base.stages.items()}


def _inferred_factors(program: Program, profile: Profile) -> dict[str, float]:
    found: dict[str, float] = {}
    _infer(program, profile, 0, 1.0, found)
    return found


def _infer(
    program: Program, profile: Profile, region: int, times: float, found: dict[str, float]
) -> None:
    for index in program.regions[region].stages:
        stage = program.stages[index]
        counts = [_region_visits(program, profile, inner) for inner in stage.regions]
        factor = _infer_factor(stage, counts, times)
        if factor is not None:
            found[stage.name] = factor
        known = {**profile.factors, **found}
        for inner, share in zip(stage.regions, region_factors(stage, known), strict=False):
            _infer(program, profile, inner, times * share, found)


def _infer_factor(stage: Stage, counts: list[float | None], times: float) -> float | None:
    """Infer the factor of a control stage from how often the steps inside it ran."""
    if times <= 0.0 or not counts:
        return None
    if stage.op == "branch":
        then, other = counts
        if then is not None and other is not None and then + other > 0.0:
            # Of both, so that a side never seen so far keeps the visits that doubt gives it.
            return then / (then + other)
        if then is not None:
            return min(1.0, then / times)
        return None if other is None else max(0.0, 1.0 - other / times)
    if stage.op not in ("map", "loop") or counts[-1] is None:
        return None
    return counts[-1] / times


def _region_visits(program: Program, profile: Profile, region: int) -> float | None:
    """Visits of a region's own steps (its most visited one), None where it has none.

    The steps of an agent it calls are its own.
    """
    counts: list[float] = []
    for stage in (program.stages[index] for index in program.regions[region].stages):
        if stage.op in STEP_OPS and stage.op != "expand":  # it counts the steps it planned too
            counts.append(profile.stages[stage.name].visits)
        elif stage.op == "call":
            inner = (_region_visits(program, profile, region) for region in stage.regions)
            counts += [count for count in inner if count is not None]
    return max(counts, default=None)
