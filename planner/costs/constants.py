"""Fitted constants of the cost model, read from the json files packaged beside this one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gangline.ir.errors import ConfigError

CONSTANTS_PATH = Path(__file__).with_name("constants")


@cache
def constants(name: str) -> Mapping[str, Any]:
    """Read `constants/<name>.json` once; ConfigError where there is none of that name."""
    path = CONSTANTS_PATH / f"{name}.json"
    if not path.is_file():
        raise ConfigError(
            f"No fitted constants are packaged for {name!r}",
            where=str(path),
            next_step=f"Run `python -m benchmarks.fit_cost_model --only {name}`.",
        )
    return MappingProxyType(json.loads(path.read_text(encoding="utf-8")))
