"""Prompt tokens that are not computed twice, on real questions and databases, and the seconds.

    python -m benchmarks.prefix_reuse [--pairs FILE --db-dir DIR] [--limit N] [--quick] [--json]

Every question of a file of pairs becomes a text_to_sql job of a draft and one repair. Workflows
are traced and compiled as users' are (`compile_module`, default passes, no lengths given), prompts
encoded with the model's own tokenizer, and looked up in the engine's own block manager.

- `percent_not_recomputed`: three wordings, as written (passes in front of lowering left out) and
  compiled: in one job, in jobs on one database, across databases.
- `against_brute_force`: compiled against the best of all orders of free parts, tried one by one.
- `template_share`: which part of the prompts is template, and which schema.
- `published_templates`: the same for a workflow with the template lengths of HexGen-Text2SQL.
- `engine`: reuse predicted this way against the cached tokens an engine reports in its records.
- `virtual_seconds`: whole jobs in virtual time on a named GPU, with and without reuse.
- `cpu_seconds`: the same prompts through the real engine on this CPU, with --cpu.

Skips with a message where data or model are absent. Kept in benchmarks/results/prefix_reuse.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from gangline.backends.engine.encoder import Encoder, load_encoder
from gangline.ir.passes.prompt_parts import arranged, orders, parts_of
from gangline.runtime.machine import models
from gangline.workflows.text_to_sql import settings

from . import prefix_engine, prefix_templates
from .prefix_cache import Prompts, shares
from .sql_jobs import (
    BAD_ORDER,
    CALLS,
    WORDINGS,
    Job,
    Wording,
    compiled,
    encoded,
    jobs_of,
    templates,
)
from .virtual_jobs import BLOCK

RESULT = Path(__file__).parent / "results" / "prefix_reuse.json"
DATA = Path("../shared/data/text2sql")

Jobs = dict[str, list[Job]]


def share_of(encoder: Encoder, wording: Wording, jobs: Jobs, passes: bool) -> dict[str, float]:
    """Give the three shares of a wording, compiled with or without the passes."""
    found = templates(compiled(wording, passes=passes))
    return shares({db: [encoded(encoder, found, job) for job in rows] for db, rows in jobs.items()})


def optimum(encoder: Encoder, wording: Wording, jobs: Jobs) -> dict[str, float]:
    """Give, for each setting, the best share of all orders of both prompts."""
    rows = [job for found in jobs.values() for job in found]
    tried: list[list[dict[int, Any]]] = []
    for call in CALLS:
        parts = parts_of(wording.text(call), wording.free)
        texts = [arranged(parts, order) for order in orders(parts)]
        tried.append(
            [
                {id(job): encoded(encoder, {call: _message(text)}, job, (call,))[0] for job in rows}
                for text in texts
            ]
        )
    best: dict[str, float] = {}
    for draft, repair in product(*tried):
        prompts: dict[str, list[Prompts]] = {
            db: [(draft[id(job)], repair[id(job)]) for job in found] for db, found in jobs.items()
        }
        for setting, share in shares(prompts).items():
            best[setting] = max(best.get(setting, 0.0), share)
    return best


def _message(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "text": text}]


def brute_force(encoder: Encoder, jobs: Jobs) -> dict[str, Any]:
    """Hold the compiled order against the best of all."""
    mine = share_of(encoder, BAD_ORDER, jobs, passes=True)
    best = optimum(encoder, BAD_ORDER, jobs)
    return {
        "wording": "bad_order",
        "questions": sum(map(len, jobs.values())),
        "compiled": mine,
        "optimum": best,
        "points_below": {name: round(best[name] - mine[name], 2) for name in best},
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all; a document with `skipped` where something is missing."""
    spec = models.find(settings.MODEL)
    if not options.pairs.exists() or not models.is_present(spec):
        return {"skipped": f"{options.pairs} or the model {settings.MODEL} is not there"}
    encoder = load_encoder(models.file_path(spec))
    most, databases = (2, 3) if options.quick else (options.limit, 0)
    jobs = jobs_of(options.pairs, options.db_dir, most, databases)
    few = {db: rows[: 1 if options.quick else 3] for db, rows in list(jobs.items())[:4]}
    document = {
        "unit": "% of prompt tokens; seconds where said",
        "model": settings.MODEL,
        "block_tokens": BLOCK,
        "questions": sum(map(len, jobs.values())),
        "databases": len(jobs),
        "jobs": "a draft and one repair each; the gold query stands for the draft",
        **conditions(),
        "percent_not_recomputed": {
            name: {
                "as_written": share_of(encoder, wording, jobs, passes=False),
                "compiled": share_of(encoder, wording, jobs, passes=True),
            }
            for name, wording in WORDINGS.items()
        },
        "against_brute_force": brute_force(encoder, few),
        "template_share": prefix_templates.own(encoder, jobs),
        "published_templates": prefix_templates.published(encoder, few),
        "engine": prefix_engine.exactness(encoder, jobs),
        "virtual_seconds": prefix_engine.virtual_seconds(encoder, jobs, options.seed),
    }
    if options.cpu:
        document["cpu_seconds"] = prefix_engine.cpu_seconds(few, options.repeats)
    return document


def conditions() -> dict[str, Any]:
    """Say where this was measured."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the document, and keep it beside this file."""
    parser = argparse.ArgumentParser(description="Prompt tokens that are not computed twice.")
    parser.add_argument("--pairs", type=Path, default=DATA / "pairs.jsonl")
    parser.add_argument("--db-dir", type=Path, default=DATA / "db")
    parser.add_argument("--limit", type=int, default=6, help="questions of each database")
    parser.add_argument("--seed", type=int, default=0, help="of arrivals in virtual time")
    parser.add_argument("--quick", action="store_true", help="few questions; nothing is kept")
    parser.add_argument("--cpu", action="store_true", help="run the real engine too")
    parser.add_argument("--repeats", type=int, default=5, help="of the real engine's runs")
    parser.add_argument("--json", action="store_true", help="one line")
    options = parser.parse_args(arguments)
    document = measure(options)
    if "skipped" not in document and not options.quick:
        RESULT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=None if options.json else 2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
