"""What every test gets: a data folder of its own, so that none touches the user's jobs."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_data_folder(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Point GANGLINE_HOME to an empty folder; models and probes stay where they are."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("GANGLINE_HOME", str(folder))
    return folder
