"""A browser on a thread of its own, and a real server to look at.

Playwright's synchronous calls keep an event loop running in their thread, which other tests of
this process must not see; so a test hands its story to that thread and waits.
"""

from __future__ import annotations

import os
import queue
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from benchmarks.page_server import Served, broken, gate, serving, words

Story = Callable[[Any], Any]
CHROMIUM = os.environ.get("GANGLINE_CHROMIUM") or shutil.which("chromium") or ""
WAIT_MS = 30_000
STORY_S = 120


class Browser:
    """Chromium, driven from one thread; each story gets a fresh window."""

    def __init__(self) -> None:
        self._stories: queue.Queue[tuple[Callable[[Any], Any], Future[Any]] | None] = queue.Queue()
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="chromium", daemon=True)
        self._thread.start()
        self._started.result(60)

    def close(self) -> None:
        self._stories.put(None)
        self._thread.join(30)

    def tell(self, story: Callable[[Any], Any]) -> Any:
        """Run a function of the browser on its thread; give what it gives."""
        told: Future[Any] = Future()
        self._stories.put((story, told))
        return told.result(STORY_S)

    def _run(self) -> None:
        from playwright.sync_api import sync_playwright

        try:
            with sync_playwright() as playwright:
                options = ["--no-sandbox"] if os.geteuid() == 0 else []
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
                self._started.set_result(None)
                while (item := self._stories.get()) is not None:
                    story, told = item
                    try:
                        told.set_result(story(browser))
                    except BaseException as error:  # noqa: BLE001 (told by the test's thread)
                        told.set_exception(error)
                browser.close()
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM:
        assert not os.environ.get("GANGLINE_NEED_CHROMIUM"), "Chromium is needed, and is not there"
        pytest.skip("Chromium is not installed: the page is NOT tested (apt-get install chromium)")
    made = Browser()
    yield made
    made.close()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as made:
        yield made


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Leave the gates open and the lookup working for the next test."""
    yield
    gate.open()
    words.open()
    broken.clear()


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=30.0) as opened:
        yield opened


@pytest.fixture
def watch(browser: Browser, served: Served) -> Callable[..., Any]:
    """Run a story on a fresh window of the page; fail on what no page should do.

    That is: an error in the console (a refused request that the story expects aside), a script's
    exception, a violation of the content security policy, or a request that leaves this machine.
    """

    def run(story: Story, *, refused: int = 0, origin: str = "", **options: Any) -> Any:
        def on_thread(chromium: Any) -> Any:
            context = chromium.new_context(viewport={"width": 1280, "height": 900}, **options)
            faults: list[str] = []
            try:
                page = context.new_page()
                page.set_default_timeout(WAIT_MS)
                _listen(page, faults)
                page.origin = origin or served.url
                found = story(page)
            finally:
                context.close()
            answers = [fault for fault in faults if "Failed to load resource" in fault]
            assert len(answers) <= refused, answers
            others = [fault for fault in faults if fault not in answers]
            assert not others, others
            return found

        return browser.tell(on_thread)

    return run


def _listen(page: Any, faults: list[str]) -> None:
    def on_console(message: Any) -> None:
        if message.type in ("error", "warning"):
            faults.append(message.text)

    def on_request(request: Any) -> None:
        if urlsplit(request.url).hostname != "127.0.0.1":
            faults.append(f"a request to {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", on_request)
    # Violations are told to the document too; a console could be cleared, this cannot.
    page.add_init_script(
        "addEventListener('securitypolicyviolation', (event) =>"
        " console.error('violates ' + event.violatedDirective))"
    )


@pytest.fixture
def static() -> Path:
    return Path(__file__).parents[3] / "runtime" / "page" / "static"
