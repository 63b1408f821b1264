"""Score text-to-SQL on question/gold pairs: many jobs at once, resumable, by a stated rule.

Gold queries never reach a workflow: it is given the question (with the upstream hint, where the
pair has one) and the database; the answer's rows are compared afterwards.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gangline.workflows.text_to_sql.evaluate import Pair, judge
from gangline.workflows.text_to_sql.match import Rule

from .dispatch.job import JobResult


@dataclass(frozen=True, slots=True)
class Scored:
    """One answered question, as the evaluation document shows it."""

    id: str
    db: str
    question: str
    sql: str
    correct: bool
    seconds: float | None
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    error: str
    rule: str
    usd: float | None = None
    attempts: int = 0


class Progress:
    """The answers so far, kept on disk, so that an interrupted evaluation goes on.

    The file is named after everything that decides an answer; another model, program or pairs
    file starts its own. It is removed when the evaluation is complete.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        text = json.dumps(identity, sort_keys=True)
        name = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        self.path = folder / f"eval-{name}.jsonl"

    def done(self) -> dict[str, Scored]:
        """Read the answers so far; a line cut off by a crash is left out."""
        found: dict[str, Scored] = {}
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                try:
                    row = Scored(**json.loads(line))
                except (ValueError, TypeError):
                    continue
                found[row.id] = row
        return found

    def add(self, row: Scored) -> None:
        """Keep one more answer."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row)) + "\n")

    def clear(self) -> None:
        """Forget the answers: the evaluation is complete."""
        self.path.unlink(missing_ok=True)


def report(
    answers: Iterable[Scored],
    *,
    model: str,
    workflow: str,
    rule: str,
    seconds: float,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Make the evaluation document (schema: docs/schemas/eval.json)."""
    rows = list(answers)
    correct = sum(row.correct for row in rows)
    costs = [row.usd for row in rows if row.usd is not None]
    return {
        "status": "succeeded",
        "workflow": workflow,
        "model": model,
        "n": len(rows),
        "correct": correct,
        "accuracy": correct / len(rows) if rows else 0.0,
        "rule": rule,
        "sql_errors": sum(bool(row.error) for row in rows),
        "seconds": seconds,
        "usd": sum(costs) if costs else None,
        "settings": dict(settings),
        "questions": [asdict(row) for row in rows],
    }


def scored(pair: Pair, document: Mapping[str, Any], db_dir: Path, rule: Rule) -> Scored:
    """Score one finished job by running its SQL and the gold and comparing their rows."""
    output = document.get("output") or {}
    steps = document.get("steps") or []
    sql = str(output.get("sql") or "")
    error = str(output.get("error") or document.get("error", {}).get("detail") or "")
    verdict = judge(pair, sql, db_dir, rule=rule) if sql and not error else None
    return Scored(
        id=pair.id,
        db=pair.db,
        question=pair.question,
        sql=sql,
        correct=verdict is not None and verdict.correct,
        seconds=document.get("actual", {}).get("seconds"),
        prompt_tokens=_tokens(steps, "prefill", "prompt_tokens"),
        cached_tokens=_tokens(steps, "prefill", "cached_tokens"),
        output_tokens=_tokens(steps, "decode", "output_tokens"),
        error=error or (verdict.error if verdict else "no query"),
        rule=rule,
        usd=document.get("actual", {}).get("usd"),
        attempts=sum(step["op"] == "decode" for step in steps),
    )


def question_of(pair: Pair) -> str:
    """The question as the workflow is asked it, with the upstream hint where there is one."""
    return f"{pair.question} (Hint: {pair.evidence})" if pair.evidence else pair.question


def run_pairs(
    pairs: Sequence[Pair],
    submit: Callable[[Pair], Future[JobResult]],
    score: Callable[[Pair, Mapping[str, Any]], Scored],
    *,
    concurrency: int,
    on_scored: Callable[[Scored], None],
) -> None:
    """Answer all pairs, at most `concurrency` jobs in flight; `on_scored` is called as each ends.

    Questions of one database follow each other, so that they share its schema's KV blocks.
    """
    waiting = deque(sorted(pairs, key=lambda pair: pair.db))
    flying: dict[Future[JobResult], Pair] = {}
    while waiting or flying:
        while waiting and len(flying) < concurrency:
            pair = waiting.popleft()
            flying[submit(pair)] = pair
        for future in wait(flying, return_when=FIRST_COMPLETED).done:
            on_scored(score(flying.pop(future), future.result().to_json()))


def _tokens(steps: Sequence[Mapping[str, Any]], op: str, key: str) -> int:
    return sum(step.get(key) or 0 for step in steps if step["op"] == op)


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Two-sided exact McNemar test: P of a split at least this uneven if both were equal.

    `only_first` and `only_second` count the questions that just one of two systems got right.
    """
    from math import comb

    n, k = only_first + only_second, min(only_first, only_second)
    tail = sum(comb(n, i) for i in range(k + 1)) / 2**n
    return min(1.0, 2.0 * float(tail))
