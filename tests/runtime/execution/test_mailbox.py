"""The mailbox: calls from any thread, in order, with few wake-ups."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from gangline.runtime.execution.mailbox import Mailbox


def test_calls_of_each_thread_come_in_order_and_none_is_lost() -> None:
    got: list[tuple[int, int]] = []

    async def main() -> None:
        done = asyncio.Event()
        mailbox = Mailbox(asyncio.get_running_loop())

        def take(thread: int, number: int) -> None:
            got.append((thread, number))
            if len(got) == 4 * 500:
                done.set()

        def send(thread: int) -> None:
            for number in range(500):
                mailbox.post(take, thread, number)

        threads = [threading.Thread(target=send, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        await asyncio.wait_for(done.wait(), 20)

    asyncio.run(main())
    for name in range(4):
        assert [number for thread, number in got if thread == name] == list(range(500))


def test_calls_that_come_together_wake_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> tuple[int, list[int]]:
        loop = asyncio.get_running_loop()
        wakes, got = [], list[int]()
        wake = loop.call_soon_threadsafe

        def counted(*args: Any) -> Any:
            wakes.append(args)
            return wake(*args)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        mailbox = Mailbox(loop)
        for number in range(100):
            mailbox.post(got.append, number)
        await asyncio.sleep(0)
        mailbox.post(got.append, 100)
        await asyncio.sleep(0)
        return len(wakes), got

    assert asyncio.run(main()) == (2, list(range(101)))


def fail() -> None:
    raise ZeroDivisionError


def test_a_failing_call_does_not_take_the_next_with_it(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> list[str]:
        mailbox, got = Mailbox(asyncio.get_running_loop()), list[str]()
        mailbox.post(fail)
        mailbox.post(got.append, "next")
        await asyncio.sleep(0)
        return got

    assert asyncio.run(main()) == ["next"]
    assert "ZeroDivisionError" in caplog.text


def test_a_call_posted_by_a_call_is_carried_out() -> None:
    async def main() -> list[int]:
        mailbox, got = Mailbox(asyncio.get_running_loop()), list[int]()

        def again(left: int) -> None:
            got.append(left)
            if left:
                mailbox.post(again, left - 1)

        mailbox.post(again, 3)
        for _ in range(6):
            await asyncio.sleep(0)
        return got

    assert asyncio.run(main()) == [3, 2, 1, 0]


def test_a_closed_loop_is_told_nothing() -> None:
    loop = asyncio.new_event_loop()
    mailbox = Mailbox(loop)
    loop.close()
    mailbox.post(print, "nobody")
    mailbox.post(print, "nobody")
