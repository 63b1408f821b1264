"""What every test gets: a data folder of its own, and the published schemas."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import referencing

SCHEMAS = Path(__file__).parents[1] / "docs" / "schemas"


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
