"""`gangline serve` as a process: it starts, stops in good order, and refuses what is unsafe."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gangline.runtime.server.serve import Listening, bind, is_loopback

WAIT_S = 60.0
WORKFLOWS = """
import os, time
import gangline as gl

@gl.tool(effects="read")
def hold_gate(folder: str) -> str:
    open(os.path.join(folder, "entered"), "w").close()
    while not os.path.exists(os.path.join(folder, "go")):
        time.sleep(0.01)
    return "went"

@gl.workflow
def held(folder: str) -> str:
    return hold_gate(folder)

@gl.workflow
def echo(text: str) -> str:
    return say(text)

@gl.tool
def say(text: str) -> str:
    return text
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flows.py").write_text(WORKFLOWS)
    return tmp_path


def command(folder: Path, *more: str) -> tuple[list[str], dict[str, str]]:
    offered = [f"{folder / 'flows.py'}:{name}" for name in ("echo", "held")]
    flags = [word for name in offered for word in ("--workflow", name)]
    store = ["--db", str(folder / "jobs.sqlite")]
    run = [sys.executable, "-m", "gangline", "serve", "--port", "0", *store, *flags, *more]
    return run, {**os.environ, "GANGLINE_HOME": str(folder), "COLUMNS": "200"}


@contextmanager
def served(folder: Path) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    run, environment = command(folder)
    process = subprocess.Popen(run, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        url = ""
        for line in process.stderr:
            if found := re.search(r"serves on (\S+)", line):
                url = found[1]
                break
        assert url
        rest = threading.Thread(target=process.stderr.read, daemon=True)
        rest.start()
        with httpx.Client(base_url=url, timeout=WAIT_S) as client:
            yield process, client
    finally:
        process.kill()
        process.wait(WAIT_S)
        process.stderr.close()


def until(condition: Any) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def run_job(client: httpx.Client, workflow: str, **more: Any) -> httpx.Response:
    return client.post("/v1/jobs", json={"workflow": workflow, **more})


def test_a_stopped_server_leaves_its_jobs_to_the_next(folder: Path) -> None:
    """SIGTERM: the process ends with 0 while a job runs, and the next server finishes it."""
    with served(folder) as (process, client):
        job = run_job(client, "held", input={"folder": str(folder)}).json()["id"]
        until((folder / "entered").exists)
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
    (folder / "go").touch()
    with served(folder) as (process, client):
        done = client.get(f"/v1/jobs/{job}", headers={"prefer": "wait=50"}).json()
        assert (done["status"], done["output"]) == ("succeeded", "went")
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S) == 0


