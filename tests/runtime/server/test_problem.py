"""Errors as callers see them."""

from __future__ import annotations

import json

import pytest

from gangline.ir.errors import LeaseLost, NotFoundError, StoreError
from gangline.runtime.server.problem import problem, problem_document


def test_callers_do_not_learn_where_the_store_is_or_why_it_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its address, its user and its paths are the operator's; that it may pass is the caller's."""
    error = StoreError(
        "connection to 10.0.0.7 failed",
        where="postgresql://admin@db",
        next_step="Check its rights.",
    )
    with caplog.at_level("WARNING", logger="gangline.runtime.server.problem"):
        reply = problem(error)
    assert "10.0.0.7" in caplog.text
    assert reply.status == 503
    text = bytes(reply.body).decode()
    assert not any(word in text for word in ("10.0.0.7", "admin", "rights"))
    told = json.loads(text)
    assert (told["code"], told["retryable"], told["where"]) == ("store", True, "")
    assert "log" in told["next_step"]


def test_other_errors_are_told_whole() -> None:
    for error in (
        NotFoundError("gone", where="here", next_step="Look."),
        LeaseLost("x", where="y"),
    ):
        told = problem_document(error, 404)
        assert (told["detail"], told["where"]) == (error.detail, error.where)
