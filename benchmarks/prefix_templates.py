"""How much of the prompts is template, in text_to_sql and in a workflow of published lengths.

The second has the steps, calls, template lengths and mean prompt lengths of HexGen-Text2SQL (CHESS
on BIRD), as computed from its shipped traces: template words are made up, the schema is that of a
real database, and what is left of a prompt is made up for its job.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any

import gangline as gl
from gangline.backends.engine.encoder import Encoder
from gangline.ir.program import Program
from gangline.runtime.dispatch.prompt import render

from .prefix_cache import Prompts, shares
from .sql_jobs import CALLS, OWN, Job, compiled, templates

WORDS = [
    "data",
    "table",
    "value",
    "column",
    "query",
    "name",
    "list",
    "order",
    "group",
    "result",
    "answer",
    "question",
    "number",
    "text",
    "type",
    "string",
    "first",
    "last",
    "key",
    "date",
    "count",
    "sum",
    "field",
    "record",
    "row",
    "join",
    "filter",
    "model",
    "step",
    "rule",
]


@dataclass(frozen=True, slots=True)
class PublishedStep:
    """A step as published: tokens of its template and of a mean prompt, calls a job makes.

    `front` is the part of the template in front of the first field; None where none is published,
    and then it is taken to be nine tenths.
    """

    name: str
    template: int
    prompt: int
    calls: int
    front: float | None
    schema: bool = True


PUBLISHED = (
    PublishedStep("retriever", 213, 306, 4, None, schema=False),
    PublishedStep("keywords", 630, 679, 1, 0.92, schema=False),
    PublishedStep("candidate", 9158, 10768, 1, 0.99),
    PublishedStep("other_candidate", 5292, 10768, 1, 0.99),
    PublishedStep("revise", 3059, 6897, 5, 0.93),
    PublishedStep("unit_tester", 213, 275, 3, None, schema=False),
    PublishedStep("unit_test", 436, 1169, 1, 0.05),
    PublishedStep("evaluate", 261, 1142, 5, 0.77),
)
PUBLISHED_SHARE = {"least": 45.6, "most": 63.5}
"""Template tokens in % of all prompt tokens over five traces of that workflow."""


def own(encoder: Encoder, jobs: Mapping[str, list[Job]]) -> dict[str, Any]:
    """Give, for each call of text_to_sql, what its prompts are made of."""
    found = templates(compiled(OWN))
    rows: dict[str, Any] = {}
    every = [job for given in jobs.values() for job in given]
    for call in CALLS:
        empty = dict.fromkeys(every[0], "")
        template = len(encoder.encode(render(found[call], empty)))
        whole = [len(encoder.encode(render(found[call], job))) for job in every]
        bare = [len(encoder.encode(render(found[call], {**job, "schema": ""}))) for job in every]
        total = sum(whole)
        rows[call] = {
            "template_tokens": template,
            "mean_prompt_tokens": round(total / len(every), 1),
            "template_percent": round(100.0 * template * len(every) / total, 2),
            "schema_percent": round(100.0 * (total - sum(bare)) / total, 2),
        }
    return rows


def published(encoder: Encoder, jobs: Mapping[str, list[Job]]) -> dict[str, Any]:
    """Compile the published workflow and count what its prompts share on real schemas."""
    words = _Words(encoder)
    program = _workflow(words).program()
    prompts: dict[str, list[Prompts]] = {
        db: [_prompts(encoder, words, program, job, f"{db} {at}") for at, job in enumerate(rows)]
        for db, rows in jobs.items()
    }
    every = [tokens for rows in prompts.values() for job in rows for tokens in job]
    count = sum(map(len, prompts.values()))
    template = sum(step.template * step.calls for step in PUBLISHED)
    return {
        "steps": {step.name: _row(words, step) for step in PUBLISHED},
        "calls": sum(step.calls for step in PUBLISHED),
        "jobs": count,
        "mean_prompt_tokens_of_a_job": round(sum(map(len, every)) / count),
        "template_percent": round(100.0 * template * count / sum(map(len, every)), 2),
        "template_percent_published": PUBLISHED_SHARE,
        "percent_not_recomputed": shares(prompts),
    }


class _Words:
    """Text of a wanted number of tokens."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def text(self, tokens: int, seed: str) -> str:
        """Make a text of so many tokens (a token less or more where words join)."""
        drawn = random.Random(seed)
        words = [drawn.choice(WORDS) for _ in range(max(tokens, 0))]
        sizes = [len(self._tokens(word)) for word in words]
        fitting = sum(1 for end in accumulate(sizes) if end <= tokens)
        return " ".join(words[:fitting])

    @cache  # noqa: B019 - lives as long as the benchmark
    def _tokens(self, word: str) -> tuple[int, ...]:
        return self.encoder.encode_text(" " + word)


def _row(words: _Words, step: PublishedStep) -> dict[str, Any]:
    template = _template(words, step)
    return {
        "calls": step.calls,
        "template_tokens": len(words.encoder.encode_text(template)),
        "prompt_tokens": step.prompt,
        "template_percent": round(100.0 * step.template / step.prompt, 1),
        "front_percent": None if step.front is None else round(100.0 * step.front),
    }


def _template(words: _Words, step: PublishedStep) -> str:
    front = round(step.template * (0.9 if step.front is None else step.front))
    schema = "{schema}\n\n" if step.schema else ""
    head = words.text(front - 6, f"{step.name} head")
    tail = words.text(step.template - front, f"{step.name} tail")
    return f"{head}.\n\n{schema}Question: {{question}}\n\n{{context}}\n\n{tail}"


@gl.tool(effects="read")
def published_schema(db: gl.Database) -> str:
    """Stand for the step that reads a schema."""
    raise NotImplementedError


@gl.tool(effects="read")
def published_context(db: gl.Database, question: str, step: str, call: int) -> str:
    """Stand for what other steps have found."""
    raise NotImplementedError


def _workflow(words: _Words) -> Any:
    calls = {step.name: _llm(step, _template(words, step)) for step in PUBLISHED}

    @gl.workflow
    def published_text_to_sql(question: str, db: gl.Database) -> list[str]:
        schema = published_schema(db)
        answers = []
        for step in PUBLISHED:
            for number in range(step.calls):
                context = published_context(db, question, step.name, number)
                given = {"schema": schema} if step.schema else {}
                answers.append(calls[step.name](question=question, context=context, **given))
        return answers

    return published_text_to_sql


def _llm(step: PublishedStep, template: str) -> Any:
    def with_schema(schema: gl.Free[str], question: gl.Free[str], context: gl.Free[str]) -> str:
        raise NotImplementedError

    def without(question: gl.Free[str], context: gl.Free[str]) -> str:
        raise NotImplementedError

    function = with_schema if step.schema else without
    function.__name__ = step.name
    return gl.llm(model="qwen2.5-coder-1.5b", max_tokens=64, template=template)(function)


def _prompts(
    encoder: Encoder, words: _Words, program: Program, job: Job, seed: str
) -> list[tuple[int, ...]]:
    """Give the prompts of one job, each made up to its published length."""
    steps = {step.name: step for step in PUBLISHED}
    found = []
    for call, template in templates(program).items():
        step = steps[call.split("#")[0]]
        fields = {"schema": job["schema"], "question": job["question"], "context": ""}
        short = len(encoder.encode(render(template, fields)))
        fields["context"] = words.text(step.prompt - short, f"{seed} {call}")
        found.append(encoder.encode(render(template, fields)))
    return found
