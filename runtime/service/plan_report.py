"""Predicted against actual, per stage of one job, and how good such predictions have been."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gangline.ir.specs.plan import Plan, StagePlan

from .job_fold import JobFold, StageTotals, stage_status

if TYPE_CHECKING:
    from gangline.planner.calibration import Calibration


def plan_report(
    job_id: str, fold: JobFold, plan: Plan | None, calibration: Calibration | None
) -> dict[str, Any]:
    """Give the report (schema: docs/schemas/job_plan_report.json).

    Seconds and US dollars of a stage are per visit, so that stages of maps and loops compare;
    `visits` says how often it was expected to run and how often it did. `error` is
    (predicted - actual) / actual, null where either is not known.
    """
    rows = {row.stage: row for row in plan.stages} if plan else {}
    names = [*rows, *(name for name in fold.stages if name not in rows)]
    actual_s = fold.seconds if fold.stopped else None
    return {
        "job_id": job_id,
        "status": fold.status,
        "planned": plan is not None,
        "fleet": plan.fleet if plan else None,
        "critical_path": list(plan.critical_path) if plan else [],
        "predicted": {
            "seconds": plan.seconds if plan else None,
            "usd": plan.usd if plan else None,
        },
        "actual": {"seconds": actual_s, "usd": fold.usd},
        "error": {
            "seconds": _error(plan.seconds if plan else None, actual_s),
            "usd": _error(plan.usd if plan else None, fold.usd if fold.stopped else None),
        },
        "stages": [_stage(name, rows.get(name), fold) for name in names],
        "calibration": known_errors(plan, calibration),
    }


def _stage(name: str, row: StagePlan | None, fold: JobFold) -> dict[str, Any]:
    totals = fold.stages.get(name)
    predicted, actual = _predicted(row), _actual(totals)
    return {
        "stage": name,
        "op": row.op if row else (totals.op if totals else ""),
        "status": stage_status(totals, fold.stopped),
        "predicted": predicted,
        "actual": actual,
        "error": {
            "seconds": _error(*(_of(part, "seconds") for part in (predicted, actual))),
            "usd": _error(*(_of(part, "usd") for part in (predicted, actual))),
        },
    }


def _predicted(row: StagePlan | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {
        "device": row.device,
        "seconds": row.seconds,
        "low_s": row.low_s,
        "high_s": row.high_s,
        "usd": row.usd,
        "visits": row.visits,
        "rests_on": row.source,
    }


def _actual(totals: StageTotals | None) -> dict[str, Any] | None:
    if totals is None or not totals.ended:
        return None
    return {
        "device": ", ".join(sorted(totals.devices)),
        "seconds": totals.seconds / totals.ended,
        "usd": totals.usd / totals.ended,
        "visits": totals.ended,
    }


def known_errors(plan: Plan | None, calibration: Calibration | None) -> list[dict[str, Any]]:
    """Give how far predictions of the plan's ops were off, before and after calibration."""
    if plan is None or calibration is None:
        return []
    used = {row.op for row in plan.stages}
    return [asdict(report) for report in calibration.errors() if report.op in used]


def plan_document(
    plan: Plan | None,
    *,
    workflow: str,
    program_hash: str,
    percentiles: Mapping[str, float] | None,
    limits: tuple[float | None, float | None],
    calibration: Calibration | None,
    waiting: int,
    policy: Mapping[str, Any],
) -> dict[str, Any]:
    """Give what a job would take (schema: docs/schemas/job_plan.json); nothing was run.

    Args:
        percentiles: `p50_s` and `p95_s` of such jobs, waits on devices included.
        limits: seconds and US dollars the job may take.
        waiting: jobs of the caller that would go first.
        policy: what its policy says of it (`job_policy.verdict`).
    """
    reasons = misses(plan, *limits)
    seconds = {"seconds": plan.seconds if plan else None, "usd": plan.usd if plan else None}
    document = plan.to_json() if plan else {}
    return {
        "workflow": workflow,
        "program_hash": program_hash,
        "fleet": plan.fleet if plan else None,
        "deadline_s": limits[0],
        "budget_usd": limits[1],
        "predicted": {**seconds, "p50_s": None, "p95_s": None, **(percentiles or {})},
        "admission": {"feasible": not reasons, "reasons": reasons, "ahead": waiting},
        "policy": dict(policy),
        "stages": document.get("stages", []),
        "critical_path": document.get("critical_path", []),
        "calibration": known_errors(plan, calibration),
    }


def misses(plan: Plan | None, deadline_s: float | None, budget_usd: float | None) -> Sequence[str]:
    """Say which limits a plan is expected to miss, and by how much; nothing if none."""
    if plan is None:
        return []
    found = []
    if deadline_s is not None and plan.seconds > deadline_s:
        found.append(
            f"it is expected to take {plan.seconds:.3g} s, over its deadline of {deadline_s:.3g} s"
        )
    if budget_usd is not None and plan.usd > budget_usd:
        found.append(
            f"it is expected to cost ${plan.usd:.6f}, over its budget of ${budget_usd:.6f}"
        )
    return found


def _of(part: Mapping[str, Any] | None, name: str) -> float | None:
    return None if part is None else part[name]


def _error(predicted: float | None, actual: float | None) -> float | None:
    if predicted is None or not actual:
        return None
    return (predicted - actual) / actual
