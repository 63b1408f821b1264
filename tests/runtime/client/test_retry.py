"""Which failures are worth another attempt, and when."""

from __future__ import annotations

import math

import pytest

from gangline.ir.errors import ServiceError
from gangline.runtime.client.call import Failure
from gangline.runtime.client.retry import RetryPolicy

ERROR = ServiceError("x")
LOST = Failure(ERROR, transient=True)
REFUSED = Failure(ERROR, transient=True, untouched=True)
POLICY = RetryPolicy(max_attempts=4, base_s=0.1, cap_s=0.25, patience_s=10.0)


def test_delays_double_up_to_the_cap_and_are_drawn() -> None:
    bounds = [POLICY.delay(LOST, attempt, 1.0) for attempt in (1, 2, 3)]
    assert bounds == pytest.approx([0.1, 0.2, 0.25])
    assert [POLICY.delay(LOST, attempt, 0.0) for attempt in (1, 2, 3)] == [0.0, 0.0, 0.0]


def test_attempts_are_counted() -> None:
    assert POLICY.delay(LOST, 4, 0.5) is None


@pytest.mark.parametrize(
    ("failure", "repeatable", "again"),
    [
        (LOST, True, True),
        (LOST, False, False),  # nobody knows whether it was done
        (REFUSED, False, True),
        (REFUSED, True, True),
        (Failure(ERROR), True, False),
        (Failure(ERROR, untouched=True), True, False),
    ],
)
def test_only_what_is_safe_is_repeated(failure: Failure, repeatable: bool, again: bool) -> None:
    assert (POLICY.delay(failure, 1, 0.5, repeatable=repeatable) is not None) is again


def test_the_server_says_when() -> None:
    asked = Failure(ERROR, True, True, retry_after_s=3.0)
    assert POLICY.delay(asked, 1, 0.0) == 3.0
    assert 3.0 < (POLICY.delay(asked, 1, 0.9) or math.nan) <= 3.1


def test_a_long_wait_is_left_to_the_caller() -> None:
    assert POLICY.delay(Failure(ERROR, True, True, retry_after_s=10.5), 1, 0.0) is None
