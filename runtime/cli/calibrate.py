"""`gangline calibrate`: measure this machine's devices and correct the cost model by it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import console, print_document
from .run_command import Fleet, Json

if TYPE_CHECKING:
    from gangline.ir.specs import fleet as fleets
    from gangline.planner.calibration import Calibration
    from gangline.runtime.calibration_runs import MeasuredRun


def calibrate(
    fleet: Fleet = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Measure with this model; it must be here.")
    ] = None,
    from_history: Annotated[
        bool, typer.Option("--from-history", help="Learn from stored jobs; run nothing.")
    ] = False,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often to measure.")] = 2,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what was learned before.")] = False,
    as_json: Json = False,
) -> None:
    """Measure the fleet's devices on this machine; predictions are corrected by what they took."""
    from gangline.runtime.api import open_fleet
    from gangline.runtime.history import History

    opened, history = open_fleet(fleet), History()
    if from_history:
        rows = _stored(opened)
    else:
        chosen = model or _present_model()
        rows = [measured.row for measured in _measured(opened, chosen, rounds)]
    if fresh:
        history.forget()
    known = history.calibrate(rows)
    if as_json:
        print_document(_document(known, len(rows)))
    else:
        _print(known, len(rows))


def _present_model() -> str:
    """Give the first known model whose file is here; ModelError if there is none."""
    from gangline.ir.errors import ModelError
    from gangline.runtime.machine.models import catalogue, is_present

    here = [spec for spec in catalogue().values() if is_present(spec)]
    if not here:
        raise ModelError(
            "No model is on this machine to measure with",
            next_step="Fetch one with `gangline models pull smollm2-135m`.",
        )
    return max(here, key=lambda spec: spec.params).name


def _stored(opened: fleets.Fleet) -> list[Any]:
    from gangline.runtime.calibration_runs import stored_runs
    from gangline.runtime.machine.models import catalogue
    from gangline.runtime.store import Store

    with Store() as store:
        return stored_runs(store, opened, catalogue())


def _measured(opened: fleets.Fleet, model: str, rounds: int) -> list[MeasuredRun]:
    from gangline.runtime.calibration_runs import measure
    from gangline.runtime.clock import WallClock
    from gangline.runtime.machine.default_backends import default_backends
    from gangline.runtime.machine.models import catalogue, find, verified_path

    verified_path(find(model))
    clock = WallClock()
    backends = default_backends(opened, clock)
    try:
        return measure(
            opened, backends, model, catalogue(), rounds=rounds, clock=clock.now, on_measured=_tell
        )
    finally:
        for backend in backends.values():
            backend.close()


def _tell(row: MeasuredRun) -> None:
    told = f"{row.key.device} {row.key.op} {row.key.bucket}: {row.actual_s:.3f} s"
    console(stderr=True).print(f"{told} (modelled {row.modelled_s:.3f} s)", markup=False)


def _document(known: Calibration, num_new: int) -> dict[str, Any]:
    return {
        "status": "succeeded",
        "new_runs": num_new,
        "errors": [asdict(report) for report in known.errors()],
        "calibration": known.to_json(),
    }


def _print(known: Calibration, num_new: int) -> None:
    from .plan import error_lines

    out = console()
    out.print(f"{num_new} new runs", markup=False)
    for line in error_lines(known.errors()):
        out.print(line, markup=False)
