"""Judge answers to a file of question, database and gold SQL; gold never reaches the agent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gangline.ir.errors import InputError

from .match import Result, Rule, matches
from .sandbox import Limits, Outcome, Sandbox, default_sandbox

# Benchmarks give 30 s to a query (BIRD's evaluation_ex) and compare whole results.
JUDGE_LIMITS = Limits(timeout_s=30.0, max_rows=200_000, max_bytes=32_000_000)


@dataclass(frozen=True, slots=True)
class Pair:
    """One question with its accepted SQL; `db` is a file name under the database folder."""

    id: str
    db: str
    question: str
    gold: tuple[str, ...]
    evidence: str = ""
    origin: str = ""
    category: str = ""

    @property
    def rule(self) -> Rule:
        """Give the rule of the pair's origin; bird where the origin says nothing."""
        known: tuple[Rule, ...] = ("spider", "defog", "bird")
        return next((rule for rule in known if self.origin.startswith(rule)), "bird")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an answer is right, and why it could not be run if so."""

    id: str
    correct: bool
    rule: Rule
    error: str = ""


def load_pairs(path: str | Path) -> tuple[Pair, ...]:
    """Read a JSON-lines file of pairs; InputError with file:line on a bad one."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(
            f"The pairs cannot be read: {error.strerror}",
            where=str(path),
            next_step="Give a JSON-lines file of question, db and gold.",
        ) from error
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    return tuple(_pair(line, f"{path}:{number}") for number, line in numbered)


def judge(
    pair: Pair,
    sql: str,
    db_dir: str | Path,
    *,
    rule: Rule | None = None,
    sandbox: Sandbox | None = None,
) -> Verdict:
    """Run the answer and the gold and compare; an answer that fails to run is wrong."""
    sandbox = sandbox or default_sandbox()
    chosen = rule or pair.rule
    db = str(Path(db_dir) / pair.db)
    answer = sandbox.run(db, sql, JUDGE_LIMITS)
    if not answer.ok:
        return Verdict(pair.id, False, chosen, answer.error)
    golds = pair.gold if chosen == "defog" else pair.gold[:1]
    correct = any(_agrees(pair, chosen, answer, gold, sandbox, db) for gold in golds)
    return Verdict(pair.id, correct, chosen)


def self_check(
    pairs: Iterable[Pair],
    db_dir: str | Path,
    *,
    rule: Rule | None = None,
    sandbox: Sandbox | None = None,
) -> tuple[Verdict, ...]:
    """Judge each pair's own gold: a sound evaluator calls all of them right."""
    return tuple(judge(pair, pair.gold[0], db_dir, rule=rule, sandbox=sandbox) for pair in pairs)


def round_robin(pairs: Iterable[Pair], limit: int | None = None) -> tuple[Pair, ...]:
    """Order pairs so that every prefix takes from all databases alike; keep `limit`."""
    seen: dict[str, int] = {}
    ranked = []
    for place, pair in enumerate(pairs):
        turn = seen.get(pair.db, 0)
        seen[pair.db] = turn + 1
        ranked.append((turn, place, pair))
    ordered = [pair for _, _, pair in sorted(ranked, key=lambda row: row[:2])]
    return tuple(ordered[:limit])


def _agrees(pair: Pair, rule: Rule, answer: Outcome, gold: str, sandbox: Sandbox, db: str) -> bool:
    expected = sandbox.run(db, gold, JUDGE_LIMITS)
    if not expected.ok or answer.truncated or expected.truncated:
        return False
    ordered = "order by" in gold.lower() if rule == "spider" else pair.category == "order_by"
    return matches(rule, _result(answer), _result(expected), ordered=ordered)


def _result(outcome: Outcome) -> Result:
    return Result(len(outcome.columns), outcome.rows)


def _pair(line: str, where: str) -> Pair:
    try:
        row: Mapping[str, Any] = json.loads(line)
        gold = tuple(str(sql) for sql in row["gold"])
        texts = {key: str(row.get(key) or "") for key in ("evidence", "origin", "category")}
        if not gold:
            raise ValueError("no gold")
        return Pair(str(row["id"]), str(row["db"]), str(row["question"]), gold, **texts)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"A pair is not valid: {error}",
            where=where,
            next_step="Each line needs id, db, question and gold (a list of SQL).",
        ) from error
