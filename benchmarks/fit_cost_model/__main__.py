"""Fit the cost model's constants: `python -m benchmarks.fit_cost_model [--only gemm,linear]`.

Writes `planner/costs/constants/<name>.json`, the same bytes on every run. `--score` prints the
leave-one-device-out errors instead.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from gangline.planner.costs.constants import CONSTANTS_PATH

NAMES = ("gemm", "linear", "attention", "collective", "tools", "throughput", "deployment")


def modules(names: Sequence[str]) -> dict[str, ModuleType]:
    """Import the fitting modules that exist among `names`."""
    found = {name: f"{__package__}.{name}" for name in names}
    present = {name: path for name, path in found.items() if importlib.util.find_spec(path)}
    return {name: importlib.import_module(path) for name, path in present.items()}


def to_text(constants: Any) -> str:
    """Write constants as json that does not change from run to run: six digits, sorted keys."""
    return json.dumps(_rounded(constants), indent=1, sort_keys=True) + "\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit and write, or score and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(NAMES), help="comma-separated operations")
    parser.add_argument("--score", action="store_true", help="print leave-one-device-out errors")
    chosen = parser.parse_args(arguments)
    for name, module in modules(chosen.only.split(",")).items():
        if chosen.score:
            for row in module.score():
                print(json.dumps(_rounded(row)))
            continue
        path = CONSTANTS_PATH / f"{name}.json"
        path.write_text(to_text(module.fit()), encoding="utf-8")
        print(f"{path.name}: written")


if __name__ == "__main__":
    main()
