"""The steps of one job that are ready or in flight, in the order they became so."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .commands import CancelRequest, CancelTool, Command
from .flight import Flight
from .interpreter import Activation


class Flights:
    """Which steps wait to be issued, which were issued and have not ended.

    Attributes:
        flying: the flights by step id.
        parked: by step id, in the order of issue: the activation and the attempt it will be.
        writes: how many flights write.
        asks: how many flights wait for a person.
        reserved_usd: what all flights are expected to cost.
    """

    def __init__(self) -> None:
        self.flying: dict[str, Flight] = {}
        self.parked: OrderedDict[str, tuple[Activation, int]] = OrderedDict()
        self.writes = 0
        self.asks = 0
        self.reserved_usd = 0.0

    @property
    def outstanding(self) -> tuple[str, ...]:
        """Ids of the steps that are in flight or ready, in the order they became so."""
        return (*self.flying, *self.parked)

    def knows(self, step_id: str) -> bool:
        """Say whether a step is in flight or ready."""
        return step_id in self.flying or step_id in self.parked

    def is_under_way(self, step_id: str, attempt: int) -> bool:
        """Say whether this attempt of a step is in flight (and not waiting to be retried)."""
        flight = self.flying.get(step_id)
        return flight is not None and flight.attempt == attempt and not flight.waiting

    def first_parked(self) -> Activation:
        """Give the step that is to be issued next."""
        return next(iter(self.parked.values()))[0]

    def park_first(self, step_id: str, activation: Activation, attempt: int) -> None:
        """Have a step issued before all others that wait."""
        self.parked[step_id] = (activation, attempt)
        self.parked.move_to_end(step_id, last=False)

    def add(self, flight: Flight) -> None:
        """Take note that a step was issued."""
        self.flying[flight.activation.id] = flight
        self.reserved_usd += flight.reserved_usd
        self.writes += flight.writes
        self.asks += flight.asks

    def land(self, step_id: str) -> Flight | None:
        """Take note that a step has ended; None if it was neither in flight nor ready."""
        flight = self.flying.pop(step_id, None)
        if flight is None and step_id in self.parked:
            # A forked job begins with results of steps it never issued.
            return Flight(*self.parked.pop(step_id), 0.0, False)
        if flight is None:
            return None
        self.reserved_usd = self.reserved_usd - flight.reserved_usd if self.flying else 0.0
        self.writes -= flight.writes
        self.asks -= flight.asks
        return flight

    def wait(self, flight: Flight) -> None:
        """Keep a flight that has landed by failing: it is tried again, or the job fails by it."""
        flight.waiting, flight.reserved_usd = True, 0.0
        flight.held, flight.interrupt = False, None
        self.flying[flight.activation.id] = flight

    def again(self, step_id: str, attempt: int, approved: bool) -> None:
        """Have a step in flight issued once more, that failed or that a person has decided on."""
        flight = self.flying.pop(step_id)
        if approved:
            self.asks -= flight.asks
        self.park_first(step_id, flight.activation, attempt)

    def withdraw(self, step_id: str) -> None:
        """Have a step issued again that was issued and never carried out."""
        flight = self.flying.pop(step_id)
        self.writes -= flight.writes
        self.asks -= flight.asks
        self.reserved_usd -= flight.reserved_usd
        self.park_first(step_id, flight.activation, flight.attempt)

    def restart(self) -> None:
        """Have all issued again, as the process that carried them is gone. A question stays."""
        left = self.flying
        self.flying = {name: flight for name, flight in left.items() if flight.interrupt}
        self.asks, self.writes, self.reserved_usd = len(self.flying), 0, 0.0
        for step_id, flight in reversed(left.items()):
            if step_id not in self.flying:
                self.park_first(step_id, flight.activation, 1)

    def unsafe(self, confirmed: Collection[str]) -> Flight | None:
        """Find a step that nobody confirmed and whose effect could happen a second time."""
        for step_id, flight in self.flying.items():
            if step_id not in confirmed and flight.unsafe:
                return flight
        return None

    def interrupts(self, at_rest: bool) -> list[Mapping[str, Any]]:
        """Give what a person is asked; `at_rest`: writes in flight were left by a process."""
        found: list[Mapping[str, Any]] = []
        # In the order of the workflow, not in that in which they became ready.
        for flight in sorted(self.flying.values(), key=lambda flight: flight.activation.stage.id):
            if flight.interrupt is not None:
                found.append(flight.interrupt)
            elif at_rest and flight.unsafe:
                found.append(flight.question())
        return found

    def writing(self) -> list[str]:
        """Give the steps whose effects are under way."""
        flights = self.flying.items()
        return [name for name, flight in flights if flight.writes and not flight.waiting]

    def take_back(self, job_id: str, wanted: bool) -> Iterator[Command]:
        """Say that nobody waits for any step; `wanted`: what a write gives is of use to a retry."""
        for step_id, flight in self.flying.items():
            stage = flight.activation.stage
            if flight.waiting:
                continue
            if stage.op in ("prefill", "decode", "embed"):
                yield CancelRequest(f"{job_id}:{step_id}:{flight.attempt}", step_id)
            elif (
                stage.op == "tool"
                and flight.started
                and self.writes
                and not (flight.writes and wanted)
            ):
                # Without a write in flight the job ends now, and its calls with it.
                yield CancelTool(step_id, by_force=not flight.writes)

    @property
    def only_asks(self) -> bool:
        """Say whether something is in flight, and a person brings all of it on."""
        return bool(self.flying) and len(self.flying) == self.asks

    @property
    def stuck(self) -> bool:
        """Say whether a step is ready, and nothing that runs could free money for it."""
        return bool(self.parked) and all(flight.waits for flight in self.flying.values())
