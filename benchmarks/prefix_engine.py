"""What engines make of shared prefixes: tokens they report as cached, and the seconds of whole jobs.

Virtual time carries the real dispatcher, scheduler and block manager over the real tokens. On the
CPU everything is real but the tools, which give what is known of each question.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import accumulate
from typing import Any

from gangline.backends.engine.encoder import Encoder
from gangline.ir.program import Program
from gangline.planner.costs.shape import find_shape
from gangline.runtime.dispatch.commands import RunTool
from gangline.runtime.dispatch.job import Job as Run
from gangline.runtime.execution.executor import Executor
from gangline.runtime.profiles import shipped_profile
from gangline.runtime.session import with_model
from gangline.workflows.registry import TOOLS
from gangline.workflows.text_to_sql import settings
from gangline.workflows.text_to_sql.attempt import Attempt

from .prefix_cache import counted
from .sql_jobs import OWN, QUESTION_FIRST, Job, compiled, encoded, templates
from .virtual_jobs import DEVICE, Served, Unshared, backend, served, simulated, tokens_of

GPUS = (("L4", settings.MODEL), ("H100-SXM-80", "llama-3.1-8b"))
OUTPUT_TOKENS = 40
"""Of every call in virtual time; the shipped profile has 29 for a draft and 50 for a repair."""
RATES = (0.2, 5.0)
"""Jobs per second: alone, and with others."""
APART_S = 60.0
SMALL = "smollm2-135m"
ANSWER = "start: /[a-z ]{32}/"
"""Grammar of the small model's answers: about as many tokens whatever it was asked."""

Jobs = Mapping[str, Sequence[Job]]
CASES = {
    "question_first, as written": (QUESTION_FIRST, False, True),
    "question_first, compiled": (QUESTION_FIRST, True, True),
    "text_to_sql, compiled": (OWN, True, True),
    "text_to_sql, compiled, no reuse": (OWN, True, False),
}
"""Wording, whether it goes through the passes, and whether requests share a cache."""


def tool_value(name: str, job: Job) -> Any:
    """Give what a tool of text_to_sql returns in a job of a draft and one repair."""
    first = Attempt(sql=job["sql"], ok=True, problem=job["problem"])
    return {
        "check_question": job["question"],
        "show_schema": job["schema"],
        "show_hints": job["hints"],
        "schema_grammar": ANSWER,
        "attempt": asdict_of(first),
        "attempt_repair": asdict_of(first.model_copy(update={"settled": True, "trips": 1})),
    }[name]


def asdict_of(value: Attempt) -> dict[str, Any]:
    """Give JSON of an attempt."""
    return value.model_dump()


def exactness(encoder: Encoder, jobs: Jobs) -> dict[str, Any]:
    """Compare predicted reuse with what an engine reports, job after job and all at once."""
    program = compiled(OWN)
    every = [job for rows in jobs.values() for job in rows]
    found = templates(program)
    predicted = counted([[encoded(encoder, found, job) for job in every]])
    where = served(GPUS[0][0], find_shape(GPUS[0][1]))
    rows: dict[str, Any] = {}
    for name, gap in (("one_after_the_other", APART_S), ("all_at_once", 0.0)):
        times = [gap * at for at in range(len(every))]
        total, cached, _ = _virtual(encoder, program, every, where, times, reuse=True)
        rows[name] = {
            "prompt_tokens": total,
            "cached_tokens_reported": cached,
            "less_than_predicted": predicted.reused - cached,
        }
    return {"predicted": asdict(predicted), "reported": rows}


def virtual_seconds(encoder: Encoder, jobs: Jobs, seed: int) -> dict[str, Any]:
    """Give seconds of jobs that arrive at random, in each case, on each named GPU."""
    every = [job for rows in jobs.values() for job in rows]
    random.Random(seed).shuffle(every)
    rows = []
    for device, model in GPUS:
        where = served(device, find_shape(model))
        for rate in RATES:
            drawn = random.Random(seed)
            times = list(accumulate(drawn.expovariate(rate) for _ in every))
            for name, (wording, passes, reuse) in CASES.items():
                program = with_model(compiled(wording, passes=passes), model)
                total, cached, seconds = _virtual(encoder, program, every, where, times, reuse)
                rows.append(
                    {
                        "device": where.label,
                        "jobs_per_s": rate,
                        "case": name,
                        "percent_cached": round(100.0 * cached / total, 2),
                        "job_s": _spread(seconds),
                    }
                )
    return {
        "jobs": len(every),
        "seed": seed,
        "output_tokens_of_a_call": OUTPUT_TOKENS,
        "tools": "seconds of the shipped profile",
        "rows": rows,
    }


