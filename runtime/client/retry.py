"""When a failed request is sent again, and after how long."""

from __future__ import annotations

from dataclasses import dataclass

from .call import Failure


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).

    Attributes:
        max_attempts: how often one request is sent at most. Eight take about 6 s, in which a
            server has started again.
        patient_attempts: the same for what waits for a job anyway: its events, its end.
        base_s: the first delay lies between 0 and this; the bound doubles with every attempt.
        cap_s: no bound is longer.
        patience_s: a server that asks for more time than this is not waited for.
    """

    max_attempts: int = 8
    patient_attempts: int = 40
    base_s: float = 0.1
    cap_s: float = 5.0
    patience_s: float = 30.0

    def delay(
        self,
        failure: Failure,
        attempt: int,
        draw: float,
        *,
        repeatable: bool = True,
        patient: bool = False,
    ) -> float | None:
        """Give the seconds to wait before the next attempt, or None if there is to be none.

        Args:
            attempt: how often the request has been sent, from 1.
            draw: a random number in [0, 1).
            repeatable: the request may be done twice without harm.
            patient: the caller waits for a job, and would rather wait than be told.
        """
        most = max(self.max_attempts, self.patient_attempts) if patient else self.max_attempts
        if not failure.transient or attempt >= most:
            return None
        if not (repeatable or failure.untouched):
            return None
        jitter = draw * min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, 30))
        if failure.retry_after_s is None:
            return jitter
        if failure.retry_after_s > self.patience_s:
            return None
        return failure.retry_after_s + jitter
