"""Why a job stops, in words."""

from __future__ import annotations

from gangline.ir.errors import (
    BudgetError,
    ConflictError,
    DeadlineError,
    JobError,
    StepTimeout,
    StoreError,
)


def deadline_error(job_id: str) -> DeadlineError:
    """Say that a job has ended because its deadline passed."""
    return DeadlineError(
        "The job's deadline passed, and it was asked to end then",
        where=f"job {job_id}",
        next_step='Give it more time, or let it finish late with on_deadline="late".',
    )


def expired_before(job_id: str) -> ConflictError:
    """Say that a job that has ended cannot go on, because its hard deadline is over."""
    return ConflictError(
        "The job's deadline has passed, and it was asked to end then",
        where=f"job {job_id}",
        next_step="Fork it with another deadline.",
    )


def incomplete_fork(job_id: str) -> StoreError:
    """Say that a fork would repeat recorded steps, because some of them were not stored."""
    return StoreError(
        f"Job {job_id} is a fork whose recorded steps were not all stored",
        next_step="Fork the job again.",
    )


def broken_log(job_id: str, step_id: str) -> StoreError:
    """Say that a log ends a step that it never began."""
    return StoreError(
        f"The log of job {job_id} ends step {step_id!r}, which is not running",
        next_step="Run the job again; this one cannot be continued.",
    )


def overspend(spent_usd: float, next_usd: float, budget_usd: float, step_id: str) -> BudgetError:
    """Say that the next step would cost more than is left."""
    return BudgetError(
        f"The job has spent ${spent_usd:.6f} and its next step is expected to cost "
        f"${next_usd:.6f}, over its budget of ${budget_usd:.6f}",
        where=f"step {step_id}",
        next_step="Raise the budget with --budget-usd, or plan for a cheaper device.",
    )


def unknown_effect(tool: str, step_id: str) -> JobError:
    """Ask what became of a write that was in flight when its job stopped."""
    return JobError(
        f"The tool {tool!r} writes, and the job stopped while it ran. Whether its effect "
        "happened is not known",
        where=f"step {step_id}",
        next_step="Check what it did, then retry the job and confirm that this step may run again:"
        f" gangline jobs retry ... --rerun '{step_id}'",
    )


def unended(tool: str, where: str) -> StepTimeout:
    """Say that a write is waited for no longer, though its effect may still come."""
    return StepTimeout(
        f"{tool} went on after its job was told to end. Whether its effect happened is not known",
        where=where,
        next_step="Check what it did. A tool that looks at gl.cancelled() ends in time.",
    )


def unanswered(job_id: str, question: str, step_id: str) -> JobError:
    """Say that a job waits for a person's answer."""
    return JobError(
        f"The job waits for an answer: {question}",
        where=f"step {step_id}",
        next_step=f"Answer it: gangline jobs resume {job_id} --interrupt '{step_id}' ANSWER",
    )
