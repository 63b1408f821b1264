"""What a cancelled tool sees; callbacks run once, and never after their block."""

from __future__ import annotations

import threading
import time

import pytest

import gangline as gl
from gangline.ir.errors import JobCancelled, StepTimeout
from gangline.workflows.cancel_token import CancelToken, cancelled, on_cancel
from gangline.workflows.text_to_sql.sandbox import Limits, Sandbox

ENDLESS = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT count(*) FROM r"


def test_outside_a_job_nothing_is_cancelled() -> None:
    assert not gl.cancelled()
    with gl.on_cancel(lambda: pytest.fail("nobody cancels")):
        pass


def test_a_tool_sees_its_own_token() -> None:
    token, other = CancelToken(), CancelToken()
    with token.active():
        other.cancel()
        assert not cancelled()
        token.cancel()
        assert cancelled()
    assert not cancelled()


def test_a_callback_runs_once_and_not_after_its_block() -> None:
    token, calls = CancelToken(), list[str]()
    with token.active():
        with on_cancel(lambda: calls.append("early")):
            pass
        with on_cancel(lambda: calls.append("inside")):
            token.cancel()
            token.cancel()
        with on_cancel(lambda: calls.append("late")):
            assert calls == ["inside", "late"], "registered after the fact: called at once"
    assert calls == ["inside", "late"]


def test_a_callback_that_fails_does_not_hide_the_others() -> None:
    token, calls = CancelToken(), list[int]()
    with (
        token.active(),
        on_cancel(lambda: calls.append(1 // 0)),
        on_cancel(lambda: calls.append(2)),
    ):
        token.cancel()
    assert calls == [2] and token.is_cancelled


def test_a_block_does_not_end_while_its_callback_runs() -> None:
    token, order = CancelToken(), list[str]()
    entered = threading.Event()

    def slow() -> None:
        entered.set()
        time.sleep(0.05)
        order.append("callback")

    with token.active():
        with on_cancel(slow):
            threading.Thread(target=token.cancel).start()
            assert entered.wait(5.0)
        order.append("after")
    assert order == ["callback", "after"]


def test_a_query_that_never_ends_is_stopped(tmp_path: object) -> None:
    import sqlite3

    path = f"{tmp_path}/x.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE t (x INTEGER)")
    database.close()
    sandbox, token = Sandbox(), CancelToken()
    assert sandbox.run(path, "SELECT 1").ok  # the child is warm
    outcomes = []

    def query() -> None:
        with token.active():
            outcomes.append(sandbox.run(path, ENDLESS, Limits(timeout_s=60.0)))

    thread = threading.Thread(target=query)
    thread.start()
    try:
        token.cancel()
        began = time.monotonic()
        thread.join(10.0)
        assert not thread.is_alive() and time.monotonic() - began < 1.0
        assert outcomes[0].kind == "cancelled"
        assert sandbox.run(path, "SELECT 2").rows == ((2,),), (
            "the next query has a child of its own"
        )
    finally:
        sandbox.close()


def test_a_program_and_its_children_end_with_the_tool() -> None:
    token, started = CancelToken(), time.monotonic()
    caught: list[BaseException] = []

    def tool() -> None:
        with token.active():
            try:
                # The grandchild holds the pipe open: without it being killed, this would wait.
                gl.run_process(["sh", "-c", "sleep 60 & wait"])
            except JobCancelled as error:
                caught.append(error)

    thread = threading.Thread(target=tool)
    thread.start()
    token.cancel()
    thread.join(10.0)
    assert caught and time.monotonic() - started < 5.0


def test_a_program_out_of_time_and_one_that_ends() -> None:
    with pytest.raises(StepTimeout):
        gl.run_process(["sh", "-c", "sleep 60 & wait"], timeout_s=0.1)
    done = gl.run_process(["cat"], input=b"hello")
    assert (done.stdout, done.returncode) == (b"hello", 0)
