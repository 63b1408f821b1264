"""The views of the fleet and of plans, on a server with a fleet of several kinds of devices."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.page_server import Served, gate, serving
from gangline.planner.fleet_file import load_fleet

MIXED = Path(__file__).parents[3] / "examples" / "mixed_fleet.toml"
Watch = Callable[..., Any]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("mixed"), fleet=load_fleet(str(MIXED))) as served:
        yield served


def figure(page: Any, name: str) -> str:
    return str(page.inner_text(f".figure:has(span:text-is('{name}')) b"))


def test_a_plan_is_previewed_and_nothing_is_run(watch: Watch, mixed: Served) -> None:
    def story(page: Any) -> list[str]:
        page.goto(f"{page.origin}/#/jobs/new")
        page.select_option("#workflow", "research")
        page.fill("textarea", "dogs")
        page.click("text=Preview plan")
        page.wait_for_selector("table[aria-label=Placement]")
        assert figure(page, "p95").endswith("s") and figure(page, "Cost").startswith("$")
        assert page.locator("text=expected to keep its limits").count() == 1
        return list(page.locator("table[aria-label=Placement] td:nth-child(2)").all_inner_texts())

    devices = watch(story, origin=mixed.url)
    assert set(devices) <= {"host", "old", "new"} and len(devices) > 5
    with httpx.Client(base_url=mixed.url) as client:
        assert client.get("/v1/jobs").json()["data"] == []


def test_plans_are_compared_and_a_miss_is_told(watch: Watch, mixed: Served) -> None:
    def story(page: Any) -> None:
        page.goto(f"{page.origin}/#/plan")
        page.select_option("#p-workflow", "research")
        page.fill("textarea", "dogs")
        numbers = page.locator("main input[type=number]")
        for place, value in ((0, "60"), (0, "0.01"), (0, ""), (1, "0.02")):
            numbers.nth(place).fill(value)
            if (place, value) == (0, ""):
                continue
            before = page.locator("table[aria-label=Plans] tbody tr").count()
            page.click("main button:has-text('Plan')")
            page.wait_for_selector(f"table[aria-label=Plans] tbody tr:nth-child({before + 1})")
        verdicts = page.locator("table[aria-label=Plans] td:nth-child(2)").all_inner_texts()
        assert verdicts == ["keeps", "misses", "misses"], "deadline, deadline, p95"
        assert "is over the wanted" in page.inner_text("main")
        page.click("table[aria-label=Plans] tbody tr:nth-child(2) a")
        said = page.inner_text(".problem")
        assert "Not expected to keep its limits" in said and "Next step" in said
        assert page.locator("table[aria-label=Placements] thead th").count() == 4
        assert page.locator(".chart line.limit").count() == 1
        assert page.locator(".graph .node").count() > 5

    watch(story, origin=mixed.url)


def test_a_job_shows_predicted_against_actual(watch: Watch, mixed: Served) -> None:
    def story(page: Any) -> None:
        with httpx.Client(base_url=mixed.url) as client:
            body = {"workflow": "research", "input": {"topic": "dogs"}, "deadline_ms": 60_000}
            job = client.post("/v1/jobs", json=body).json()["id"]
        page.goto(f"{page.origin}/#/jobs/{job}")
        page.wait_for_selector(".heading .pill.succeeded")
        page.wait_for_selector("section[aria-label='Predicted against actual'] circle")
        titles = page.locator("section[aria-label='Predicted against actual'] circle title")
        assert {text.split(":")[0] for text in titles.all_text_contents()} == {
            "predicted",
            "actual",
        }
        assert "predicted" in page.inner_text(".figure:has(span:text-is('Time')) small")
        assert figure(page, "Deadline") == "kept"
        assert page.locator(".chart .expected").count() > 5, "outlines of what was predicted"

    watch(story, origin=mixed.url)


def test_the_fleet_shows_load_and_money(watch: Watch, mixed: Served) -> None:
    def story(page: Any) -> None:
        page.goto(f"{page.origin}/#/fleet")
        page.wait_for_selector("tbody tr:nth-child(4)")
        ids = page.locator("tbody td:nth-child(1) strong").all_inner_texts()
        assert ids == ["host/0", "old/0", "old/1", "new/0"]
        assert figure(page, "Rate") == "$4.90/h" and figure(page, "Jobs running") == "0"
        assert "$3.50/h" in page.inner_text("tbody tr:nth-child(4)")
        gate.close()
        with httpx.Client(base_url=mixed.url) as client:
            client.post("/v1/jobs", json={"workflow": "steps", "input": {"number": 1}})
        page.wait_for_selector(".figure:has(span:text-is('Jobs running')) b:text-is('1')")
        gate.open()
        page.wait_for_selector(".figure:has(span:text-is('Jobs running')) b:text-is('0')")

    watch(story, origin=mixed.url)


def test_the_error_before_and_after_calibration_is_drawn(watch: Watch, mixed: Served) -> None:
    rows = [
        {
            "op": "prefill",
            "device": "H200",
            "model": "m",
            "num_runs": 9,
            "before": 0.5,
            "after": 0.1,
        }
    ]

    def story(page: Any) -> None:
        page.route(
            "**/page/calibration",
            lambda route: route.fulfill(
                content_type="application/json", body=json.dumps({"data": rows})
            ),
        )
        page.goto(f"{page.origin}/#/fleet")
        page.wait_for_selector(".chart circle.dot")
        titles = page.locator(".chart circle title").all_text_contents()
        assert titles == ["before calibration: 50 %", "after calibration: 10 %"]

    watch(story, origin=mixed.url)