def test_a_server_says_that_it_stops_and_what_becomes_of_its_jobs(folder: Path) -> None:
    run, environment = command(folder)
    process = subprocess.Popen(run, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr as lines:
        url = next(found[1] for line in lines if (found := re.search(r"serves on (\S+)", line)))
        with httpx.Client(base_url=url, timeout=WAIT_S) as client:
            run_job(client, "held", input={"folder": str(folder)})
            until((folder / "entered").exists)
        process.send_signal(signal.SIGINT)
        assert "gangline stops; 1 running job will go on" in lines.read()
    assert process.wait(WAIT_S) == 0


def test_a_server_that_stops_takes_no_jobs_but_answers(folder: Path) -> None:
    """While it drains, an open stream ends, readiness fails, and the second signal ends all."""
    with served(folder) as (process, client):
        job = run_job(client, "held", input={"folder": str(folder)}).json()["id"]
        with client.stream("GET", f"/v1/jobs/{job}/events") as stream:
            lines = stream.iter_lines()
            assert next(lines) == "id: 1"
            process.send_signal(signal.SIGTERM)
            for _ in lines:
                pass
        process.send_signal(signal.SIGTERM)
        process.wait(WAIT_S)


def test_the_server_holds_no_compiler_and_no_model_code(folder: Path) -> None:
    with served(folder) as (process, client):
        answer = run_job(client, "echo", input={"text": "a"}, mode="wait")
        assert answer.json()["output"] == "a"
        mapped = Path(f"/proc/{process.pid}/maps")
        if not mapped.exists():
            pytest.skip("needs /proc")
        libraries = mapped.read_text()
        for name in ("iree", "torch", "scipy"):
            assert f"/{name}/" not in libraries, name
        lines = Path(f"/proc/{process.pid}/status").read_text()
        resident_mb = int(re.findall(r"VmRSS:\s+(\d+)", lines)[0]) / 1000
        assert resident_mb < 120


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--host", "0.0.0.0"), "no key"),
        (("--host", "192.0.2.1"), "no key"),
        (("--host", "0.0.0.0"), "gangline keys create --tenant NAME --db"),
        (("--host", "192.0.2.1", "--insecure"), "Give an address of this machine"),
        (("--database", "shop"), "not a database"),
        (("--database", "shop=not/here.sqlite"), "There is no file not/here.sqlite"),
        (("--workflow", "nothing"), "no built-in workflow"),
    ],
)
def test_what_is_unsafe_or_impossible_is_refused(
    folder: Path, arguments: tuple[str, ...], told: str
) -> None:
    run, environment = command(folder, *arguments)
    done = subprocess.run(
        run, env=environment, capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert done.returncode == 2, done.stderr
    assert told in done.stderr


def test_a_workflow_that_cannot_be_compiled_is_told_at_the_start(folder: Path) -> None:
    with (folder / "flows.py").open("a") as file:
        file.write("\n@gl.workflow\ndef bad(text: str) -> str:\n    return say(f'{text}!')\n")
    run, environment = command(folder, "--workflow", f"{folder / 'flows.py'}:bad")
    done = subprocess.run(
        run, env=environment, capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert done.returncode == 1
    assert "[trace]" in done.stderr and "flows.py" in done.stderr


def test_keys_open_the_network(folder: Path) -> None:
    """With a key the server may listen anywhere, and asks for it."""
    from gangline.runtime.service.keys import hash_key
    from gangline.runtime.store import open_store
    from gangline.runtime.store.records import KeyRow

    with open_store(folder / "jobs.sqlite") as store:
        store.add_key(KeyRow("1", hash_key("gl-k"), "anna", ("submit", "read")))
    run, environment = command(folder, "--host", "0.0.0.0")
    process = subprocess.Popen(run, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        lines = iter(process.stderr)
        port = next(found[1] for line in lines if (found := re.search(r"0\.0\.0\.0:(\d+)", line)))
        url = f"http://127.0.0.1:{port}/v1/jobs"
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={"authorization": "Bearer gl-k"}).json()["data"] == []
    finally:
        process.kill()
        process.wait(WAIT_S)
        process.stderr.close()


def test_a_taken_port_is_told() -> None:
    from gangline.ir.errors import UsageError

    with bind(Listening(port=0)) as first:
        first.listen()
        taken = first.getsockname()[1]
        with pytest.raises(UsageError, match="Cannot listen") as caught:
            bind(Listening(port=taken))
        assert caught.value.where == "--port" and f"--port {taken + 1}" in caught.value.next_step


def test_models_that_are_not_on_this_machine_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start, not by the first job; a model that only a fleet file knows is its affair."""
    from gangline.runtime.cli.serve import missing_models
    from gangline.workflows.text_to_sql import text_to_sql

    monkeypatch.setenv("GANGLINE_CACHE", str(tmp_path))
    assert missing_models([text_to_sql]) == ["qwen2.5-coder-1.5b"]
    monkeypatch.setattr("gangline.runtime.machine.models.is_present", lambda spec: True)
    assert missing_models([text_to_sql]) == []


def test_loopback_addresses() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "localhost", "::1", "127.9.9.9")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.0.2.1", "example.org", "")))


def test_precompiled_programs_are_those_the_compiler_makes(folder: Path) -> None:
    """The child's programs equal ours, byte for byte, and a workflow it cannot compile is told."""
    code = f"""
import json, sys
sys.path.insert(0, {str(folder)!r})
from gangline.runtime.server.precompile import precompile
from gangline.workflows.registry import load
flows = [load({str(folder / "flows.py")!r} + ":" + name) for name in ("echo", "held")]
precompile(flows)()
sent = [flow.program() for flow in flows]
assert not any(name.startswith("iree") for name in sys.modules)
for flow in flows:
    del flow.__dict__["_program"]
assert sent == [flow.program() for flow in flows]
print(json.dumps([program.hash for program in sent]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 2
