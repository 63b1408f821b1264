"""Services over a store of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from gangline.backends.fake import FakeBackend
from gangline.runtime.service.service import Service, open_service
from gangline.runtime.service.settings import Settings
from tests.runtime.service.cases import CALLS, GATES, WORKFLOWS

Serve = Callable[..., AbstractAsyncContextManager[Service]]


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "jobs" / "jobs.sqlite"


@pytest.fixture
def serve(db: Path) -> Serve:
    """Open a service over the test's store; several may be open at once."""

    def make(settings: Settings | None = None, **options: Any) -> Any:
        quick = settings or Settings(control_every_s=0.02, claim_every_s=0.04)
        options.setdefault("store", db)
        options.setdefault("backends", {"cpu/0": FakeBackend()})
        return open_service(WORKFLOWS, settings=quick, **options)

    return make


@pytest.fixture
def gate() -> Any:
    """A gate that `hold` waits at; opened at the end at the latest."""
    made: list[threading.Event] = []

    def make(name: str) -> threading.Event:
        event = GATES[name] = threading.Event()
        made.append(event)
        return event

    CALLS.clear()
    yield make
    for event in made:
        event.set()
