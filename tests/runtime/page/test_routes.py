"""What the page is made of, as it is served."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from benchmarks.page_server import Served, serving
from gangline.ir.specs.event import Event
from gangline.runtime.page.layouts import KEPT, Layouts
from gangline.runtime.server.page import recorded_plans
from gangline.runtime.server.settings import ServerSettings


def test_every_file_has_a_strict_policy_and_a_type(client: httpx.Client, static: Path) -> None:
    types = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg"}
    names = [path.name for path in static.iterdir()]
    assert "app.js" in names
    for name in names:
        answer = client.get(f"/static/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(types[name.rpartition(".")[2]])
        assert answer.content == (static / name).read_bytes()
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert "script-src 'self'" in policy and "*" not in policy and "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("/").content == (static / "index.html").read_bytes()


@pytest.mark.parametrize(
    "name", ["..%2flayouts.py", "none.js", "..%5clayouts.py", "static", "app.js%00"]
)
def test_nothing_else_is_served(client: httpx.Client, name: str) -> None:
    assert client.get(f"/static/{name}").status_code == 404


def test_the_page_loads_nothing_from_elsewhere_and_writes_no_markup(static: Path) -> None:
    for path in static.iterdir():
        text = path.read_text()
        found = set(re.findall(r"https?://[^\s\"'`)]+", text))
        assert found <= {"http://www.w3.org/2000/svg"}, path.name
        if path.suffix == ".js":
            banned = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
            assert not re.search(banned, text), path.name
            assert not re.search(r"setAttribute\(\s*[\"']style", text), path.name
        if path.suffix == ".html":
            assert " style=" not in text and "<style" not in text and "onclick" not in text
            assert not re.search(r"<script[^>]*>[^<]", text)


def test_scripts_stay_small(static: Path) -> None:
    sizes = {path.name: len(path.read_text().splitlines()) for path in static.glob("*.js")}
    assert max(sizes.values()) <= 250, sizes
    assert sum(path.stat().st_size for path in static.iterdir()) < 160_000


def test_a_job_has_a_drawing(client: httpx.Client) -> None:
    job = client.post("/v1/jobs", json={"workflow": "steps", "input": {"number": 1}}).json()
    drawing = client.get(f"/page/jobs/{job['id']}/layout").json()
    assert {node["id"] for node in drawing["nodes"]} == {"plus_one", "hold", "plus_one#2"}
    assert len(drawing["edges"]) == 2
    assert drawing["nodes"][0]["width"] > 0


def test_levels_of_a_drawing(client: httpx.Client) -> None:
    calls = client.get("/page/workflows/say/layout").json()
    stages = client.get("/page/workflows/say/layout?level=stage").json()
    assert [node["kind"] for node in calls["nodes"]] == ["llm"]
    assert [node["kind"] for node in stages["nodes"]] == [
        "tokenize",
        "prefill",
        "decode",
        "detokenize",
    ]
    assert client.get("/page/workflows/say/layout?level=mlir").status_code == 422


def test_what_is_not_there_is_not_drawn(client: httpx.Client) -> None:
    unknown = "01a20782-6dcd-7f63-be5c-93e59d1bd3e5"
    assert client.get(f"/page/jobs/{unknown}/layout").status_code == 404
    assert client.get("/page/workflows/none/layout").status_code == 404


def test_the_page_needs_no_key_and_its_data_does(tmp_path: Path) -> None:
    with (
        serving(tmp_path, server=ServerSettings(open_access=False)) as closed,
        httpx.Client(base_url=closed.url) as client,
    ):
        assert client.get("/").status_code == 200
        assert client.get("/static/app.js").status_code == 200
        for path in ("/page/workflows/say/layout", "/page/calibration", "/v1/jobs"):
            assert client.get(path).status_code == 401, path


def test_calibration_without_history_is_empty(client: httpx.Client) -> None:
    assert client.get("/page/calibration").json() == {"data": []}


def test_the_page_is_no_part_of_the_api_document(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert "/v1/jobs" in paths and not [
        path for path in paths if path.startswith(("/page", "/static"))
    ]


def test_plans_of_an_expand_that_ran_often_are_not_drawn() -> None:
    def recorded(step_id: str, stage: str) -> Event:
        plan = {"steps": [{"id": "a", "tool": "t", "arguments": {}, "after": []}]}
        data = {"op": "expand", "stage": stage, "value": plan}
        return Event("j", 1, "step.completed", 0.0, step_id, data)

    once, often = recorded("e", "e"), [recorded(f"map[{i}]/f", "f") for i in range(2)]
    assert recorded_plans([once, *often]) == {"e": once.data["value"]["steps"]}


def test_drawings_are_kept_by_program_and_forgotten(served: Served) -> None:
    layouts = Layouts()
    program = served.service.offers.find("research").program()
    first = layouts.body(program, "agent")
    assert layouts.body(program, "agent") is first
    assert layouts.body(program, "stage") != first
    from dataclasses import replace

    for number in range(KEPT):
        layouts.body(replace(program, text=f"another {number}"), "agent")
    assert layouts.body(program, "agent") is not first
