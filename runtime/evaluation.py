"""Score text-to-SQL on question/gold pairs: many jobs at once, resumable, by a stated rule.

Gold queries never reach a workflow: it is given the question (with the upstream hint, where the
pair has one) and the database; the answer's rows are compared afterwards.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from gangline.ir.errors import ConfigError, DatabaseError, UsageError

RULES = ("spider", "bird", "defog")


@dataclass(frozen=True, slots=True)
class Pair:
    """One question with its accepted answers; `db` is a file name under the database folder."""

    id: str
    db: str
    question: str
    gold: tuple[str, ...]
    evidence: str = ""
    category: str = ""

    @property
    def prompt(self) -> str:
        """The question as the workflow is asked it."""
        return f"{self.question} (Hint: {self.evidence})" if self.evidence else self.question


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


def read_pairs(file: Path, db_dir: Path) -> list[Pair]:
    """Read a pairs file (JSON lines) and check that its databases are there."""
    if not file.exists():
        raise UsageError(
            "The pairs file does not exist", where=str(file), next_step="Check --pairs."
        )
    pairs = [_pair(line, file, n) for n, line in enumerate(_lines(file), start=1)]
    for name in sorted({pair.db for pair in pairs}):
        if not (db_dir / name).exists():
            raise DatabaseError(
                f"The database {name} of the pairs file is missing",
                where=str(db_dir / name),
                next_step="Check --db-dir.",
            )
    return pairs


def _lines(file: Path) -> list[str]:
    return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def _pair(line: str, file: Path, number: int) -> Pair:
    try:
        row = json.loads(line)
        gold = (row["gold"],) if isinstance(row["gold"], str) else tuple(row["gold"])
        return Pair(
            id=str(row.get("id", number)),
            db=row["db"],
            question=row["question"],
            gold=gold,
            evidence=row.get("evidence") or "",
            category=row.get("category") or "",
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"A line of the pairs file is wrong ({type(error).__name__}: {error})",
            where=f"{file}:{number}",
            next_step="Each line is a JSON object with id, db, question and gold.",
        ) from None


def sample(pairs: Sequence[Pair], limit: int | None) -> list[Pair]:
    """Take `limit` pairs, one database after the other in turn, each in its file's order."""
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.db].append(pair)
    turns = zip_longest(*groups.values())
    taken = [pair for turn in turns for pair in turn if pair is not None]
    return taken[:limit] if limit is not None else taken


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
            for line in _lines(self.path):
                try:
                    scored = Scored(**json.loads(line))
                except (ValueError, TypeError):
                    continue
                found[scored.id] = scored
        return found

    def add(self, scored: Scored) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(scored)) + "\n")

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)


def report(
    scored: Iterable[Scored],
    *,
    model: str,
    workflow: str,
    rule: str,
    seconds: float,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Make the evaluation document (schema: docs/schemas/eval.json)."""
    rows = list(scored)
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


def score_document(
    pair: Pair, document: Mapping[str, Any], rule: str, matches: Callable[[Pair, str, str], bool]
) -> Scored:
    """Score one finished job by running its SQL and the gold through the rule."""
    output = document.get("output") or {}
    steps = document.get("steps") or []
    sql = str(output.get("sql") or "")
    error = str(output.get("error") or document.get("error", {}).get("detail") or "")
    return Scored(
        id=pair.id,
        db=pair.db,
        question=pair.question,
        sql=sql,
        correct=bool(sql) and not error and matches(pair, sql, rule),
        seconds=document.get("actual", {}).get("seconds"),
        prompt_tokens=_tokens(steps, "prefill", "prompt_tokens"),
        cached_tokens=_tokens(steps, "prefill", "cached_tokens"),
        output_tokens=_tokens(steps, "decode", "output_tokens"),
        error=error,
        rule=rule,
        usd=document.get("actual", {}).get("usd"),
        attempts=sum(step["op"] == "decode" for step in steps),
    )


def _tokens(steps: Sequence[Mapping[str, Any]], op: str, key: str) -> int:
    return sum(step.get(key) or 0 for step in steps if step["op"] == op)


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Two-sided exact McNemar test: P of a split at least this uneven if both were equal.

    `only_first` and `only_second` count the questions that just one of two systems got right.
    """
    from math import comb

    n, k = only_first + only_second, min(only_first, only_second)
    tail = sum(comb(n, i) for i in range(k + 1)) / 2**n
    return min(1.0, 2 * tail)
