"""Quotas: exact for jobs in flight however many submits come at once."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

import pytest

from gangline.ir.errors import QuotaError
from gangline.ir.specs.request import Finished, SamplingParams, Submit
from gangline.runtime.clock import VirtualClock
from gangline.runtime.dispatch.outcome import DirectOutcome
from gangline.runtime.service.quotas import Quotas
from gangline.runtime.service.tenant import Quota, Tenant
from gangline.runtime.store import Ticket

NOON = 20_000 * 86_400.0 + 12 * 3600.0


@dataclass
class Used:
    usd: float = 0.0
    tokens: int = 0
    in_flight: int = 0


class Ledger:
    """A store that takes its time; `used` is what it would say at the moment it is asked."""

    def __init__(self) -> None:
        self.used = Used()
        self.reads: list[float] = []
        self.slow = False

    async def __call__(self, tenant: str, since_s: float) -> Used:
        self.reads.append(since_s)
        found = Used(self.used.usd, self.used.tokens, self.used.in_flight)
        if self.slow:
            for _ in range(3):
                await asyncio.sleep(0)
        return found


def limited(**limits: float) -> Tenant:
    return Tenant("t", frozenset({"submit"}), Quota(**limits))


def test_tenants_without_limits_cost_nothing() -> None:
    ledger = Ledger()
    assert asyncio.run(Quotas(ledger, VirtualClock(NOON), 1.0).reserve(Tenant("t"))) is False
    assert ledger.reads == []


@pytest.mark.parametrize("slow", (False, True))
def test_submits_side_by_side_never_overshoot(slow: bool) -> None:
    ledger, clock = Ledger(), VirtualClock(NOON)
    ledger.slow = slow
    quotas, tenant = Quotas(ledger, clock, 1.0), limited(max_in_flight=10)
    ledger.used.in_flight = 3
    most = 0

    async def submit(number: int) -> bool:
        nonlocal most
        try:
            await quotas.reserve(tenant)
        except QuotaError:
            return False
        for _ in range(number % 5):
            await asyncio.sleep(0)
        ledger.used.in_flight += 1  # stored
        most = max(most, ledger.used.in_flight)
        for _ in range(number % 3):
            await asyncio.sleep(0)
        quotas.settle("t", stored=True)
        return True

    async def main() -> int:
        accepted = 0
        for _ in range(20):
            accepted += sum(await asyncio.gather(*(submit(number) for number in range(30))))
            clock.advance_to(clock.now() + 0.7)
        return accepted

    assert asyncio.run(main()) == 7 and most == 10


def test_with_jobs_that_come_and_go_the_limit_holds_at_every_moment() -> None:
    """Readings that are old when they arrive, and begun while others are under way."""
    ledger, clock, rng = Ledger(), VirtualClock(NOON), random.Random(7)
    ledger.slow = True
    quotas, tenant = Quotas(ledger, clock, 0.5), limited(max_in_flight=6)
    most = accepted = 0

    async def pause(longest: int) -> None:
        for _ in range(rng.randrange(longest)):
            await asyncio.sleep(0)

    async def submit() -> None:
        nonlocal most, accepted
        await pause(400)
        try:
            await quotas.reserve(tenant)
        except QuotaError:
            return
        await pause(4)
        ledger.used.in_flight += 1
        accepted += 1
        most = max(most, ledger.used.in_flight)
        await pause(4)
        quotas.settle("t", stored=True)
        await pause(30)
        ledger.used.in_flight -= 1

    async def tick() -> None:
        for _ in range(420):
            clock.advance_to(clock.now() + 0.03)
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(tick(), *(submit() for _ in range(600)))

    asyncio.run(main())
    assert most == 6 and accepted > 60


def test_a_place_is_free_as_soon_as_a_job_has_ended() -> None:
    ledger, clock = Ledger(), VirtualClock(NOON)
    quotas, tenant = Quotas(ledger, clock, 1.0), limited(max_in_flight=1)

    async def main() -> None:
        await quotas.reserve(tenant)
        ledger.used.in_flight = 1
        quotas.settle("t", stored=True)
        with pytest.raises(QuotaError) as caught:
            await quotas.reserve(tenant)
        assert caught.value.retry_after_s == 1.0
        ledger.used.in_flight = 0
        clock.advance_to(clock.now() + 0.05)  # far within the second a count is believed
        await quotas.reserve(tenant)

    asyncio.run(main())


def test_a_submit_that_failed_or_was_replayed_takes_no_place() -> None:
    quotas, tenant = Quotas(Ledger(), VirtualClock(NOON), 1.0), limited(max_in_flight=1)

    async def main() -> None:
        for _ in range(3):
            await quotas.reserve(tenant)
            quotas.settle("t", stored=False)

    asyncio.run(main())


def test_money_by_the_day_and_tokens_by_the_minute() -> None:
    ledger, clock = Ledger(), VirtualClock(NOON)
    quotas = Quotas(ledger, clock, 1.0)
    ledger.used.usd = 2.0
    with pytest.raises(QuotaError) as dear:
        asyncio.run(quotas.reserve(limited(usd_per_day=2.0)))
    assert dear.value.retry_after_s == 12 * 3600.0
    assert ledger.reads[:2] == [NOON - 12 * 3600.0, NOON - 60.0]
    ledger.used = Used(tokens=500)
    clock.advance_to(NOON + 2.0)
    with pytest.raises(QuotaError, match="500 tokens a minute"):
        asyncio.run(quotas.reserve(limited(tokens_per_min=500)))


def test_what_is_left() -> None:
    ledger = Ledger()
    ledger.used = Used(0.5, 100, 2)
    quotas = Quotas(ledger, VirtualClock(NOON), 1.0)
    left = asyncio.run(quotas.left(limited(max_in_flight=5, usd_per_day=2.0)))
    assert left == {"in_flight": 3, "usd_today": 1.5, "tokens_this_minute": None}


def test_what_is_used_beside_jobs_counts_before_and_after_it_is_stored() -> None:
    ledger, clock = Ledger(), VirtualClock(NOON)
    tickets: list[Ticket[None]] = []

    def spend(tenant: str, at_s: float, usd: float, tokens: int) -> Ticket[None]:
        tickets.append(Ticket())
        return tickets[-1]

    quotas, tenant = Quotas(ledger, clock, 1.0, spend), limited(usd_per_day=10.0, tokens_per_min=99)

    def use(usd: float) -> None:
        submit = Submit("r", "m", (1,), SamplingParams(1), cache_salt="t")
        finished = Finished("r", 0.0, (5, 6), "", "stop", 3, 0)
        quotas.observe(DirectOutcome(submit, "cpu/0", finished, 0.0, 1.0, usd=usd))

    async def left() -> tuple[float | None, float | None]:
        found = await quotas.left(tenant)
        return found["usd_today"], found["tokens_this_minute"]

    async def main() -> None:
        assert await left() == (10.0, 99.0)
        use(4.0)
        assert await left() == (6.0, 94.0)
        clock.advance_to(clock.now() + 2.0)
        assert await left() == (6.0, 94.0)  # read again, and not stored yet
        for call in tickets[0].settle(None, None):
            call()
        ledger.used = Used(4.0, 5)
        assert await left() == (6.0, 94.0)
        clock.advance_to(clock.now() + 2.0)
        assert await left() == (6.0, 94.0)  # now it is among what was read, and only there
        use(5.9)
        await quotas.reserve(tenant)
        use(0.2)
        with pytest.raises(QuotaError):
            await quotas.reserve(tenant)

    asyncio.run(main())
