"""`make run`: three questions over the example database, from nothing to a table of stages."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from gangline.ir.errors import GanglineError

from .cli.models import pull_with_progress
from .cli.output import console, exit_code, print_error
from .cli.progress import JobProgress
from .cli.run_command import print_job
from .example_database import example_database
from .machine.probe import detect, probe

QUESTIONS = (
    "How many customers are there in each country?",
    "Which five stores have the most employees?",
    "Which product category has the highest average review rating?",
)
SMALL_MODEL_WORD = (
    "smollm2-135m runs anywhere, but it is far too small for SQL: expect valid queries that "
    "answer another question. The default, qwen2.5-coder-1.5b, is the one to judge by."
)


def main(arguments: list[str] | None = None) -> int:
    """Answer the questions; exit codes as the `gangline` command."""
    parser = argparse.ArgumentParser(description="Answer three questions over an example database.")
    parser.add_argument("--model", default="qwen2.5-coder-1.5b")
    parser.add_argument("--debug", action="store_true")
    options = parser.parse_args(arguments)
    try:
        return answer_all(options.model)
    except KeyboardInterrupt:
        return 130
    except GanglineError as error:
        if options.debug:
            raise
        print_error(error, as_json=False)
        return exit_code(error)


def answer_all(model: str) -> int:
    """Bring the model and the database, then ask; 0 if every job succeeded."""
    from .api import open_session
    from .session import Options

    err = console(stderr=True)
    pull_with_progress(model)
    if model.startswith("smollm2"):
        err.print(SMALL_MODEL_WORD, style="yellow")
    if detect().source.startswith("detected"):
        err.print("measuring this machine once, for predictions (about ten seconds)", style="dim")
        probe()
    err.print("making the example database (12 tables, about 100,000 rows)", style="dim")
    database = example_database()
    from gangline.workflows.text_to_sql import text_to_sql

    failed = 0
    with open_session() as session:
        for question in QUESTIONS:
            err.print()
            console().print(question, style="bold", markup=False)
            inputs = {"question": question, "db": str(database)}
            with JobProgress("text_to_sql") as progress:
                options = Options(model=model, source="text_to_sql")
                result = session.run(text_to_sql, inputs, options, progress)
            print_job(result.to_json())
            failed += result.status != "succeeded"
    # Whole, to be copied: the command may not be on the path, and the database lies in a cache.
    command = Path(os.path.relpath(Path(sys.executable).with_name("gangline")))
    ask = f'{command} run text_to_sql -i question="..." -i db={database}'
    page = f"{command} serve --database shop={database}"
    told = f"Next, your own question:\n{ask}\nOr as a service, with a page to ask on:\n{page}"
    err.print(told, style="dim", markup=False, soft_wrap=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
