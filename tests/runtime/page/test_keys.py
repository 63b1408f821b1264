"""The page of a server that wants keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.page_server import serving
from gangline.runtime.server.settings import ServerSettings


def test_a_key_is_asked_for_kept_in_the_tab_and_sent(
    watch: Callable[..., Any], tmp_path: Path
) -> None:
    from gangline.runtime.service.keys import hash_key, new_key
    from gangline.runtime.store import KeyRow

    with serving(tmp_path, server=ServerSettings(open_access=False)) as served:
        secret = new_key()
        row = KeyRow("k1", hash_key(secret), "anna", ("submit", "read"), {}, 1.0)
        asyncio.run_coroutine_threadsafe(
            asyncio.to_thread(served.service.store.add_key, row), served.loop
        ).result(10)

        def story(page: Any) -> None:
            sent: list[str] = []
            page.on("request", lambda r: sent.append(r.headers.get("authorization", "")))
            page.goto(f"{page.origin}/#/jobs")
            page.wait_for_selector("dialog[open] input[type=password]")
            page.fill("dialog input", secret)
            page.keyboard.press("Enter")
            page.wait_for_selector("a:has-text('New job')")
            page.goto(f"{page.origin}/#/jobs/new")
            page.select_option("#workflow", "say")
            page.fill("textarea", "dogs")
            page.click("text=Start job")
            page.wait_for_selector(".heading .pill.succeeded")
            assert f"Bearer {secret}" in sent
            stored = page.evaluate("[JSON.stringify(localStorage), document.cookie]")
            assert secret not in "".join(stored)
            assert secret in page.evaluate("JSON.stringify(sessionStorage)")
            assert secret not in page.content()

        watch(story, refused=6, origin=served.url)
