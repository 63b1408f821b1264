"""Stores on both databases: every test that takes `url` or `store` runs on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gangline.ir.specs.event import Event
from gangline.runtime.store import Store, open_store


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store's address, empty; a second store may be opened on it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'home' / 'jobs.sqlite'}"
    return str(request.getfixturevalue("postgres_server").new_schema())


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with open_store(url) as opened:
        yield opened


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "home" / "jobs.sqlite") as opened:
        yield opened


@pytest.fixture
def queued() -> Callable[..., Event]:
    """Make a first event: `queued(job_id, at_s, **data)`."""

    def make(job_id: str = "a", at_s: float = 100.0, **data: Any) -> Event:
        return Event(job_id, 1, "job.queued", at_s, "", data)

    return make
