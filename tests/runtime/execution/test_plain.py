"""What tools may give: anything that can be stored as JSON, up to a size."""

from __future__ import annotations

from typing import Any

import pytest

from gangline.ir.errors import StepError
from gangline.runtime.execution import step_calls
from gangline.runtime.execution.step_calls import plain


@pytest.mark.parametrize(
    "value", [None, True, 0, -(2**63) + 1, 2**80, "text", "ü", [1, {"a": 2.5}]]
)
def test_plain_values_pass_as_they_are(value: Any) -> None:
    assert plain(value) is value


@pytest.mark.parametrize(
    "value",
    [1 << 20_000, [-(1 << 20_000)], float("nan"), "\ud800", {"a": b"x"}, object()],
    ids=["large", "large inside", "nan", "surrogate", "bytes", "object"],
)
def test_what_cannot_be_stored_fails_its_step(value: Any) -> None:
    """A job whose result the store refused would be taken up and run again, for ever."""
    with pytest.raises(StepError, match="cannot be stored as JSON"):
        plain(value)


@pytest.mark.parametrize("value", ["x" * 41, "ü" * 20, ["x" * 18, "y" * 18]], ids=range(3))
def test_what_is_too_large_fails_its_step(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_calls, "MAX_VALUE_BYTES", 40)
    with pytest.raises(StepError, match="at most 40"):
        plain(value)
    assert plain("x" * 40)
