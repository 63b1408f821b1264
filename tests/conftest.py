"""What every test gets: a data folder of its own, and the published schemas."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import referencing

from tests.postgres_server import PostgresServer, Unavailable

SCHEMAS = Path(__file__).parents[1] / "docs" / "schemas"


@pytest.fixture(scope="session", autouse=True)
def shared_data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give what several tests share a data folder too: never the one of who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANGLINE_HOME", str(tmp_path_factory.mktemp("shared-home")))
        yield


@pytest.fixture(autouse=True)
def own_data_folder(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Point GANGLINE_HOME to an empty folder; models and probes stay where they are."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("GANGLINE_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def validate() -> Callable[[str, Any], None]:
    """Validate a document against a published schema by name; raises ValidationError."""
    schemas = {path.stem: json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")}
    registry: Any = referencing.Registry().with_resources(
        (f"{name}.json", referencing.Resource.from_contents(schema))
        for name, schema in schemas.items()
    )

    def check(name: str, document: Any) -> None:
        jsonschema.Draft202012Validator(schemas[name], registry=registry).validate(document)

    return check


_without_postgres: list[str] = []


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL for the whole run; skips without one, or fails if GANGLINE_NEED_POSTGRES."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    try:
        server = PostgresServer()
    except Unavailable as error:
        if os.environ.get("GANGLINE_NEED_POSTGRES"):
            raise
        _without_postgres.append(str(error))
        pytest.skip(str(error))
    with server:
        yield server


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say aloud that what runs on PostgreSQL was not tested."""
    for reason in _without_postgres[:1]:
        terminalreporter.section("PostgreSQL was not tested")
        terminalreporter.line(f"{reason}: install it (Debian: apt-get install postgresql)")