def _virtual(
    encoder: Encoder,
    program: Program,
    jobs: Sequence[Job],
    where: Served,
    at_s: Sequence[float],
    reuse: bool,
) -> tuple[int, int, list[float]]:
    """Give prompt tokens, those reported as cached, and the seconds of each job."""
    device = backend(where, lambda _: encoder.encode, output_tokens=lambda _: OUTPUT_TOKENS)
    profile = shipped_profile("text_to_sql")
    assert profile is not None

    def seconds(command: RunTool) -> float:
        row = profile.stages[command.step.stage.name].seconds
        return row.mean if row else 0.0

    def value(command: RunTool) -> Any:
        number = int(command.idempotency_key.split("/")[0].removeprefix("job-"))
        return tool_value(command.name, jobs[number])

    result = simulated(
        program,
        [{"question": job["question"], "db": job["db"]} for job in jobs],
        device if reuse else Unshared(device),
        tool_time=seconds,
        tool_result=value,
        at_s=at_s,
    )
    assert all(job.status == "succeeded" for job in result.jobs)
    return *tokens_of(result), [job.latency_s for job in result.jobs]


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "median": round(statistics.median(ordered), 4),
        "mean": round(statistics.fmean(ordered), 4),
        "p95": round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 4),
    }


class _Told:
    """A tool of text_to_sql that gives what is known of the question under way."""

    is_async = False
    is_inline = True
    accepts_idempotency_key = False

    def __init__(self, name: str, jobs: Sequence[Job]) -> None:
        tool = TOOLS.get(name)
        assert tool is not None
        self.signature = tool.signature
        self._name = name
        self._jobs = jobs

    def call(self, arguments: Mapping[str, Any]) -> Any:
        """Give the value of the job that runs now: the last one begun."""
        return tool_value(self._name, self._jobs[-1])


def cpu_seconds(jobs: Jobs, repeats: int, model: str = SMALL) -> dict[str, Any]:
    """Run the jobs one after the other on this CPU's engine, the cases in turn."""
    from gangline.runtime.machine import models

    if not models.is_present(models.find(model)):
        return {"skipped": f"the model {model} is not here"}
    every = [job for rows in jobs.values() for job in rows]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in CASES}
    for _ in range(repeats):
        for name in CASES:
            found[name].append(_on_cpu(name, every, model))
    rows = {
        name: {
            **{key: runs[0][key] for key in ("prompt_tokens", "cached_tokens", "output_tokens")},
            "wall_s": _range([run["wall_s"] for run in runs]),
            "cpu_s": _range([run["cpu_s"] for run in runs]),
        }
        for name, runs in found.items()
    }
    return {"model": model, "jobs": len(every), "repeats": repeats, "cases": rows}


def _on_cpu(case: str, jobs: Sequence[Job], model: str) -> dict[str, Any]:
    """Run all jobs through a new engine; loading its weights is not counted."""
    wording, passes, reuse = CASES[case]
    program = with_model(compiled(wording, passes=passes), model)
    begun: list[Job] = []
    device = _engine()
    results = []
    with Executor(
        {DEVICE: device if reuse else Unshared(device)}, lambda name: _Told(name, begun)
    ) as executor:
        device.prepare(model).result()
        start, cpu = time.monotonic(), time.process_time()
        for job in jobs:
            begun.append(job)
            inputs = {"question": job["question"], "db": job["db"]}
            results.append(executor.run(Run(program.name, program, inputs, device=DEVICE)))
        wall, cpu = time.monotonic() - start, time.process_time() - cpu
    assert all(result.status == "succeeded" for result in results)
    steps = [step for result in results for step in result.steps]
    return {
        "wall_s": wall,
        "cpu_s": cpu,
        "prompt_tokens": sum(s.prompt_tokens or 0 for s in steps if s.op == "prefill"),
        "cached_tokens": sum(s.cached_tokens or 0 for s in steps if s.op == "prefill"),
        "output_tokens": sum(s.output_tokens or 0 for s in steps if s.op == "decode"),
    }


def _engine() -> Any:
    from gangline.runtime.clock import WallClock
    from gangline.runtime.machine.default_backends import default_backends, default_fleet

    return next(iter(default_backends(default_fleet(), WallClock()).values()))


def _range(values: Sequence[float]) -> dict[str, float]:
    rounded = [round(value, 3) for value in values]
    return {"median": statistics.median(rounded), "least": min(rounded), "most": max(rounded)}


def every_job(jobs: Jobs) -> Iterator[Job]:
    """Give all jobs, database by database."""
    for rows in jobs.values():
        yield from rows
