"""A home of its own for every command line, and models that are scripted."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gangline.backends.fake import FakeBackend
from gangline.ir.specs.fleet import Fleet
from gangline.runtime import api
from gangline.runtime.machine import default_backends

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A working folder with a small database; nothing of the user's own is touched."""
    for name in ("HOME", "CACHE"):
        monkeypatch.setenv(f"GANGLINE_{name}", str(tmp_path / name.lower()))
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(folder)
    database = sqlite3.connect(folder / "small.sqlite")
    database.execute("CREATE TABLE customer (id INTEGER PRIMARY KEY, country TEXT)")
    database.commit()
    database.close()
    yield folder
    api.close_sessions()


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model answers with one query, whatever it is asked."""

    def backends(fleet: Fleet, clock: Any) -> dict[str, FakeBackend]:
        ids = [device_id for device in fleet.devices for device_id in device.ids]
        return {device_id: FakeBackend({"": "SELECT id FROM customer"}) for device_id in ids}

    monkeypatch.setattr(default_backends, "default_backends", backends)
