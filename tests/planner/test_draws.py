"""Drawn jobs follow the profile: how often stages run, how long tools take, in what order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gangline.ir.program import Program
from gangline.planner.draws import (
    DrawnStep,
    continuation,
    draw_amount,
    draw_jobs,
    draw_s,
    draw_tokens,
)
from gangline.planner.profile import Amount, Profile, Sample, StageProfile
from gangline.planner.workload import complete


def ended(job: tuple[DrawnStep, ...]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for step in job:
        counts[step.stage] = counts.get(step.stage, 0) + 1
    return counts


def test_visits_are_those_of_the_profile_on_average(question: Program) -> None:
    jobs = [ended(job) for job in draw_jobs(question, None, 2000, seed=1)]
    wanted = complete(question, None).stages
    for name in ("draft.decode", "execute", "repair.decode"):
        mean = np.mean([job.get(name, 0) for job in jobs])
        assert mean == pytest.approx(wanted[name].visits, rel=0.06), name
    assert {job.get("repair.decode", 0) for job in jobs} == {0, 1, 2, 3}


def test_a_step_comes_after_what_it_reads(question: Program) -> None:
    for job in draw_jobs(question, None, 50, seed=2):
        for index, step in enumerate(job):
            assert all(parent < index for parent in step.parents)
            if step.op == "decode":
                assert job[step.parents[0]].op == "prefill"
                assert step.prompt == job[step.parents[0]].prompt
        execute = next(step for step in job if step.stage == "execute")
        drafts = {job[parent].stage for parent in execute.parents}
        assert drafts == {"draft.detokenize"} and len(execute.parents) == 3


def test_the_second_repair_waits_for_the_first(question: Program) -> None:
    job = next(
        j for j in draw_jobs(question, None, 50, seed=3) if ended(j).get("repair.decode", 0) > 1
    )
    first, second = [i for i, step in enumerate(job) if step.stage == "repair.tokenize"][:2]
    reached, front = set(), [second]
    while front:
        at = front.pop()
        reached.add(at)
        front += [parent for parent in job[at].parents if parent not in reached]
    assert first in reached


def test_the_seed_decides_everything(question: Program) -> None:
    assert draw_jobs(question, None, 5, seed=7) == draw_jobs(question, None, 5, seed=7)
    assert draw_jobs(question, None, 5, seed=7) != draw_jobs(question, None, 5, seed=8)


@pytest.mark.parametrize(("mean", "most"), [(0.3, 1), (0.5, 2), (1.5, 3), (2.9, 3), (4.0, 64)])
def test_trips_have_the_mean_asked_for(mean: float, most: int) -> None:
    again = continuation(mean, most)
    assert sum(again**trip for trip in range(1, most + 1)) == pytest.approx(mean, rel=1e-6)


def test_trips_that_cannot_be() -> None:
    assert (continuation(0.0, 3), continuation(5.0, 3), continuation(1.0, 0)) == (0.0, 1.0, 0.0)


def test_amounts_keep_their_mean_and_their_interval() -> None:
    rng = np.random.default_rng(0)
    amount = Amount(0.4, 0.1, 0.9)
    drawn = np.array([draw_amount(amount, rng) for _ in range(20000)])
    assert drawn.mean() == pytest.approx(0.4, rel=0.03)
    low, high = np.quantile(drawn, (0.05, 0.95))
    assert high / low == pytest.approx(9.0, rel=0.1)


def test_measured_tools_keep_a_tail_beyond_the_slowest_sample() -> None:
    rng = np.random.default_rng(1)
    seconds = np.exp(rng.normal(size=40))
    work = StageProfile("tool", samples=tuple(Sample("cpu", float(s)) for s in seconds))
    drawn = np.array([draw_s(work, rng) for _ in range(5000)])
    assert np.median(drawn) == pytest.approx(np.median(seconds), rel=0.15)
    assert seconds.max() < drawn.max() < 20 * seconds.max()


def test_long_prompts_keep_their_long_answers() -> None:
    samples = (Sample("cpu", 1.0, 100, 0, 10), Sample("cpu", 1.0, 4000, 50, 900))
    rng = np.random.default_rng(2)
    drawn = {draw_tokens(StageProfile("decode", samples=samples), rng) for _ in range(50)}
    assert drawn == set(samples)


def test_an_impossible_branch_is_never_drawn(question: Program) -> None:
    profile = Profile(factors={"repairs": 0.0, "drafts": 5.0})
    for job in draw_jobs(question, replace(profile), 20, seed=4):
        assert ended(job)["draft.decode"] == 5
        assert "repair.decode" not in ended(job)
