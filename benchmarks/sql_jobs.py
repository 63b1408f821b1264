"""text_to_sql on real questions: what its prompts hold, and its compiled prompts in any words.

Prompts in other words are written into the traced module, which is then compiled as an author's
own would be. Gold queries stand for what a model would have drafted; they are never shown to one
that is to answer.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gangline.backends.engine.encoder import Encoder
from gangline.ir.attributes import encode
from gangline.ir.compiler import compile_module
from gangline.ir.module import Module, context, mlir, walk
from gangline.ir.passes import DEFAULT_PASSES
from gangline.ir.program import Program
from gangline.ir.verifier import verify
from gangline.runtime.dispatch.prompt import render
from gangline.workflows.text_to_sql import prompts, text_to_sql
from gangline.workflows.text_to_sql.workflow import show_hints, show_schema

CALLS = ("draft", "repair")
EVERY = ("question", "schema", "hints")

Job = dict[str, str]
Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wording:
    """The prompts of both calls, and the fields that are marked free in them."""

    draft: str
    repair: str
    free: tuple[str, ...] = ()

    def text(self, call: str) -> str:
        """Give the prompt of a call."""
        return self.draft if call == "draft" else self.repair


OWN = Wording(prompts.DRAFT, prompts.REPAIR, ("schema",))
QUESTION_FIRST = Wording(
    "{hints}Question: {question}\n\n{schema}\n\nSQL:",
    "{hints}Question: {question}\n\n{schema}\n\nSQL: {sql}\n"
    "This query is wrong: {problem}.\nCorrected SQL:",
    ("schema",),
)
BAD_ORDER = Wording(
    "Question: {question}\n\n{schema}\n\n{hints}\n\nSQL:",
    "{hints}\n\nSQL: {sql}\n\nQuestion: {question}\n\n{schema}\n\nThis query is wrong: {problem}.\n"
    "Corrected SQL:",
    EVERY,
)
WORDINGS = {"text_to_sql": OWN, "question_first": QUESTION_FIRST, "bad_order": BAD_ORDER}


def jobs_of(pairs: Path, folder: Path, limit: int, databases: int = 0) -> dict[str, list[Job]]:
    """Give what the prompts of each question hold, by database; 0 databases are all."""
    found: dict[str, list[Job]] = defaultdict(list)
    for line in pairs.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["db"] not in found and databases and len(found) >= databases:
            continue
        jobs = found[row["db"]]
        if len(jobs) >= limit:
            continue
        db = str(folder / row["db"])
        jobs.append(
            {
                "db": db,
                "schema": jobs[0]["schema"] if jobs else show_schema.fn(db),
                "question": row["question"],
                "hints": show_hints.fn(row["question"], db),
                "sql": row["gold"][0] if isinstance(row["gold"], list) else row["gold"],
                "problem": prompts.NO_ROWS,
            }
        )
    return dict(found)


def worded(wording: Wording) -> Module:
    """Give the traced workflow with its prompts in these words, verified."""
    module = text_to_sql.trace()
    with context(), mlir.Location.unknown():
        for function in module.functions():
            for op in walk(function):
                if op.name == "agent.llm":
                    text = wording.text(str(op.attributes["name"].value))
                    fields = [name for name in wording.free if f"{{{name}}}" in text]
                    op.attributes["template"] = encode([{"role": "user", "text": text}])
                    op.attributes["free"] = encode(fields)
    verify(module, level="agent")
    return module


def compiled(wording: Wording, *, passes: bool = True) -> Program:
    """Compile as users do, or without the passes in front of lowering."""
    return compile_module(worded(wording), DEFAULT_PASSES if passes else ())


def templates(program: Program) -> dict[str, list[Mapping[str, str]]]:
    """Give the prompt of each call as its stage holds it."""
    return {
        stage.name.replace(".tokenize", ""): stage.attributes["template"]
        for stage in program.walk()
        if stage.op == "tokenize"
    }


def encoded(
    encoder: Encoder,
    found: Mapping[str, Sequence[Mapping[str, str]]],
    job: Mapping[str, str],
    calls: Sequence[str] = CALLS,
) -> list[Tokens]:
    """Give the tokens of a job's prompts, in the order in which they come."""
    return [encoder.encode(render(found[call], job)) for call in calls]
