"""The error tree of gangline, one class per phase, each with a stable code.

    GanglineError                   gangline
    ├── UsageError                  usage             a command, option or argument is wrong
    │   ├── InputError              input             a workflow's input is missing or of a wrong type
    │   └── ConfigError             config            a fleet, device or model file is wrong
    │       └── UnsupportedFormatError  unsupported_format  a device lacks a number format
    ├── TraceError                  trace             a workflow cannot be traced
    ├── VerifyError                 verify            a module breaks a rule of the op table
    │   └── VersionError            version           a module or program is too new to be read
    ├── LoweringError               lowering          a module cannot be lowered or decoded
    ├── PlanError                   plan              no placement could be made
    │   └── InfeasibleError         infeasible        no placement meets the deadline or budget
    ├── PolicyError                 policy            a graph or plan does what its policy forbids
    ├── ModelError                  model             a model is unknown, absent or cannot be read
    │   ├── DownloadError           download          no source could deliver the file
    │   └── CorruptWeightsError     corrupt_weights   a weight file does not match its sha256
    ├── DatabaseError               database          a database is missing or cannot be opened
    ├── BackendError                backend           a device or engine failed
    │   └── BackendUnavailable      unavailable       a needed package or device is absent
    ├── JobError                    job               a job failed
    │   ├── StepError               step              a tool or stage raised
    │   ├── StepTimeout             timeout           a step ran out of time
    │   ├── BudgetError             budget            the job would overspend
    │   ├── DeadlineError           expired           a hard deadline passed
    │   └── JobCancelled            cancelled         somebody cancelled the job
    ├── StoreError                  store             the job store refused or cannot be written
    │   ├── LeaseLost               lease             another owner runs this job
    │   └── Unstorable              unstorable        what is to be stored is no JSON
    └── ServiceError                service           the service refuses or could not answer
        ├── RequestError            request           a request's body or parameter is wrong
        ├── TooLargeError           too_large         a payload or a result is over a limit
        ├── AuthenticationError     unauthenticated   no key, or one that is not known
        ├── ForbiddenError          forbidden         the key does not allow this
        ├── NotFoundError           not_found         there is no such job, workflow or route
        ├── ConflictError           conflict          the job's state does not allow this now
        ├── IdempotencyError        idempotency       the key was used with another body
        ├── QuotaError              quota             the tenant's quota is used up
        ├── AdmissionError          rejected          the job cannot meet its deadline or budget
        └── OverloadedError         overloaded        the server has no room or is stopping

Every message says what happened; `where` says file:line, op, stage or device; `next_step`
says what to do. The same three are printed by the CLI and sent as problem+json by REST.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class GanglineError(Exception):
    """Base of every error gangline raises on purpose."""

    code: ClassVar[str] = "gangline"
    title: ClassVar[str] = "gangline could not go on"

    def __init__(self, detail: str, *, where: str = "", next_step: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.where = where
        self.next_step = next_step

    def __str__(self) -> str:
        at = f" (at {self.where})" if self.where else ""
        then = f" {self.next_step}" if self.next_step else ""
        return (
            f"{self.detail}{at}.{then}"
            if not self.detail.endswith(".")
            else (f"{self.detail[:-1]}{at}.{then}")
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.detail, self.where, self.next_step))

    def to_json(self) -> dict[str, str]:
        """Give the `error` object of a `--json` document or a problem+json body."""
        return {
            "code": self.code,
            "title": self.title,
            "detail": self.detail,
            "where": self.where,
            "next_step": self.next_step,
        }


def _rebuild(kind: type[GanglineError], detail: str, where: str, next_step: str) -> GanglineError:
    return kind(detail, where=where, next_step=next_step)


class UsageError(GanglineError):
    code = "usage"
    title = "The command or call is wrong"


class InputError(UsageError):
    code = "input"
    title = "An input of the workflow is wrong"


class ConfigError(UsageError):
    code = "config"
    title = "A configuration file is wrong"


class UnsupportedFormatError(ConfigError):
    code = "unsupported_format"
    title = "The device lacks the number format"


class TraceError(GanglineError):
    code = "trace"
    title = "The workflow cannot be traced"


class VerifyError(GanglineError):
    code = "verify"
    title = "The module is not valid"


class VersionError(VerifyError):
    code = "version"
    title = "The version is not known"


class LoweringError(GanglineError):
    code = "lowering"
    title = "The module cannot be lowered"


class PlanError(GanglineError):
    code = "plan"
    title = "No plan could be made"


class InfeasibleError(PlanError):
    """No placement is good enough; `advice` says in numbers what would be."""

    code = "infeasible"
    title = "No placement meets the objective"

    def __init__(
        self,
        detail: str,
        *,
        where: str = "",
        next_step: str = "",
        advice: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail, where=where, next_step=next_step)
        self.advice = dict(advice or {})

    def to_json(self) -> dict[str, Any]:
        """Give the `error` object, with the advice if there is any."""
        document: dict[str, Any] = dict(super().to_json())
        return {**document, "advice": self.advice} if self.advice else document


class PolicyError(GanglineError):
    """`findings` are the documents of what was found (`ir.specs.finding.Finding.to_json`)."""

    code = "policy"
    title = "The policy does not allow it"

    def __init__(
        self,
        detail: str,
        *,
        where: str = "",
        next_step: str = "",
        findings: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(detail, where=where, next_step=next_step)
        self.findings = tuple(findings)

    def to_json(self) -> dict[str, Any]:
        """Give the `error` object, with the findings if there are any."""
        document: dict[str, Any] = dict(super().to_json())
        return {**document, "findings": list(self.findings)} if self.findings else document


class ModelError(GanglineError):
    code = "model"
    title = "The model cannot be used"


class DownloadError(ModelError):
    code = "download"
    title = "The model could not be downloaded"


class CorruptWeightsError(ModelError):
    code = "corrupt_weights"
    title = "The weight file is damaged"


class DatabaseError(GanglineError):
    code = "database"
    title = "The database cannot be used"


class BackendError(GanglineError):
    code = "backend"
    title = "A device failed"


class BackendUnavailable(BackendError):
    code = "unavailable"
    title = "A device or package is absent"


class JobError(GanglineError):
    code = "job"
    title = "The job failed"


class StepError(JobError):
    code = "step"
    title = "A step failed"


class StepTimeout(JobError):
    code = "timeout"
    title = "A step ran out of time"


class BudgetError(JobError):
    code = "budget"
    title = "The budget is spent"


class DeadlineError(JobError):
    code = "expired"
    title = "The deadline passed"


class JobCancelled(JobError):
    code = "cancelled"
    title = "The job was cancelled"


class StoreError(GanglineError):
    code = "store"
    title = "The job store failed"


class LeaseLost(StoreError):
    code = "lease"
    title = "Another owner runs this job"


class Unstorable(StoreError):
    """It never will be stored, however often it is tried."""

    code = "unstorable"
    title = "What is to be stored is no JSON"


class ServiceError(GanglineError):
    """`retry_after_s` says when it is worth trying again; None where it is not known."""

    code = "service"
    title = "The service could not answer"

    def __init__(
        self,
        detail: str,
        *,
        where: str = "",
        next_step: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail, where=where, next_step=next_step)
        self.retry_after_s = retry_after_s


class RequestError(ServiceError):
    code = "request"
    title = "The request is wrong"


class TooLargeError(ServiceError):
    code = "too_large"
    title = "The payload is too large"


class AuthenticationError(ServiceError):
    code = "unauthenticated"
    title = "The caller is not known"


class ForbiddenError(ServiceError):
    code = "forbidden"
    title = "The key does not allow this"


class NotFoundError(ServiceError):
    code = "not_found"
    title = "There is no such thing"


class ConflictError(ServiceError):
    code = "conflict"
    title = "The job's state does not allow this"


class IdempotencyError(ServiceError):
    code = "idempotency"
    title = "The idempotency key was used before"


class QuotaError(ServiceError):
    code = "quota"
    title = "The quota is used up"


class AdmissionError(ServiceError):
    code = "rejected"
    title = "The job was not admitted"


class OverloadedError(ServiceError):
    code = "overloaded"
    title = "The server has no room"


def _walk(kind: type[GanglineError]) -> list[type[GanglineError]]:
    return [kind] + [found for child in kind.__subclasses__() for found in _walk(child)]


def from_json(data: dict[str, str]) -> GanglineError:
    """Rebuild an error from `to_json`; an unknown code gives the base class."""
    kinds = {kind.code: kind for kind in _walk(GanglineError)}
    kind = kinds.get(data.get("code", ""), GanglineError)
    return kind(
        data.get("detail", ""),
        where=data.get("where", ""),
        next_step=data.get("next_step", ""),
    )
