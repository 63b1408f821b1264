"""Make the profile that text_to_sql ships with, from real runs on this machine.

Questions over the example database are answered one by one; tokens, visits and the seconds of
tools go into `workflows/text_to_sql/profile.json`. Run it on a quiet machine:

    python -m benchmarks.make_profile [--model NAME] [--limit N] [--out FILE]
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path

TABLES = (
    ("customers", "country"),
    ("stores", "city"),
    ("employees", "job title"),
    ("products", "category"),
    ("suppliers", "country"),
    ("shipments", "carrier"),
    ("payments", "method"),
    ("orders", "channel"),
)
FORMS = (
    "How many {0} are there for each {1}?",
    "Which {1} has the most {0}?",
    "List five {0} with their {1}.",
)
HARDER = (
    "What was the total revenue of completed orders in each year?",
    "Which ten customers spent the most on Tents, and how much?",
    "What is the average number of days between order and delivery, by carrier?",
    "Which products were never reviewed?",
    "Name the suppliers whose products have an average rating below 3.",
    "How many orders of Gold customers were returned in 2024?",
    "What share of payments was made by paypal in each month of 2025?",
    "Which store in Munich sold the most Boots?",
    "Who manages the most employees in Austria?",
    "What is the profit per category, after the cost of products?",
    "Which customers ordered from three or more stores?",
    "How many Headlamps were sold in Switzerland in winter?",
)


def questions() -> list[str]:
    """Give the questions in an order that mixes the forms."""
    plain = [form.format(*names) for form, names in itertools.product(FORMS, TABLES)]
    mixed = itertools.zip_longest(plain[::2], HARDER, plain[1::2])
    return [question for row in mixed for question in row if question]


def main(arguments: list[str] | None = None) -> int:
    """Run the jobs and write the profile; 1 if too few succeeded."""
    from gangline.runtime.api import open_session
    from gangline.runtime.example_database import make_example_database
    from gangline.runtime.folders import cache_dir
    from gangline.runtime.profiles import profile_of, write_profile
    from gangline.runtime.session import Options
    from gangline.workflows.text_to_sql import text_to_sql

    root = Path(__file__).parents[1]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="qwen2.5-coder-1.5b")
    parser.add_argument("--limit", type=int, default=36)
    parser.add_argument("--out", type=Path, default=root / "workflows/text_to_sql/profile.json")
    options = parser.parse_args(arguments)
    database = make_example_database(cache_dir("example") / "retailer.sqlite")
    results = []
    with open_session() as session:
        for number, question in enumerate(questions()[: options.limit], start=1):
            inputs = {"question": question, "db": str(database)}
            result = session.run(text_to_sql, inputs, Options(model=options.model))
            results.append(result)
            print(f"{number}: {result.status}, {result.actual.seconds:.1f} s", file=sys.stderr)
    profile = profile_of(results)
    note = (
        f"{profile.num_jobs} questions over the example database, one by one, {options.model} on "
        "a CPU; the schema's prompt was in the prefix cache from the second question on"
    )
    write_profile(options.out, profile, "text_to_sql", note)
    print(json.dumps({"jobs": profile.num_jobs, "out": str(options.out)}))
    return 0 if profile.num_jobs >= options.limit // 2 else 1


if __name__ == "__main__":
    sys.exit(main())
