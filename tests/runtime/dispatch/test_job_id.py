"""Job ids sort by time."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gangline.runtime.dispatch.job_id import job_id

NOISE = st.binary(min_size=10, max_size=10)


@given(st.integers(0, 2**41), st.integers(1, 2**40), NOISE, NOISE)
def test_sorts_by_time(at_ms: int, later_ms: int, one: bytes, two: bytes) -> None:
    first, second = job_id(at_ms / 1000, one), job_id((at_ms + later_ms + 1) / 1000, two)
    assert first < second
    assert uuid.UUID(first).version == 7 and uuid.UUID(first).variant == uuid.RFC_4122


def test_random_part_matters() -> None:
    assert job_id(1.0, bytes(10)) != job_id(1.0, bytes(9) + b"\x01")
    with pytest.raises(ValueError, match="10"):
        job_id(1.0, b"")
