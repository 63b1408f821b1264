"""`gangline jobs` on a server and on the store of this machine: the same documents, the same codes."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gangline as gl
from gangline.backends.fake import FakeBackend
from gangline.ir.errors import NotFoundError
from gangline.runtime import api
from gangline.runtime.cli import app
from gangline.runtime.client import testing
from gangline.runtime.machine import default_backends
from gangline.runtime.store import Store
from gangline.workflows.databases import DATABASES

Validate = Callable[[str, Any], None]
Run = Callable[..., Any]
GATE, ENTERED = threading.Event(), threading.Event()


FILE = '''
import gangline as gl


@gl.tool(effects="read")
def plus_two(number: int) -> int:
    return number + 2


@gl.workflow
def add_two(number: int, note: str = "") -> int:
    """Add two."""
    return plus_two(number)


@gl.tool(effects="read")
def breaks(number: int) -> int:
    raise ValueError(f"no {number}")


@gl.workflow
def breaking(number: int) -> int:
    """Fail."""
    return breaks(plus_two(number))


@gl.tool(effects="read")
def place_of(db: gl.Database) -> str:
    return str(db)


@gl.workflow
def located(db: gl.Database) -> str:
    """Say where a database is."""
    return place_of(db)


@gl.workflow
def asking(number: int) -> str:
    """Ask a person."""
    return gl.ask("Which colour?", returns=str, choices=["red", "blue"])


@gl.tool(effects="write")
def jot(number: int) -> int:
    return number


@gl.tool(effects="none")
def plan_jots(number: int) -> list[dict]:
    return [{"id": f"s{at}", "tool": "jot", "arguments": {"number": at}} for at in range(number)]


@gl.workflow
def jotting(number: int) -> dict:
    """Carry out a plan that writes."""
    return gl.expand(plan_jots(number), tools=[jot])
'''


@gl.tool(effects="read")
def at_the_gate(number: int) -> int:
    ENTERED.set()
    GATE.wait(30)
    return number


@gl.workflow
def held(number: int) -> int:
    """Wait at a gate."""
    return at_the_gate(number)


NAMES = ("add_two", "breaking", "located", "asking", "jotting")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command line; gives the document it printed, or its text without --json."""

    def call(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        found = app.run(["jobs", *arguments])
        out, err = capsys.readouterr()
        assert found == code, f"{arguments} ended with {found}:\n{out}{err}"
        return json.loads(out) if "--json" in arguments else out + err

    return call


@pytest.fixture(scope="module")
def workflows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of workflows, loaded once: a process knows each name of a tool once."""
    path = tmp_path_factory.mktemp("workflows") / "of_jobs.py"
    path.write_text(FILE)
    return path


@pytest.fixture
def wf(workflows: Path) -> Callable[[str], str]:
    return lambda name: f"{workflows}:{name}"


@pytest.fixture
def offered(wf: Callable[[str], str]) -> list[Any]:
    return [*map(wf, NAMES), held]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, offered: list[Any]) -> Iterator[str]:
    GATE.clear()
    ENTERED.clear()
    with testing.server(*offered) as address:
        monkeypatch.setenv("GANGLINE_SERVER", address)
        yield address
        GATE.set()


@pytest.fixture(params=["local", "server"])
def anywhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server, or this machine's own store with a backend that needs no model."""
    if request.param == "server":
        request.getfixturevalue("server")
        yield "server"
        return
    monkeypatch.delenv("GANGLINE_SERVER", raising=False)
    monkeypatch.setattr(default_backends, "default_backends", lambda *_: {"cpu/0": FakeBackend({})})
    yield "local"
    api.close_sessions()


def test_a_job_that_succeeds(
    anywhere: str, run: Run, validate: Validate, wf: Callable[[str], str]
) -> None:
    made = run("submit", wf("add_two"), "-i", "number=4", "--wait", "--json")
    validate("job_result", made)
    assert (made["status"], made["output"]) == ("succeeded", 6)
    assert [step["stage"] for step in made["steps"]] == ["plus_two"]
    shown = run("show", made["job_id"], "--json")
    validate("job_result", shown)
    assert shown == made
    page = run("list", "--json")
    validate("jobs", page)
    assert [row["id"] for row in page["data"]] == [made["job_id"]]
    assert run("show", made["job_id"][-8:], "--json") == made
    assert "plus_two" in run("show", made["job_id"])
    assert made["job_id"] in run("list")


def test_a_job_that_fails(
    anywhere: str, run: Run, validate: Validate, wf: Callable[[str], str]
) -> None:
    made = run("submit", wf("breaking"), "-i", "number=4", "--wait", "--json", code=1)
    validate("job_result", made)
    assert (made["status"], made["error"]["code"]) == ("failed", "step")
    again = run("retry", made["job_id"], "--json", *_wait(anywhere), code=1)
    assert again["job_id"] == made["job_id"]
    first = [step["id"] for step in again["steps"] if step["status"] == "succeeded"]
    assert len(first) == 1  # the recorded step was not run again
    watched = run("watch", made["job_id"], "--json", code=1)
    assert watched["status"] == "failed"
    validate("failure", run("cancel", made["job_id"], "--json", code=_refused(anywhere)))


def _wait(anywhere: str) -> tuple[str, ...]:
    return ("--watch",) if anywhere == "server" else ()


def _refused(anywhere: str) -> int:
    return 1 if anywhere == "server" else 2


def test_a_question(anywhere: str, run: Run, validate: Validate, wf: Callable[[str], str]) -> None:
    made = run("submit", wf("asking"), "-i", "number=1", "--wait", "--json", code=1)
    validate("job_result", made)
    assert made["status"] == "input_required"
    assert made["interrupts"][0]["question"] == "Which colour?"
    assert f"gangline jobs resume {made['job_id']}" in made["error"]["next_step"]
    assert run("watch", made["job_id"], "--json", code=1)["status"] == "input_required"
    refused = run("resume", made["job_id"], "green", "--json", code=2)
    validate("failure", refused)
    done = run("resume", made["job_id"], "blue", "--json", *_wait(anywhere))
    assert (done["status"], done["output"]) == ("succeeded", "blue")


def test_a_fork(anywhere: str, run: Run, wf: Callable[[str], str]) -> None:
    made = run("submit", wf("breaking"), "-i", "number=4", "--wait", "--json", code=1)
    failed = made["steps"][-1]["id"]
    fork = run("fork", made["job_id"], "--from-step", failed, "--json", *_wait(anywhere), code=1)
    assert fork["job_id"] != made["job_id"]
    assert fork["error"]["code"] == "step"


def test_wrong_inputs_are_told_before_anything_runs(
    anywhere: str, run: Run, validate: Validate, wf: Callable[[str], str]
) -> None:
    for arguments in (("-i", "nmber=4"), (), ("-i", "number=many")):
        refused = run("submit", wf("add_two"), *arguments, "--json", code=2)
        validate("failure", refused)
        assert refused["error"]["code"] == "input"
    assert run("list", "--json")["data"] == []


def test_ids_that_match_nothing(anywhere: str, run: Run, validate: Validate) -> None:
    refused = run("show", "nothing-of-the-kind", "--json", code=1)
    validate("failure", refused)


def test_a_plan_uses_what_is_granted(
    run: Run, monkeypatch: pytest.MonkeyPatch, wf: Callable[[str], str]
) -> None:
    monkeypatch.delenv("GANGLINE_SERVER", raising=False)
    monkeypatch.setattr(default_backends, "default_backends", lambda *_: {"cpu/0": FakeBackend({})})
    order = ("submit", wf("jotting"), "--wait", "--json", "-i")
    assert run(*order, "number=1", "--grant", "jot:1")["status"] == "succeeded"
    asked = run(*order, "number=2", "--grant", "jot:1", code=1)
    assert asked["interrupts"][0]["findings"][0]["rule"] == "repeated-write"
    assert run(*order, "number=1", "--grant", "jot:0", code=2)["error"]["where"] == "--grant"
    api.close_sessions()


def test_a_policy_file_goes_with_the_job(
    anywhere: str, run: Run, wf: Callable[[str], str], tmp_path: Path
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('on_violation = "refuse"\n')
    order = ("submit", wf("jotting"), "-i", "number=1", "--wait", "--policy")
    failed = run(*order, str(rules), "--json", code=1)
    assert (failed["status"], failed["error"]["code"]) == ("failed", "policy")
    assert run(*order, str(tmp_path / "none.toml"), "--json", code=2)["error"]["code"] == "config"


# -- on a server only


def test_no_grant_goes_beyond_the_server_s(
    server: str, run: Run, wf: Callable[[str], str], validate: Validate
) -> None:
    order = ("submit", wf("jotting"), "-i", "number=1", "--json", "--grant")
    refused = run(*order, "jot", code=1)
    validate("failure", refused)
    assert refused["error"]["code"] == "policy" and "grant jot" in refused["error"]["detail"]
    assert run("list", "--json")["data"] == []


def test_submitting_does_not_wait(server: str, run: Run) -> None:
    made = run("submit", "held", "-i", "number=1", "--json")
    assert made["status"] in ("queued", "running")
    assert ENTERED.wait(30)
    GATE.set()
    assert run("watch", made["job_id"], "--json")["output"] == 1


def test_cancelling_works_whoever_runs_the_job(server: str, run: Run, validate: Validate) -> None:
    made = run("submit", "held", "-i", "number=1", "--json")
    assert ENTERED.wait(30)
    cancelled = run("cancel", made["job_id"], "--json")
    validate("job_cancelled", cancelled)
    assert run("watch", made["job_id"], "--json", code=1)["error"]["code"] == "cancelled"


def test_equal_keys_are_one_job(anywhere: str, run: Run, wf: Callable[[str], str]) -> None:
    order = ("submit", wf("add_two"), "-i", "number=4", "--idempotency-key", "k", "--json")
    assert run(*order)["job_id"] == run(*order)["job_id"]
    other = ("submit", wf("add_two"), "-i", "number=5", "--idempotency-key", "k", "--json")
    assert run(*other, code=1)["error"]["code"] == "idempotency"
    assert len(run("list", "--json")["data"]) == 1


def test_what_is_watched_is_shown_line_by_line(
    server: str, run: Run, wf: Callable[[str], str]
) -> None:
    text = run("submit", wf("add_two"), "-i", "number=4", "--watch")
    assert "plus_two" in text
    assert "done" in text
    assert "succeeded" in text


def test_the_option_wins_over_the_environment(
    server: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANGLINE_SERVER", "http://127.0.0.1:9")
    assert run("list", "--server", server, "--json")["data"] == []


def test_a_name_is_enough(server: str, run: Run) -> None:
    made = run("submit", "add_two", "-i", "number=4", "--wait", "--json")
    assert made["output"] == 6


def test_text_stays_text_and_no_path_of_this_machine_is_sent(
    server: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wf: Callable[[str], str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "12").touch()
    made = run("submit", wf("add_two"), "-i", "number=4", "-i", "note=12", "--wait", "--json")
    assert made["status"] == "succeeded"
    with gl.Client(server) as client:
        (queued,) = [e for e in client.events(made["job_id"]) if e.type == "job.queued"]
    assert queued.data["inputs"] == {"number": 4, "note": "12"}


def test_a_database_is_one_that_the_server_knows(
    server: str,
    run: Run,
    wf: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A file of this machine that happens to be named like it is not meant, nor told."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop").touch()
    monkeypatch.setitem(DATABASES._locations, "shop", str(tmp_path / "elsewhere.sqlite"))
    made = run("submit", wf("located"), "-i", "db=shop", "--json")
    with gl.Client(server) as client:
        (queued,) = [e for e in client.events(made["job_id"]) if e.type == "job.queued"]
    assert queued.data["inputs"] == {"db": "shop"}


def test_a_fleet_is_the_server_s_own(server: str, run: Run, wf: Callable[[str], str]) -> None:
    refused = run("submit", wf("add_two"), "-i", "number=4", "--fleet", "x.toml", "--json", code=2)
    assert refused["error"]["where"] == "--fleet"


def test_a_server_that_is_away(run: Run, validate: Validate) -> None:
    refused = run("list", "--server", "http://127.0.0.1:9", "--json", code=1)
    validate("failure", refused)
    assert refused["error"]["code"] == "service"


def test_no_key_is_taken_from_the_command_line(run: Run) -> None:
    """Arguments of a process can be read by every user of the machine."""
    assert "--api-key" in run("list", "--api-key", "secret", code=2)


# -- on this machine only


def test_without_a_server_a_job_is_stored_for_one(
    run: Run, monkeypatch: pytest.MonkeyPatch, wf: Callable[[str], str], offered: list[Any]
) -> None:
    monkeypatch.delenv("GANGLINE_SERVER", raising=False)
    monkeypatch.setattr(default_backends, "default_backends", lambda *_: {"cpu/0": FakeBackend({})})
    made = run("submit", wf("add_two"), "-i", "number=4", "--priority", "8", "--json")
    assert made["status"] == "queued"
    api.close_sessions()
    with Store() as store:
        row = store.job(made["job_id"])
        assert (row.owner, row.priority) == ("", 8)
        path = store.path
    with testing.client(*offered, store=path) as client:
        assert client.wait(made["job_id"], timeout=30).output == 6
    assert run("show", made["job_id"], "--json")["output"] == 6


def test_a_job_of_another_process_can_be_watched(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, offered: list[Any]
) -> None:
    monkeypatch.delenv("GANGLINE_SERVER", raising=False)
    GATE.clear()
    ENTERED.clear()
    with Store() as store:
        path = store.path
    with testing.client(*offered, store=path) as client:
        job_id = client.submit(held, number=3).id
        assert ENTERED.wait(30)
        threading.Timer(0.3, GATE.set).start()
        assert run("watch", job_id, "--json")["output"] == 3


def test_what_the_client_asks_first_is_cheap() -> None:
    """`gangline jobs --help` imports no HTTP client."""
    import subprocess
    import sys

    code = (
        "import sys; from gangline.runtime.cli import app; app.run(['jobs', '--help']);"
        "sys.exit(any(name in sys.modules for name in ('httpx', 'starlette', 'numpy')))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr


def test_not_found_is_not_found(server: str) -> None:
    from gangline.runtime.cli.remote_desk import RemoteDesk

    with RemoteDesk(server) as desk, pytest.raises(NotFoundError):
        desk.show("0190b8f5-0000-7000-8000-000000000000")
