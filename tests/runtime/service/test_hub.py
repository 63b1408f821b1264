"""The hub: who hears what, slow listeners, waiting for a job to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gangline.ir.specs.event import Event
from gangline.runtime.service.hub import Hub, Lagged


def event(seq: int, kind: str = "step.started", job_id: str = "j") -> Event:
    return Event(job_id, seq, kind, 0.0)


def test_listeners_hear_their_job_and_the_fleet_hears_all() -> None:
    async def main() -> None:
        hub = Hub()
        with hub.subscribe("j") as mine, hub.subscribe() as everything:
            hub.publish([event(1), event(1, job_id="other"), event(2)])
            assert [(await mine.get()).seq for _ in range(2)] == [1, 2]
            assert [(await everything.get()).job_id for _ in range(3)] == ["j", "other", "j"]
        assert hub.watched == set() and hub.num_listeners() == 0

    asyncio.run(main())


def test_a_slow_listener_is_told_once_and_hears_what_comes_after() -> None:
    async def main() -> None:
        hub = Hub(limit=3)
        with hub.subscribe("j") as slow, hub.subscribe("j") as quick:
            for seq in range(1, 4):
                hub.publish([event(seq)])
            assert (await quick.get()).seq == 1
            hub.publish([event(4)])
            with pytest.raises(Lagged):
                await slow.get()
            assert (await quick.get()).seq == 2
            hub.publish([event(5)])
            assert (await slow.get()).seq == 5
            assert (await quick.get()).seq == 3  # one's slowness is not another's

    asyncio.run(main())


def test_a_listener_that_waits_is_woken() -> None:
    async def main() -> None:
        hub = Hub()
        with hub.subscribe("j") as mine:
            waiting = asyncio.ensure_future(mine.get())
            await asyncio.sleep(0)
            hub.publish([event(1)])
            assert (await asyncio.wait_for(waiting, 20)).seq == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    "kind", ("job.completed", "job.failed", "job.cancelled", "job.expired", "job.input_required")
)
def test_waiting_for_a_stop(kind: str) -> None:
    async def main() -> None:
        hub = Hub()
        first, second, other = hub.stopped("j"), hub.stopped("j"), hub.stopped("k")
        hub.publish([event(1), event(2, kind)])
        assert first.done() and second.done() and not other.done()
        hub.forget("k", other)
        hub.forget("k", other)
        assert hub.watched == set()

    asyncio.run(main())


def test_taps_hear_every_batch_but_not_other_servers_jobs() -> None:
    async def main() -> None:
        hub, heard = Hub(), list[Sequence[Event]]()
        hub.taps.append(heard.append)
        hub.publish([event(1)])
        with hub.subscribe("j") as mine:
            hub.relay([event(2)])
            assert (await mine.get()).seq == 2
        assert [len(batch) for batch in heard] == [1]

    asyncio.run(main())


def test_the_log_is_read_on_from_the_listener_that_is_furthest_back() -> None:
    async def main() -> None:
        hub = Hub()
        with hub.subscribe("j", 7) as one, hub.subscribe("j", 3):
            assert hub.seen("j") == 3 and hub.seen("k") is None
            one.after = 2
            assert hub.seen("j") == 2

    asyncio.run(main())
