"""A real server with made-up models, for the page: its browser tests and its screenshots.

Tools wait at `gate` where a test wants to look at a job under way; models say what they are told,
one token every `TOKEN_S`.
"""

# mypy: disable-error-code="empty-body"
from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import gangline as gl
from gangline.backends.base import Backend, Sampled, SchedulerOutput
from gangline.backends.engine.backend import EngineBackend
from gangline.backends.fake import FakeEncoder, FakeRunner
from gangline.ir.errors import DatabaseError
from gangline.ir.specs.fleet import Fleet
from gangline.runtime.server.app import create_app
from gangline.runtime.server.serve import Listening, bind, make_server
from gangline.runtime.server.settings import ServerSettings
from gangline.runtime.service.service import Service, open_service
from gangline.runtime.service.settings import Settings

WAIT_S = 30.0
TOKEN_S = 0.004
MODEL = "smollm2-135m"
REPLY = (
    "A gangline is the central line of a dog sled: every dog is tied to it, and the strongest "
    "ones run next to the sled. "
)


class Gate:
    """What waiting tools, or models, wait for. It is open until a test closes it."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()

    def close(self) -> None:
        """Hold whatever comes by."""
        self._open.clear()

    def open(self) -> None:
        """Let all go on."""
        self._open.set()

    def pass_through(self) -> None:
        """Wait until the gate is open."""
        self._open.wait(WAIT_S)


gate = Gate()
words = Gate()
broken = threading.Event()
"""While it is set, `lookup` fails."""


class Found(BaseModel):
    """Rows, as text_to_sql gives them."""

    sql: str
    columns: list[str]
    rows: list[list[Any]]
    truncated: bool = False
    attempts: int = 1
    error: str = ""


@gl.tool(effects="none")
def plus_one(number: int) -> int:
    """Add one."""
    return number + 1


@gl.tool(effects="read", timeout=WAIT_S)
def hold(number: int) -> int:
    """Wait at the gate."""
    gate.pass_through()
    return number


@gl.tool(effects="read", retries=0)
def lookup(number: int) -> int:
    """Look something up, where the lookup works."""
    if broken.is_set():
        raise DatabaseError(
            "The database of rivers cannot be opened",
            where="rivers.sqlite",
            next_step="Start it, then press Retry.",
        )
    return number


@gl.tool(effects="read", timeout=10.0)
def list_notes(topic: str) -> list[str]:
    """Give names of notes."""
    time.sleep(0.12)
    return [f"{topic}: history", f"{topic}: terms", f"{topic}: races", f"{topic}: dogs"]


@gl.tool(effects="read", timeout=10.0)
def open_note(name: str) -> str:
    """Give the text of a note."""
    time.sleep(0.05 + 0.03 * (len(name) % 4))
    return f"Note {name}."


@gl.tool(effects="none", timeout=10.0)
def judge(text: str, trips: int) -> dict[str, Any]:
    """Decide whether a text is good enough: it is after one repair."""
    time.sleep(0.04)
    return {"text": text.strip(), "good": trips > 0, "trips": trips + 1}


@gl.tool(effects="read", timeout=10.0)
def tabulate(text: str) -> Found:
    """Give rows."""
    rows = [
        ["Togo", "leader", 12, 420.5],
        ["Balto", "leader", 6, 91.0],
        ["Fritz", "wheel", 8, 260.25],
        ["Scotty", "swing", 4, 173.0],
    ]
    sql = "SELECT name, place, age, miles FROM dogs\nWHERE miles > 90 ORDER BY place"
    return Found(sql=sql, columns=["name", "place", "age", "miles"], rows=rows)


@gl.llm(model=MODEL, max_tokens=200)
def shorten(note: str) -> str:
    """Say this in one short sentence: {note}"""


@gl.llm(model=MODEL, max_tokens=200)
def compose(topic: str, facts: list[str]) -> str:
    """Facts: {facts} Write two sentences about {topic}."""


@gl.llm(model=MODEL, max_tokens=200, temperature=0.7)
def improve(text: str) -> str:
    """Rewrite this text: {text}"""


@gl.workflow(deadline=120.0, budget_usd=0.02)
def research(topic: str) -> Found:
    """Read notes on a topic side by side, write a brief, improve it, and give its table."""
    sources = list_notes(topic)
    facts = gl.map(lambda name: shorten(open_note(name)), sources)
    first = judge(compose(topic, facts), 0)
    best = gl.loop(
        lambda draft: judge(improve(draft["text"]), draft["trips"]),
        first,
        until=lambda draft: draft["good"],
        max_trips=2,
    )
    return tabulate(best["text"])


@gl.workflow
def steps(number: int) -> int:
    """Add one three times, with a wait at the gate in the middle."""
    return plus_one(hold(plus_one(number)))


@gl.workflow
def quick(number: int) -> int:
    """Add one."""
    return plus_one(number)


@gl.workflow
def rivers(number: int) -> int:
    """Look something up that may fail."""
    return plus_one(lookup(plus_one(number)))


@gl.tool(effects="none")
def count_to(number: int) -> list[int]:
    """Give the numbers below one."""
    return list(range(number))


@gl.tool(effects="none")
def make_plan(number: int) -> list[dict[str, Any]]:
    """Write a plan, as a model would."""
    return [
        {"id": "left", "tool": "plus_one", "arguments": {"number": number}},
        {"id": "right", "tool": "plus_one", "arguments": {"number": number + 1}},
        {"id": "wait", "tool": "hold", "arguments": {"number": {"$ref": "left"}}},
    ]


@gl.workflow
def planned(number: int) -> dict[str, Any]:
    """Carry out a plan that is written at run time."""
    return gl.expand(make_plan(number), tools=[plus_one, hold], max_steps=4)


@gl.tool(effects="none")
def conclude(number: int, answer: str, times: int) -> str:
    """Put an answer into words."""
    return f"{answer}: {number * times}"


@gl.workflow
def careful(number: int) -> str:
    """Ask a person twice before the last step."""
    looked = plus_one(number)
    answer = gl.ask("The sled is loaded. May the team start?", choices=["yes", "not yet"])
    times = gl.ask("How many trips?", returns=int, name="trips")
    return conclude(looked, answer, times)


@gl.workflow
def many(number: int) -> list[int]:
    """Add one to each of many numbers, side by side."""
    return gl.map(lambda item: plus_one(item), count_to(number))


@gl.workflow
def say(topic: str) -> str:
    """Say something about a topic."""
    return compose(topic, ["none"])


@gl.workflow
def large(number: int) -> list[int]:
    """Run 500 steps in 20 chains."""
    number = hold(number)
    ends = []
    for chain in range(20):
        value = number + chain
        for _ in range(25):
            value = plus_one(value)
        ends.append(value)
    return ends


WORKFLOWS: Sequence[gl.Workflow] = (
    research,
    steps,
    quick,
    rivers,
    careful,
    planned,
    many,
    say,
    large,
)


class SlowRunner(FakeRunner):
    """Says one token at a time, so that somebody can watch."""

    def execute(self, output: SchedulerOutput, num_steps: int = 1) -> Mapping[str, Sampled]:
        """Draw for a step, slowly."""
        words.pass_through()
        time.sleep(TOKEN_S * num_steps)
        return super().execute(output, num_steps)


def slow_backend() -> EngineBackend:
    """Give an engine that runs made-up models at a walking pace."""
    return EngineBackend(
        lambda model: SlowRunner({"": REPLY}, num_blocks=192), lambda model: FakeEncoder()
    )


@dataclass
class Served:
    """A server that runs: where it is, and the service behind it (touch it on its loop only)."""

    port: int
    loop: asyncio.AbstractEventLoop
    service: Service

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def serving(
    folder: Path,
    workflows: Sequence[Any] = WORKFLOWS,
    *,
    fleet: Fleet | None = None,
    server: ServerSettings | None = None,
    max_running: int = 64,
) -> Iterator[Served]:
    """Serve workflows from a thread of this process until the block ends."""
    settings = server or ServerSettings()
    devices = [name for device in fleet.devices for name in device.ids] if fleet else ["cpu/0"]
    backends: dict[str, Backend] = {name: slow_backend() for name in devices}
    bound = bind(Listening(port=0))
    started = threading.Event()
    made: list[Served] = []
    ends: list[Callable[[], None]] = []
    faults: list[BaseException] = []

    async def serve() -> None:
        async with open_service(
            workflows,
            store=folder / "jobs.sqlite",
            fleet=fleet,
            backends=backends,
            settings=Settings(max_running=max_running),
        ) as service:
            app = create_app(service, settings)
            running = make_server(app, settings, started.set)

            def end() -> None:
                app.close()
                running.should_exit = True

            ends.append(end)
            made.append(Served(bound.getsockname()[1], asyncio.get_running_loop(), service))
            await running.serve(sockets=[bound])

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as fault:  # noqa: BLE001 (told by the other thread)
            faults.append(fault)
        finally:
            started.set()

    thread = threading.Thread(target=run, name="served")
    thread.start()
    started.wait(WAIT_S)
    if faults:
        raise faults[0]
    try:
        yield made[0]
    finally:
        gate.open()
        made[0].loop.call_soon_threadsafe(ends[0])
        thread.join(WAIT_S)
        if faults:
            raise faults[0]
