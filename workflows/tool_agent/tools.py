"""The bundled tools: a calculator, units, and lookups in the example database."""

from __future__ import annotations

import threading
from typing import Any, Literal

from pydantic import BaseModel

from gangline.ir.errors import InputError, StepError
from gangline.workflows.cancel_token import on_cancel
from gangline.workflows.decorators import tool
from gangline.workflows.text_to_sql.sandbox import Limits, default_sandbox
from gangline.workflows.values import Database

from . import calculator, settings, units

_SHORT_WORD = 3
Status = Literal["completed", "returned", "cancelled"]


class Customer(BaseModel):
    """A customer, with what he or she has ordered."""

    name: str
    city: str
    country: str
    loyalty_tier: str
    orders: int
    spent: float


class Product(BaseModel):
    """A product, with how many were sold."""

    name: str
    category: str
    price: float
    sold: int


class Found(BaseModel):
    """A product that a search found."""

    name: str
    price: float


@tool(effects="none", timeout=5.0)
def calculate(expression: str) -> int | float:
    """Work out an arithmetic expression, such as (2 + 3) * 4 or sqrt(2)."""
    return calculator.evaluate(expression)


@tool(effects="none", timeout=5.0)
def convert(value: float, unit_from: units.Unit, unit_to: units.Unit) -> float:
    """Convert a value to another unit (C, F and K are temperatures)."""
    return units.converted(value, unit_from, unit_to)


@tool(effects="read", timeout=20.0)
def find_customer(name: str, db: Database) -> Customer:
    """Look up one customer of the shop by name: city, country, number of orders, money spent."""
    rows = _rows(
        db,
        f"""SELECT c.name, c.city, c.country, c.loyalty_tier, COUNT(o.order_id),
        COALESCE(SUM(o.total), 0) FROM customer c LEFT JOIN orders o USING (customer_id)
        WHERE c.name LIKE {_like(name)} ESCAPE '\\' GROUP BY c.customer_id
        ORDER BY length(c.name), c.customer_id""",
    )
    if not rows:
        raise _nothing(f"no customer is named {name!r}")
    return Customer(**dict(zip(Customer.model_fields, rows[0], strict=True)))


@tool(effects="read", timeout=20.0)
def find_product(name: str, db: Database) -> Product:
    """Look up one product of the shop by its name: category, price, how many were sold."""
    rows = _rows(
        db,
        f"""SELECT p.name, c.name, p.price, COALESCE(SUM(i.quantity), 0) FROM product p
        JOIN category c USING (category_id) LEFT JOIN order_item i USING (product_id)
        WHERE p.name || ' ' || c.name LIKE {_like(_singular(name))} ESCAPE '\\' GROUP BY p.product_id
        ORDER BY length(p.name), p.product_id""",
    )
    if not rows:
        raise _nothing(f"no product is named {name!r}")
    return Product(**dict(zip(Product.model_fields, rows[0], strict=True)))


@tool(effects="read", timeout=20.0)
def count_orders(
    db: Database,
    country: str | None = None,
    year: int | None = None,
    status: Status | None = None,
) -> int:
    """Count orders of the shop; country is the customer's, in English."""
    tests = ["1"]
    if country is not None:
        tests.append(f"lower(c.country) = lower({_quoted(country)})")
    if year is not None:
        tests.append(f"o.ordered_on LIKE '{int(year):04d}-%'")
    if status is not None:
        tests.append(f"o.status = {_quoted(status)}")
    joined = "orders o JOIN customer c USING (customer_id)"
    rows = _rows(db, f"SELECT COUNT(*) FROM {joined} WHERE {' AND '.join(tests)}")
    return int(rows[0][0])


@tool(effects="read", timeout=20.0)
def search_catalogue(words: str, db: Database) -> list[Found]:
    """Search the catalogue for products, cheapest first. Slow, as a search elsewhere would be."""
    woken = threading.Event()
    with on_cancel(woken.set):
        if woken.wait(settings.SEARCH_S):
            return []
    tests = " AND ".join(
        f"p.name || ' ' || c.name LIKE {_like(_singular(w))} ESCAPE '\\'" for w in words.split()
    )
    rows = _rows(
        db,
        f"""SELECT p.name, p.price FROM product p JOIN category c USING (category_id)
        WHERE {tests or "1"} ORDER BY p.price, p.product_id""",
    )
    return [Found(name=name, price=price) for name, price in rows]


BUNDLED = (calculate, convert, count_orders, search_catalogue, find_product, find_customer)


def _rows(db: str, sql: str) -> tuple[tuple[Any, ...], ...]:
    """Run one query of ours, read-only, in a child process."""
    outcome = default_sandbox().run(db, sql, Limits(max_rows=settings.MAX_LOOKUP_ROWS))
    if not outcome.ok:
        raise StepError(f"The lookup failed: {outcome.error}", where=db)
    return outcome.rows


def _quoted(text: str) -> str:
    """Write text as an SQL literal; a NUL would end it early."""
    return "'" + text.replace("'", "''").replace("\x00", "") + "'"


def _like(text: str) -> str:
    """Write a pattern for LIKE ... ESCAPE '\\' that finds the text anywhere."""
    escaped = text.strip()
    for mark in ("\\", "%", "_"):
        escaped = escaped.replace(mark, f"\\{mark}")
    return _quoted(f"%{escaped}%")


def _singular(text: str) -> str:
    """Take the plural from the last word, so that ropes are found in a shop that has a rope."""
    word = text.strip()
    ends = word.lower().endswith("s") and not word.lower().endswith("ss")
    return word[:-1] if ends and len(word.split()[-1]) > _SHORT_WORD else word


def _nothing(detail: str) -> InputError:
    return InputError(
        detail, where="name", next_step="Try a part of the name, or search_catalogue for products."
    )
