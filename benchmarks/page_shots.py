"""Take the pictures of the page that docs/page.md shows, in light and dark.

    python -m benchmarks.page_shots          # writes docs/images/page_*.png

Models are made up (benchmarks/page_server.py): times, tokens and money are those of a stand-in.
Needs Chromium (`GANGLINE_CHROMIUM` or on the path).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from benchmarks.page_server import broken, gate, serving
from gangline.planner.fleet_file import load_fleet

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
SIZE: Any = {"width": 1280, "height": 860}
TALL: Any = {"width": 1280, "height": 1060}
MAX_BYTES = 250_000
TOPICS = ("sled dogs", "lead dogs", "wheel dogs", "long races", "rest", "snow")


def main() -> None:
    from playwright.sync_api import sync_playwright

    IMAGES.mkdir(exist_ok=True)
    fleet = load_fleet(str(ROOT / "examples" / "mixed_fleet.toml"))
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder), fleet=fleet) as served,
        httpx.Client(base_url=served.url, timeout=60.0) as client,
        sync_playwright() as playwright,
    ):
        chromium = os.environ.get("GANGLINE_CHROMIUM") or shutil.which("chromium")
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        for scheme in ("light", "dark"):
            _pictures(browser.new_context(viewport=SIZE, color_scheme=scheme), client, scheme)
        browser.close()


def _pictures(context: Any, client: httpx.Client, scheme: str) -> None:
    page = context.new_page()
    jobs = _work(client)

    def shot(
        name: str, view: str, ready: str, act: Callable[[], None] | None = None, size: Any = SIZE
    ) -> None:
        page.set_viewport_size(size)
        page.goto(f"{client.base_url}/{view}")
        page.wait_for_selector(ready)
        if act:
            act()
        page.wait_for_timeout(300)
        path = IMAGES / f"page_{name}_{scheme}.png"
        page.screenshot(path=path)
        size = path.stat().st_size
        assert size < MAX_BYTES, f"{path.name} has {size} bytes"
        print(f"{path.relative_to(ROOT)}: {size} bytes")

    shot("jobs", "#/jobs", "tbody .pill.input_required")
    shot("job", f"#/jobs/{jobs['done']}", ".heading .pill.succeeded", size=TALL)
    live = _submit(client, "research", {"topic": "the Serum Run"}, deadline_ms=60_000)
    writing = (".node.llm.running", lambda: page.wait_for_selector(".stream"))
    shot("live", f"#/jobs/{live}", *writing, size=TALL)
    shot("error", f"#/jobs/{jobs['failed']}", ".problem")
    shot("question", f"#/jobs/{jobs['asks']}", ".question")
    shot("submit", "#/jobs/new", "#workflow", lambda: _preview(page))
    shot("fleet", "#/fleet", "tbody .meter", lambda: _load(client, page))
    shot("plan", "#/plan", "#p-workflow", lambda: _compare(page))
    gate.open()
    page.close()


def _work(client: httpx.Client) -> dict[str, str]:
    """Run some of everything."""
    for topic in TOPICS:
        _submit(client, "research", {"topic": topic})
    done = _submit(client, "research", {"topic": "sled dogs"}, priority=7, deadline_ms=30_000)
    for number in range(5):
        _submit(client, "rivers", {"number": number})
    broken.set()
    failed = _submit(client, "rivers", {"number": 9}, metadata={"team": "maps"})
    _wait(client, failed)
    broken.clear()
    asks = _submit(client, "careful", {"number": 3})
    _wait(client, asks)
    _wait(client, done)
    gate.close()
    _submit(client, "steps", {"number": 1})
    return {"done": done, "failed": failed, "asks": asks}


def _load(client: httpx.Client, page: Any) -> None:
    """Keep the fleet busy for some seconds."""
    for turn in range(24):
        for topic in TOPICS[: 2 + turn % 5]:
            _submit(client, "research", {"topic": f"{topic} {turn}"})
        page.wait_for_timeout(500)


def _preview(page: Any) -> None:
    page.select_option("#workflow", "research")
    page.fill("textarea", "sled dogs")
    page.click("text=Preview plan")
    page.wait_for_selector("table[aria-label=Placement]")


def _compare(page: Any) -> None:
    page.select_option("#p-workflow", "research")
    page.fill("textarea", "sled dogs")
    numbers = page.locator("main input[type=number]")
    for deadline in ("", "2", "0.5"):
        numbers.nth(0).fill(deadline)
        page.click("main button:has-text('Plan')")
        page.wait_for_timeout(1500)
    page.wait_for_selector("table[aria-label=Plans] tr.on")


def _submit(client: httpx.Client, workflow: str, given: dict[str, Any], **more: Any) -> str:
    body = {"workflow": workflow, "input": given, **more}
    return str(client.post("/v1/jobs", json=body).raise_for_status().json()["id"])


def _wait(client: httpx.Client, job: str) -> None:
    while client.get(f"/v1/jobs/{job}").json()["status"] in ("queued", "running"):
        pass


if __name__ == "__main__":
    main()
