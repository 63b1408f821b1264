"""Error replies become typed errors, whoever wrote them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from gangline.ir.errors import (
    AuthenticationError,
    GanglineError,
    InputError,
    NotFoundError,
    OverloadedError,
    QuotaError,
    RequestError,
    ServiceError,
    _walk,
)
from gangline.runtime.client.call import Reply
from gangline.runtime.client.problems import error_of, failure_of


@pytest.mark.parametrize("kind", _walk(GanglineError), ids=lambda kind: kind.code)
def test_every_error_comes_back_as_itself(kind: type[GanglineError]) -> None:
    told = kind("what", where="here", next_step="do this")
    found = error_of(Reply(422, {}, {**told.to_json(), "status": 422, "retryable": False}))
    assert type(found) is kind
    assert (found.detail, found.where, found.next_step) == ("what", "here", "do this")


@pytest.mark.parametrize(
    ("status", "document", "kind"),
    [
        (401, None, AuthenticationError),
        (404, "<html>", NotFoundError),
        (429, {"message": "slow down"}, QuotaError),
        (418, None, ServiceError),
        (302, None, ServiceError),
        (422, {"code": 7}, RequestError),
        (503, [], OverloadedError),
        (422, {"code": "input", "detail": 5, "title": "An input"}, InputError),
        (500, {"code": "from the future", "detail": "x"}, GanglineError),
    ],
)
def test_any_body_will_do(status: int, document: Any, kind: type[GanglineError]) -> None:
    found = error_of(Reply(status, {}, document))
    assert type(found) is kind
    assert found.detail


@pytest.mark.parametrize(
    ("status", "document", "transient", "untouched"),
    [
        (429, None, True, True),
        (503, None, True, True),
        (500, None, True, False),
        (502, None, True, False),
        (504, None, True, False),
        (400, None, False, False),
        (404, {"code": "not_found", "detail": "x", "retryable": True}, False, False),
        (429, {"code": "quota", "detail": "x", "retryable": False}, False, True),
        (500, {"code": "gangline", "detail": "x", "retryable": False}, False, False),
    ],
)
def test_what_may_be_tried_again(
    status: int, document: Any, transient: bool, untouched: bool
) -> None:
    found = failure_of(Reply(status, {}, document))
    assert (found.transient, found.untouched) == (transient, untouched)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("0.5", 0.5), ("-3", 0.0), ("soon", None), ("nan", None), ("inf", None)],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    found = failure_of(Reply(429, {"retry-after": value}, None))
    assert found.retry_after_s == seconds
    assert isinstance(found.error, QuotaError)
    assert found.error.retry_after_s == seconds


def test_retry_after_as_a_date() -> None:
    then = datetime.now(UTC) + timedelta(seconds=90)
    found = failure_of(Reply(503, {"retry-after": format_datetime(then, usegmt=True)}, None))
    assert found.retry_after_s == pytest.approx(90, abs=5)
