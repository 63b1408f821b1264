"""What a server offers: workflows by name, registered databases only, wherever in an input they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

import gangline as gl
from gangline.ir.errors import GanglineError, InputError, NotFoundError
from gangline.runtime.service.offers import Offers
from gangline.workflows.databases import DATABASES


class Pair(BaseModel):
    left: gl.Database
    right: gl.Database | None = None


@gl.tool(effects="read")
def size(db: gl.Database) -> int:
    """Say something about a database."""
    return len(db)


@gl.tool(effects="read")
def sizes(dbs: list[gl.Database], pair: Pair, named: dict[str, gl.Database]) -> int:
    """Say something about databases."""
    return len(dbs)


@gl.workflow()
def one_database(db: gl.Database) -> int:
    """Of one database."""
    return size(db)


@gl.workflow()
def databases(dbs: list[gl.Database], pair: Pair, named: dict[str, gl.Database]) -> int:
    """Of many databases."""
    return sizes(dbs, pair, named)


@pytest.fixture
def shop(tmp_path: Any) -> Iterator[str]:
    DATABASES.add("shop", str(tmp_path / "shop.sqlite"))
    yield "shop"
    DATABASES.remove("shop")


@pytest.mark.parametrize("value", ("shop.sqlite", "/etc/passwd", "postgresql://x@y/z", ""))
def test_callers_name_databases_and_never_where_they_are(shop: str, value: str) -> None:
    offers = Offers([one_database, databases])
    assert offers.find("one_database").checked({"db": shop}) == {"db": shop}
    with pytest.raises(InputError) as caught:
        offers.find("one_database").checked({"db": value})
    assert not value or value not in caught.value.detail
    fine: dict[str, Any] = {"dbs": [shop], "pair": {"left": shop}, "named": {"x": shop}}
    many = offers.find("databases")
    many.checked(fine)
    for wrong in (
        {"dbs": [shop, value]},
        {"pair": {"left": value}},
        {"pair": {"left": shop, "right": value}},
        {"named": {"x": shop, "y": value}},
    ):
        with pytest.raises(InputError):
            many.checked({**fine, **wrong})


def test_what_is_not_offered_is_not_found(shop: str) -> None:
    offers = Offers([one_database])
    with pytest.raises(NotFoundError, match="one_database"):
        offers.find("databases")
    offer = offers.find("one_database")
    with pytest.raises(GanglineError):
        offer.program("no such model")
    assert offer.program() is offer.program()
    assert offer.document()["inputs"][0]["name"] == "db"
