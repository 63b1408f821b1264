"""What a server offers: workflows by name, registered databases only, wherever in an input they are."""

from __future__ import annotations

import asyncio
import threading
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


def test_a_database_is_described_as_a_choice_of_the_registered_names(shop: str) -> None:
    """So a form or a model can offer them; a name added later is offered, too."""
    offer = Offers([one_database]).find("one_database")
    assert offer.document()["inputs"][0]["schema"] == {"type": "string", "enum": ["shop"]}
    DATABASES.add("archive", "archive.sqlite")
    assert offer.document()["inputs"][0]["schema"]["enum"] == ["archive", "shop"]
    DATABASES.remove("archive")
    DATABASES.remove("shop")
    assert offer.document()["inputs"][0]["schema"] == {"type": "string"}


def test_a_program_is_compiled_once_and_off_the_loop() -> None:
    """Compiling loads the compiler: callers that come meanwhile share one, the loop goes on."""
    calls: list[int] = []

    class Slow:
        name = "slow"
        signature = one_database.signature

        def program(self) -> Any:
            calls.append(threading.get_ident())
            return one_database.program()

    async def main() -> None:
        offer = Offers().add(Slow())  # type: ignore[arg-type]
        assert not offer.is_compiled
        made = await asyncio.gather(*(offer.compiled() for _ in range(8)))
        assert len({id(program) for program in made}) == 1 and offer.is_compiled
        assert len(calls) == 1 and calls[0] != threading.get_ident()

    asyncio.run(main())
