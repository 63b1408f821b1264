"""How long a question takes: lines of a plan run as they are written, all at once, or one by one.

    python -m benchmarks.tool_agent [--questions N] [--json]

Virtual time: the dispatcher and the engine's scheduler of production, one model server, and tools
and tokens that take stated seconds. Three ways to ask the same tools the same things:

- `streamed`: the plan is read while it is written (`gl.expand(form="lines")` on the llm's text);
- `whole`: the same plan is read when it is complete, then independent calls run side by side;
- `sequential`: a ReAct loop, a thought and one call at a time, each prompt holding what was found.

The shapes are those of LLMCompiler's workloads (arXiv 2312.04511, its repository): HotpotQA
comparison asks 2 independent searches, movie recommendation 8, ParallelQA 2 to 5 searches (21, 31,
31 and 30 of 113 questions) whose results one calculation joins. Published latency against ReAct:
1.80 times less (HotpotQA), 3.74 times less (movie).

Seconds of a search are drawn log-normal around 1.0 s (sigma 0.5), of a calculation around 0.3 s. A
token takes 20 ms (gpt-3.5-turbo of 2023 and a small model on a CPU are both near that) and counts
as 4 characters; a request waits 0.3 s for its first token. A line of a plan is as long as its
text, a thought 40 tokens, an answer 60. The result is kept in benchmarks/results/tool_agent.json.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gangline as gl
from gangline.backends.base import SchedulerOutput
from gangline.backends.engine.config import SchedulerConfig
from gangline.backends.fake import FakeRunner
from gangline.backends.virtual import VirtualBackend
from gangline.runtime.dispatch.commands import RunTool
from gangline.runtime.dispatch.job import Job
from gangline.runtime.simulation.simulator import Simulator
from gangline.workflows.workflow import Workflow

RESULT = Path(__file__).parent / "results" / "tool_agent.json"
TOKEN_S, FIRST_TOKEN_S, CHARS_PER_TOKEN = 0.020, 0.3, 4
SEARCH_S, MATH_S, SIGMA = 1.0, 0.3, 0.5
THOUGHT, ANSWER = "t" * 40 * CHARS_PER_TOKEN, "a" * 60 * CHARS_PER_TOKEN
PARALLEL_QA = {2: 21, 3: 31, 4: 31, 5: 30}
PUBLISHED = {"hotpotqa": 1.80, "movie": 3.74}


@gl.tool(effects="read")
def search(query: str) -> str:
    """Search an encyclopedia."""
    return query


@gl.tool(effects="none")
def calculate(expression: str) -> str:
    """Work out an expression."""
    return expression


@gl.tool(effects="none")
def complete(text: str) -> str:
    """Give a plan that is complete."""
    return text


@gl.llm(model="m", max_tokens=4_000)
def planned(question: str) -> str:
    """PLAN {question}"""
    raise NotImplementedError


@gl.llm(model="m", max_tokens=4_000)
def thought(question: str, found: list[str]) -> str:
    """THINK {question} {found}"""
    raise NotImplementedError


@gl.llm(model="m", max_tokens=4_000)
def answered(question: str, found: dict[str, Any]) -> str:
    """ANSWER {question} {found}"""
    raise NotImplementedError


@gl.workflow
def streamed(question: str) -> str:
    """Run lines as they are written."""
    found = gl.expand(planned(question), tools=[search, calculate], form="lines")
    return answered(question, found)


@gl.workflow
def whole(question: str) -> str:
    """Run lines once the plan is complete."""
    text = complete(planned(question))
    found = gl.expand(text, tools=[search, calculate], form="lines")
    return answered(question, found)


def sequential(num_searches: int, num_sums: int) -> Workflow[..., str]:
    """Make the ReAct loop of so many calls: its trips are known, so it is written out."""

    @gl.workflow
    def react(question: str) -> str:
        found: list[str] = []
        for number in range(num_searches + num_sums):
            said = thought(question, found)
            found.append(search(said) if number < num_searches else calculate(said))
        return answered(question, {"found": found})

    return react


@dataclass(frozen=True, slots=True)
class Question:
    """How many searches and calculations a question needs, and how long each call takes."""

    shape: str
    searches: int
    sums: int
    seconds: tuple[float, ...]

    def plan(self) -> str:
        """Write the plan as a model would."""
        lines = [
            f'{n}. search(query="the subject number {n}")' for n in range(1, self.searches + 1)
        ]
        parts = " + ".join(f"${{{number}}}" for number in range(1, self.searches + 1))
        lines += [
            f'{self.searches + 1 + n}. calculate(expression="{parts}")' for n in range(self.sums)
        ]
        return "\n".join([*lines, f"{len(lines) + 1}. join()"])


def questions(count: int, seed: int = 1) -> list[Question]:
    """Draw so many questions of each shape."""
    draws = random.Random(seed)
    found = []
    for _ in range(count):
        branch = draws.choices(list(PARALLEL_QA), weights=list(PARALLEL_QA.values()))[0]
        for shape, searches, sums in (
            ("hotpotqa", 2, 0),
            ("movie", 8, 0),
            ("parallelqa", branch, 1),
        ):
            seconds = [draws.lognormvariate(math.log(SEARCH_S), SIGMA) for _ in range(searches)]
            seconds += [draws.lognormvariate(math.log(MATH_S), SIGMA) for _ in range(sums)]
            found.append(Question(shape, searches, sums, tuple(seconds)))
    return found


def latency_s(program: Any, asked: Question) -> float:
    """Give the virtual seconds of one job."""

    def replies(prompt: str) -> str:
        if prompt.startswith("PLAN"):
            return asked.plan()
        return THOUGHT + "act" * 27 if prompt.startswith("THINK") else ANSWER

    def step_s(output: SchedulerOutput) -> float:
        is_decode = all(len(entry.token_ids) == 1 for entry in output.scheduled)
        return TOKEN_S / CHARS_PER_TOKEN if is_decode else FIRST_TOKEN_S

    left = {"search": list(asked.seconds[: asked.searches])}
    left["calculate"] = list(asked.seconds[asked.searches :])

    def tool_s(command: RunTool) -> float:
        return (
            left[command.name.rpartition(".")[2]].pop(0) if "complete" not in command.name else 0.0
        )

    def result(command: RunTool) -> str:
        return str(command.arguments["text"]) if "complete" in command.name else "found"

    # Every prompt in one step, so that a first token takes what is stated.
    config = SchedulerConfig(max_batched_tokens=100_000)
    device = VirtualBackend(step_s, lambda model: FakeRunner(replies), config=config, skip=False)
    simulator = Simulator({"gpu/0": device}, tool_s, result)
    (job,) = simulator.run([(0.0, Job("w", program, {"question": "q"}, device="gpu/0"))]).jobs
    assert job.status == "succeeded", job.events[-1].data
    return job.latency_s


def measure(count: int) -> dict[str, Any]:
    """Ask every question in the three ways; medians, quartiles and ratios by shape."""
    rows: dict[str, dict[str, list[float]]] = {}
    programs: dict[Any, Any] = {}
    for asked in questions(count):
        key = (asked.searches, asked.sums)
        if key not in programs:
            programs[key] = sequential(*key).program()
        entrants: Mapping[str, Any] = {
            "streamed": streamed.program(),
            "whole": whole.program(),
            "sequential": programs[key],
        }
        times = rows.setdefault(asked.shape, {name: [] for name in entrants})
        for name, program in entrants.items():
            times[name].append(latency_s(program, asked))
    return {shape: _summary(shape, times) for shape, times in rows.items()}


def _summary(shape: str, times: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    ours = times["streamed"]
    ratios = {
        name: [other / mine for other, mine in zip(times[name], ours, strict=True)]
        for name in ("whole", "sequential")
    }
    return {
        "seconds": {name: _spread(found) for name, found in times.items()},
        "times_streamed": {name: _spread(found) for name, found in ratios.items()},
        "published_against_react": PUBLISHED.get(shape),
    }


def _spread(found: Sequence[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(found, n=4)
    return {"median": round(middle, 3), "quartile_1": round(low, 3), "quartile_3": round(high, 3)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print one document and keep it."""
    parser = argparse.ArgumentParser(description="Latency of plans read line by line.")
    parser.add_argument("--questions", type=int, default=40, help="of each shape")
    parser.add_argument("--json", action="store_true", help="one line")
    options = parser.parse_args(arguments)
    document = {
        "unit": "virtual seconds",
        "questions": options.questions,
        "token_s": TOKEN_S,
        "first_token_s": FIRST_TOKEN_S,
        "search_s": SEARCH_S,
        "calculation_s": MATH_S,
        "shapes": measure(max(2, options.questions)),
    }
    RESULT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=None if options.json else 2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
