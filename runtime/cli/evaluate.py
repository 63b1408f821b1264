"""`gangline eval text_to_sql`: score a workflow on question/gold pairs."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from gangline.ir.errors import UsageError

from .output import console, print_document
from .run_command import Fleet, Json, Model

if TYPE_CHECKING:
    from gangline.runtime.evaluation import Progress, Scored
    from gangline.workflows.text_to_sql.evaluate import Pair
    from gangline.workflows.text_to_sql.match import Rule

RULES = ("spider", "bird", "defog")


def evaluate(
    workflow: Annotated[str, typer.Argument(help="text_to_sql, or a workflow of the same shape.")],
    pairs: Annotated[Path, typer.Option(help="JSON lines of id, db, question, gold.")],
    db_dir: Annotated[Path, typer.Option("--db-dir", help="The folder of the SQLite files.")],
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only so many, databases in turn.")
    ] = None,
    rule: Annotated[str, typer.Option(help="spider, bird or defog.")] = "spider",
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Jobs in flight.")] = 8,
    self_check: Annotated[
        bool, typer.Option("--self-check", help="Score the gold queries themselves; no model.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget an interrupted run instead of resuming it.")
    ] = False,
    model: Model = None,
    fleet: Fleet = None,
    as_json: Json = False,
) -> int:
    """Answer the questions of a pairs file, many at once, and score the rows they give."""
    from gangline.workflows.text_to_sql.evaluate import load_pairs, round_robin

    checked = _rule(rule)
    chosen = list(round_robin(load_pairs(pairs), limit))
    _check_databases(chosen, db_dir)
    begun = time.monotonic()
    if self_check:
        answers, settings = _gold_answers(chosen, db_dir, checked), {"answers": "gold"}
    else:
        answers, settings = _run(
            workflow, chosen, db_dir, checked, concurrency, fresh, model, fleet
        )
    return _finish(answers, settings, workflow, checked, time.monotonic() - begun, as_json)


def _rule(name: str) -> Rule:
    for rule in RULES:
        if rule == name:
            return rule  # type: ignore[return-value]
    raise UsageError(f"There is no rule {name!r}", next_step=f"Use one of: {', '.join(RULES)}.")


def _check_databases(pairs: list[Pair], db_dir: Path) -> None:
    from gangline.ir.errors import DatabaseError

    for name in sorted({pair.db for pair in pairs}):
        if not (db_dir / name).exists():
            raise DatabaseError(
                f"The database {name} of the pairs file is missing",
                where=str(db_dir / name),
                next_step="Check --db-dir.",
            )


def _gold_answers(pairs: list[Pair], db_dir: Path, rule: Rule) -> list[Scored]:
    from gangline.runtime.evaluation import scored

    return [
        scored(pair, {"output": {"sql": pair.gold[0]}, "steps": []}, db_dir, rule) for pair in pairs
    ]


def _run(
    name: str,
    pairs: list[Pair],
    db_dir: Path,
    rule: Rule,
    concurrency: int,
    fresh: bool,
    model: str | None,
    fleet: str | None,
) -> tuple[list[Scored], dict[str, Any]]:
    from gangline.runtime.api import open_session
    from gangline.runtime.evaluation import Progress, question_of, run_pairs, scored
    from gangline.runtime.folders import data_dir
    from gangline.runtime.session import Options, with_model
    from gangline.workflows.registry import load

    workflow = load(name)
    program = with_model(workflow.program(), model)
    models = sorted({s.attributes["model"] for s in program.stages if "model" in s.attributes})
    settings = {"program": program.hash, "models": models, "concurrency": concurrency}
    identity = {**settings, "rule": rule, "pairs": [pair.id for pair in pairs]}
    progress = Progress(data_dir("eval"), identity)
    if fresh:
        progress.clear()
    done = progress.done()
    left = [pair for pair in pairs if pair.id not in done]
    with open_session(fleet) as session, _Bar(len(pairs), done, progress) as bar:
        run_pairs(
            left,
            lambda pair: session.submit(
                workflow,
                {"question": question_of(pair), "db": str(db_dir / pair.db)},
                Options(model=model, source=name),
            ),
            partial(scored, db_dir=db_dir, rule=rule),
            concurrency=concurrency,
            on_scored=bar.add,
        )
    settings["resumed_questions"] = len(done)
    answers = [bar.rows[pair.id] for pair in pairs]
    progress.clear()
    return answers, settings


class _Bar:
    """Progress on stderr, and the answers as they come."""

    def __init__(self, total: int, done: dict[str, Scored], keep: Progress) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self.rows = dict(done)
        self._keep = keep
        self._err = console(stderr=True)
        self._total = total
        self._bars = Bars(
            *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
            TimeRemainingColumn(),
            console=self._err,
            disable=not self._err.is_terminal,
        )
        self._task = self._bars.add_task("answering", total=total, completed=len(done))

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def add(self, row: Scored) -> None:
        self.rows[row.id] = row
        self._keep.add(row)
        right = sum(kept.correct for kept in self.rows.values())
        share = f"{right}/{len(self.rows)} right"
        self._bars.update(self._task, advance=1, description=share)
        if not self._err.is_terminal:
            self._err.print(f"{len(self.rows)}/{self._total} {row.id}: {share}", markup=False)


def _finish(
    answers: list[Scored],
    settings: dict[str, Any],
    workflow: str,
    rule: str,
    seconds: float,
    as_json: bool,
) -> int:
    from gangline.runtime.evaluation import report

    model = ", ".join(settings.get("models", [])) or "gold"
    document = report(
        answers, model=model, workflow=workflow, rule=rule, seconds=seconds, settings=settings
    )
    if as_json:
        print_document(document)
        return 0
    out = console()
    out.print(
        f"{document['correct']}/{document['n']} right ({document['accuracy']:.1%}, {rule} rule), "
        f"{document['sql_errors']} without a result, {seconds:.0f} s",
        markup=False,
    )
    for row in answers:
        if not row.correct:
            out.print(f"  {row.id}: {row.error or row.sql}", markup=False, style="dim")
    return 0
