"""Is text_to_sql better than one draft by the same model? Accuracy, cost and McNemar's p.

    python -m benchmarks.text_to_sql --pairs FILE --db-dir DIR [--limit N] [--json]

Both answer the same questions through the same engine in the same run, in turn, database by
database, so that noise and cache state are shared. The text form goes to stderr; the document
with every question to stdout and, with --keep and without the questions' text, to
benchmarks/results/text_to_sql.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gangline.runtime.api import open_session
from gangline.runtime.evaluation import Scored, mcnemar_p, question_of, report, scored
from gangline.runtime.session import Options, Session
from gangline.workflows.registry import load
from gangline.workflows.text_to_sql import text_to_sql
from gangline.workflows.text_to_sql.evaluate import Pair, load_pairs, round_robin

HERE = Path(__file__).parent
RESULT = HERE / "results" / "text_to_sql.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison and print it."""
    options = _options(arguments)
    pairs = list(round_robin(load_pairs(options.pairs), options.limit))
    workflows = {
        "single_draft": load(f"{HERE / 'single_draft.py'}:single_draft"),
        "text_to_sql": text_to_sql,
    }
    answers: dict[str, list[Scored]] = {name: [] for name in workflows}
    seconds = dict.fromkeys(workflows, 0.0)
    with open_session() as session:
        for group in _by_database(pairs):
            for name, workflow in workflows.items():
                begun = time.monotonic()
                answers[name] += _answer(session, workflow, group, options)
                seconds[name] += time.monotonic() - begun
                _say(name, answers[name], seconds[name])
    document = _document(answers, seconds, options)
    print(json.dumps(document, indent=None if options.json else 2))
    if options.keep:
        RESULT.write_text(json.dumps(without_data(document), indent=1) + "\n")
    return 0


def without_data(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out questions and queries: the pairs are not ours to copy, their ids are enough."""
    kept = ("id", "correct", "seconds", "prompt_tokens", "cached_tokens", "output_tokens", "usd")
    systems = {
        name: {**system, "questions": [{k: row[k] for k in kept} for row in system["questions"]]}
        for name, system in document["systems"].items()
    }
    return {**document, "systems": systems}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--db-dir", type=Path, required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--rule", choices=("spider", "bird", "defog"), default="spider")
    parser.add_argument("--model", default="qwen2.5-coder-1.5b")
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", action="store_true")
    return parser.parse_args(arguments)


def _by_database(pairs: Sequence[Pair]) -> list[list[Pair]]:
    names = dict.fromkeys(pair.db for pair in pairs)
    return [[pair for pair in pairs if pair.db == name] for name in names]


def _answer(
    session: Session, workflow: Any, pairs: Sequence[Pair], options: argparse.Namespace
) -> list[Scored]:
    from gangline.runtime.evaluation import run_pairs

    rows: dict[str, Scored] = {}
    run_pairs(
        pairs,
        lambda pair: session.submit(
            workflow,
            {"question": question_of(pair), "db": str(options.db_dir / pair.db)},
            Options(model=options.model),
        ),
        partial(scored, db_dir=options.db_dir, rule=options.rule),
        concurrency=options.concurrency,
        on_scored=lambda row: rows.update({row.id: row}),
    )
    return [rows[pair.id] for pair in pairs]


def _say(name: str, rows: Sequence[Scored], seconds: float) -> None:
    right = sum(row.correct for row in rows)
    print(f"{name}: {right}/{len(rows)} right, {seconds:.0f} s", file=sys.stderr)


def _document(
    answers: dict[str, list[Scored]], seconds: dict[str, float], options: argparse.Namespace
) -> dict[str, Any]:
    import torch

    first, second = answers["single_draft"], answers["text_to_sql"]
    pairs = list(zip(first, second, strict=True))
    only_draft = sum(a.correct and not b.correct for a, b in pairs)
    only_workflow = sum(b.correct and not a.correct for a, b in pairs)
    settings = {"concurrency": options.concurrency, "rule": options.rule, "temperature": 0.0}
    return {
        "workload": {"pairs": options.pairs.name, "n": len(pairs), "limit": options.limit},
        "accuracy_points": 100.0
        * (sum(b.correct for b in second) - sum(a.correct for a in first))
        / max(1, len(pairs)),
        "only_single_draft_right": only_draft,
        "only_text_to_sql_right": only_workflow,
        "mcnemar_p": mcnemar_p(only_draft, only_workflow),
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "cpu": platform.processor() or platform.machine(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        },
        "systems": {
            name: report(
                rows,
                model=options.model,
                workflow=name,
                rule=options.rule,
                seconds=seconds[name],
                settings=settings,
            )
            for name, rows in answers.items()
        },
    }


if __name__ == "__main__":
    sys.exit(main())
