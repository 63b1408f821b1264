"""The list with 5,000 jobs: pages by cursor, few rows in the page, quick to scroll."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from benchmarks.page_server import Served, quick, serving

NUM_JOBS = 5000
FIRST_MS, SCROLL_MS, FRAME_MS = 3000.0, 15000.0, 1000.0
"""Budgets on two busy cores; a quiet machine takes about a tenth."""


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with (
        serving(tmp_path_factory.mktemp("crowded"), [quick]) as served,
        httpx.Client(base_url=served.url, timeout=120.0) as client,
    ):
        one = {"workflow": "quick", "input": {"number": 1}}
        for _ in range(NUM_JOBS // 1000):
            made = client.post("/v1/jobs:batch", json={"jobs": [one] * 1000})
            assert {item["status"] for item in made.json()["data"]} == {202}
        yield served


def test_5000_jobs_are_shown_and_scrolled_in_time(
    watch: Callable[..., Any], crowded: Served
) -> None:
    def story(page: Any) -> tuple[float, float, float, int]:
        page.goto(f"{page.origin}/#/jobs")
        page.wait_for_selector("table[aria-label=Jobs] tbody a")
        first_ms = page.evaluate(
            "performance.getEntriesByType('paint').find((e) => e.name.includes('contentful')).startTime"
        )
        found = page.evaluate(
            """(most) => new Promise((done) => {
              const box = document.querySelector('.scroll');
              const began = performance.now();
              let last = began, longest = 0, rows = 0;
              const look = (now) => {
                longest = Math.max(longest, now - last);
                last = now;
                rows = Math.max(rows, document.querySelectorAll('table tbody tr').length);
                const table = box.querySelector('table');
                const count = Number(table.getAttribute('aria-rowcount')) - 1;
                box.scrollTop = box.scrollHeight;
                if (count >= most || now - began > 60000) done([now - began, longest, rows, count]);
                else requestAnimationFrame(look);
              };
              requestAnimationFrame(look);
            })""",
            NUM_JOBS,
        )
        scroll_ms, longest_ms, rows, count = found
        assert count == NUM_JOBS
        # What is on the screen is the end of the list, and the way back up works as well.
        page.wait_for_function(
            "() => Math.max(...[...document.querySelectorAll('tbody tr[aria-rowindex]')]"
            f".map((row) => Number(row.getAttribute('aria-rowindex')))) === {NUM_JOBS + 1}"
        )
        page.evaluate("document.querySelector('.scroll').scrollTop = 0")
        page.wait_for_selector("tbody tr[aria-rowindex='2']")
        assert "5,000 shown" in page.inner_text(".foot")
        return first_ms, scroll_ms, longest_ms, rows

    first_ms, scroll_ms, longest_ms, rows = watch(story, origin=crowded.url)
    assert rows <= 60, "only what can be seen is in the page"
    assert first_ms < FIRST_MS
    assert scroll_ms < SCROLL_MS, "all 25 pages"
    assert longest_ms < FRAME_MS


def test_walking_with_keys_brings_rows_into_view(
    watch: Callable[..., Any], crowded: Served
) -> None:
    def story(page: Any) -> None:
        page.goto(f"{page.origin}/#/jobs")
        page.wait_for_selector("table[aria-label=Jobs] tbody a")
        page.focus("table tbody a[tabindex='0']")
        for _ in range(6):
            page.keyboard.press("PageDown")
        row = page.evaluate("document.activeElement.closest('tr').getAttribute('aria-rowindex')")
        assert row == str(2 + 6 * 15)
        assert page.evaluate(
            """() => { const at = document.activeElement.getBoundingClientRect();
              const box = document.querySelector('.scroll').getBoundingClientRect();
              return at.top >= box.top && at.bottom <= box.bottom; }"""
        )

    watch(story, origin=crowded.url)


def test_a_whole_id_finds_a_job_however_old(watch: Callable[..., Any], crowded: Served) -> None:
    with httpx.Client(base_url=crowded.url, timeout=60.0) as client:
        page_of, after = {}, ""
        for _ in range(2):  # beyond the first page of the list
            page_of = client.get("/v1/jobs", params={"limit": 1000, "after": after}).json()
            after = page_of["next"]
        old = page_of["data"][-1]["id"]

    def story(page: Any) -> tuple[str, str]:
        page.goto(f"{page.origin}/#/jobs")
        page.wait_for_selector("table[aria-label=Jobs] tbody a")
        page.fill("#f-id", old)
        page.wait_for_selector(f"tbody a[title='{old}']")
        found = page.inner_text(".foot")
        page.fill("#f-id", "00000000-0000-7000-8000-00000000000f")
        page.wait_for_selector(".empty:has-text('No job matches')")
        return found, page.inner_text(".foot")

    found, none = watch(story, origin=crowded.url, refused=1)
    assert found == "1 shown" and none == "0 shown"
