"""Prompt tokens that text_to_sql does not compute twice, on real questions and databases.

Every question of a file of pairs becomes the prompts of its job: the draft, and a repair of it.
They are encoded with the model's own tokenizer and looked up in the engine's own block manager,
whose cache is never short of memory. Three prompts are compared: as they are compiled, with
the parts of both calls in a bad order, and that bad order with its fields marked free after the
pass. The optimum is the best of all orders. Skips with a message where data or model are absent.

    python -m benchmarks.prefix_reuse --pairs FILE --db-dir DIR [--limit N] [--json]
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from gangline.backends.engine.block_manager import BlockManager, extend_keys, root_key
from gangline.backends.engine.encoder import Encoder, load_encoder
from gangline.ir.passes.prompt_order import Movable, best_orders
from gangline.ir.passes.prompt_parts import FIELD, arranged, orders, parts_of
from gangline.ir.passes.prompt_reuse import Atom, Prompt
from gangline.runtime.dispatch.prompt import render
from gangline.runtime.machine import models
from gangline.workflows.text_to_sql import prompts, settings
from gangline.workflows.text_to_sql.workflow import show_hints, show_schema

BLOCK = 16
BAD = {
    "draft": "Question: {question}\n\n{schema}\n\n{hints}\n\nSQL:",
    "repair": "{hints}\n\nSQL: {sql}\n\nQuestion: {question}\n\n{schema}\n\nCorrected SQL:",
}
FREE = ("question", "schema", "hints")
SCOPES = {"schema": 1, "question": 2, "hints": 2, "sql": 2}
TOKENS = {"schema": 512.0, "question": 24.0, "hints": 32.0, "sql": 40.0}

Job = dict[str, str]
Templates = dict[str, str]


def jobs_of(pairs: Path, folder: Path, limit: int) -> dict[str, list[Job]]:
    """Give what the prompts of each question hold, by database."""
    found: dict[str, list[Job]] = defaultdict(list)
    for line in pairs.read_text().splitlines():
        row = json.loads(line)
        jobs = found[row["db"]]
        if len(jobs) >= limit:
            continue
        db = str(folder / row["db"])
        hints = show_hints.fn(row["question"], db)
        jobs.append(
            {
                "schema": jobs[0]["schema"] if jobs else show_schema.fn(db),
                "question": row["question"],
                "hints": hints,
                "sql": row["gold"][0] if isinstance(row["gold"], list) else row["gold"],
                "problem": prompts.NO_ROWS,
            }
        )
    return found


class Cache:
    """Blocks that were computed so far, as an engine with memory to spare would hold them."""

    def __init__(self) -> None:
        self._blocks = BlockManager(200_000, BLOCK)
        self._root = root_key("")
        self._count = 0
        self.total = self.reused = 0

    def take(self, tokens: Sequence[int]) -> None:
        """Compute a prompt; its last token is computed in any case."""
        keys: list[bytes] = []
        extend_keys(keys, self._root, tokens, BLOCK, len(tokens) // BLOCK)
        matched = self._blocks.match_prefix(keys[: (len(tokens) - 1) // BLOCK])
        self._count += 1
        name = str(self._count)
        self._blocks.allocate(name, matched, len(tokens))
        for index in range(len(matched), len(keys)):
            self._blocks.publish(name, index, keys[index])
        self._blocks.free(name)
        self.total += len(tokens)
        self.reused += len(matched) * BLOCK


def encoded(encoder: Encoder, templates: Templates, job: Job) -> list[tuple[int, ...]]:
    """Give the tokens of a job's prompts, in the order in which they come."""
    rows = ([{"role": "user", "text": templates[name]}] for name in ("draft", "repair"))
    return [encoder.encode(render(row, job)) for row in rows]


def shares(encoder: Encoder, templates: Templates, jobs: dict[str, list[Job]]) -> dict[str, float]:
    """Give the share of prompt tokens not computed, in the three settings."""
    prompts_of = {
        db: [encoded(encoder, templates, job) for job in rows] for db, rows in jobs.items()
    }
    every = [[job] for rows in prompts_of.values() for job in rows]
    return {
        "one_job": _share(every),
        "one_database": _share(list(prompts_of.values())),
        "across_databases": _share([[job for rows in prompts_of.values() for job in rows]]),
    }


