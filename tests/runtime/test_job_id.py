"""Job ids sort by time."""

from __future__ import annotations

import os
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gangline.runtime.job_id import job_id, new_job_id

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


def test_new_ids_differ_between_threads_and_across_a_fork() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(new_job_id, [1.0] * 2000))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, new_job_id(1.0).encode())
        os._exit(0)
    os.waitpid(child, 0)
    made += [os.read(reader, 36).decode(), new_job_id(1.0)]
    os.close(reader)
    os.close(writer)
    assert len(set(made)) == len(made)