def _share(runs: Iterable[list[list[tuple[int, ...]]]]) -> float:
    """Run each list of jobs on a cold cache; give the share over all."""
    total = reused = 0
    for run in runs:
        cache = Cache()
        for job in run:
            for tokens in job:
                cache.take(tokens)
        total, reused = total + cache.total, reused + cache.reused
    return round(100.0 * reused / max(total, 1), 2)


def compiled(templates: Templates) -> Templates:
    """Put the parts of both prompts in the order that the pass chooses."""
    rows = [_movable(name, text) for name, text in templates.items()]
    chosen = best_orders(rows)
    texts = (arranged(row.parts, order) for row, order in zip(rows, chosen, strict=True))
    return dict(zip(templates, texts, strict=True))


def _movable(name: str, text: str) -> Movable:
    parts = parts_of(text, FREE)
    inside = tuple(tuple(_atoms(part.text + part.separator)) for part in parts)
    return Movable(Prompt(1.0, (Atom("role", 4.0),), inside), parts)


def _atoms(text: str) -> Iterable[Atom]:
    end = 0
    for match in FIELD.finditer(text):
        if match.start() > end:
            yield Atom(text[end : match.start()], (match.start() - end) / 3.5)
        yield Atom(("field", match[1]), TOKENS[match[1]], SCOPES[match[1]])
        end = match.end()
    if end < len(text):
        yield Atom(text[end:], (len(text) - end) / 3.5)


def optimum(encoder: Encoder, jobs: dict[str, list[Job]]) -> dict[str, float]:
    """Give, for each setting, the best share of all orders of both prompts."""
    cut = {name: parts_of(text, FREE) for name, text in BAD.items()}
    best: dict[str, float] = {}
    for pair in product(*(orders(parts) for parts in cut.values())):
        templates = {n: arranged(p, o) for (n, p), o in zip(cut.items(), pair, strict=True)}
        for setting, share in shares(encoder, templates, jobs).items():
            best[setting] = max(best.get(setting, 0.0), share)
    return best


def measure(arguments: Any) -> dict[str, Any]:
    """Measure all; a document with `skipped` where something is missing."""
    spec = models.find(settings.MODEL)
    if not arguments.pairs.exists() or not models.is_present(spec):
        return {"skipped": f"{arguments.pairs} or the model {settings.MODEL} is not there"}
    encoder = load_encoder(models.file_path(spec))
    jobs = jobs_of(arguments.pairs, arguments.db_dir, arguments.limit)
    few = {db: rows[:3] for db, rows in list(jobs.items())[:4]}
    own = {"draft": prompts.DRAFT, "repair": prompts.REPAIR}
    return {
        "model": settings.MODEL,
        "block_tokens": BLOCK,
        "questions": sum(map(len, jobs.values())),
        "databases": len(jobs),
        "percent_not_recomputed": {
            "text_to_sql": shares(encoder, own, jobs),
            "bad_order": shares(encoder, BAD, jobs),
            "bad_order_compiled": shares(encoder, compiled(BAD), jobs),
        },
        "against_brute_force": {
            "questions": sum(map(len, few.values())),
            "compiled": shares(encoder, compiled(BAD), few),
            "optimum": optimum(encoder, few),
        },
    }


def main() -> None:
    """Print the document, and keep it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=Path, default=Path("../shared/data/text2sql/pairs.jsonl"))
    parser.add_argument("--db-dir", type=Path, default=Path("../shared/data/text2sql/db"))
    parser.add_argument("--limit", type=int, default=6, help="questions of each database")
    parser.add_argument("--json", action="store_true")
    document = measure(parser.parse_args())
    if "skipped" not in document:
        kept = Path(__file__).parent / "results" / "prefix_reuse.json"
        kept.write_text(json.dumps(document, indent=2) + "\n")
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
