"""Read the fenced blocks of a document and execute them, without weights and without network.

What a block may say after its language: `exit=N` (the command ends with that code), `file=NAME`
(the block is that file, and later blocks may use it), `output` (a `text` block that is the
output of the block before it, compared with numbers and spacing left out of account).
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gangline.backends.fake import FakeBackend
from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.fleet import Fleet
from gangline.ir.version import read_module
from gangline.planner.fleet_file import load_fleet
from gangline.planner.tco.catalogue_file import read_catalogue_file
from gangline.planner.tco.price_feed import read_prices
from gangline.runtime import api, example_database
from gangline.runtime.cli import app
from gangline.runtime.history import History
from gangline.runtime.job_policy import load_policy
from gangline.runtime.machine import default_backends, download, models, probe
from gangline.workflows.registry import LLMS, TOOLS, WORKFLOWS
from gangline.workflows.tool import USER_MODULE

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\S*)[ \t]*(.*)$")
CPU = DeviceSpec(
    "cpu",
    flops={"fp32": 1e11, "bf16": 5e11, "int8": 6e11},
    memory_bytes=8 * 10**9,
    memory_bytes_per_s=2e10,
    cores=2,
    generation="x86",
    source="detected: the machine of the tests",
)
REPLIES = {
    "SQL": "SELECT country, COUNT(*) FROM customer GROUP BY country",
    "": "Sled dogs run in teams on one line. They rest as long as they run.",
}


@dataclass(frozen=True, slots=True)
class Fence:
    """One fenced block; `line` is that of its first line of text."""

    path: Path
    line: int
    language: str
    info: tuple[str, ...]
    text: str

    @property
    def where(self) -> str:
        return f"{self.path.name}:{self.line}"

    def option(self, name: str, default: str = "") -> str:
        """Give the value of `name=value` in the fence's info."""
        found = (word.partition("=")[2] for word in self.info if word.startswith(f"{name}="))
        return next(found, default)


def read_fences(path: Path) -> Iterator[Fence]:
    """Yield the blocks of a document; one that is never closed is an error."""
    opened: tuple[int, str, str] | None = None
    lines: list[str] = []
    # Invariant: `lines` is the text since the fence in `opened`, and None is opened outside.
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if opened is None:
            if match := FENCE.match(line):
                opened, lines = (number + 1, match[1], match[2]), []
        elif line == "```":
            first, language, info = opened
            yield Fence(path, first, language, tuple(info.split()), "\n".join(lines) + "\n")
            opened = None
        else:
            lines.append(line)
    assert opened is None, f"{path.name}: the block at line {opened} is not closed"


def masked(text: str) -> str:
    """Leave out of a text what differs from machine to machine: numbers, spacing, rules."""
    text = re.sub(r"\d+(?:[.,]\d+)*(?:e[+-]?\d+)?", "N", text)
    return re.sub(r"[\s#=|-]+", " ", text).strip()


@contextlib.contextmanager
def as_new_process() -> Iterator[None]:
    """Forget what users' files registered, as a command in a process of its own would."""
    tables: list[dict[str, Any]] = [registry._found for registry in (TOOLS, LLMS, WORKFLOWS)]
    kept = [_take_users(table) for table in tables]
    modules = {name: sys.modules.pop(name) for name in list(sys.modules) if is_user_module(name)}
    try:
        yield
    finally:
        for table, entries in zip(tables, kept, strict=True):
            _take_users(table)
            table.update(entries)
        for name in list(filter(is_user_module, sys.modules)):
            del sys.modules[name]
        sys.modules.update(modules)


def _take_users(table: dict[str, Any]) -> dict[str, Any]:
    names = [name for name, (_, fn) in table.items() if not fn.__module__.startswith("gangline.")]
    return {name: table.pop(name) for name in names}


def is_user_module(name: str) -> bool:
    """Tell modules that `load` made of workflow files."""
    return name.startswith(USER_MODULE)


@dataclass
class Workshop:
    """Execute blocks one after the other, in one folder and one Python namespace."""

    folder: Path
    namespace: dict[str, Any] = field(default_factory=lambda: {"__name__": "document"})
    output: str = ""
    executed: list[str] = field(default_factory=list)
    server: subprocess.Popen[str] | None = None
    address: str = ""
    key: str = ""

    def run(self, fences: Iterator[Fence]) -> int:
        """Execute all blocks; gives how many there were. Fails at the first that does not."""
        for fence in fences:
            if fence.language == "text":
                self._compare(fence)
                continue
            execute = _LANGUAGES.get(fence.language)
            assert execute, f"{fence.where}: a {fence.language!r} block cannot be executed"
            if name := fence.option("file"):
                (self.folder / name).write_text(fence.text, encoding="utf-8")
            execute(self, fence)
            self.executed.append(fence.where)
        return len(self.executed)

    def _compare(self, fence: Fence) -> None:
        if "output" in fence.info:
            assert masked(self.output) == masked(fence.text), (
                f"{fence.where}: other output:\n{self.output}"
            )

    def python(self, fence: Fence) -> None:
        """Run Python; what it prints is the output."""
        # Blank lines in front make line numbers in errors those of the document.
        source = "\n" * (fence.line - 1) + self._at_server(fence.text)
        code = compile(source, str(fence.path), "exec", dont_inherit=True)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code, self.namespace)  # noqa: S102 (the repository's own documents)
        self.output = out.getvalue()

    def bash(self, fence: Fence) -> None:
        """Run commands, each of which must be one of `_COMMANDS`."""
        expected, self.output = int(fence.option("exit", "0")), ""
        for line in fence.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if not words:
                continue
            if words[-1] == "&":
                self.start(words[1:-1])
                continue
            command = _COMMANDS.get(words[0].removeprefix(".venv/bin/"))
            assert command, f"{fence.where}: {words[0]!r} is no command the tests know"
            code = command(self, words[1:])
            assert code == expected, f"{fence.where}: {line}\nended with {code}:\n{self.output}"

    def gangline(self, arguments: list[str]) -> int:
        """Run one command line in this process; what it prints is added to the output."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), as_new_process():
            code = app.run([self._at_server(word) for word in arguments])
        text = out.getvalue()
        if found := re.search(r"gl-[\w-]{20,}", text):
            self.key = found[0]
        if "--json" in arguments:
            json.loads(text)
        self.output += text or err.getvalue()
        return code

    def _at_server(self, text: str) -> str:
        """Put the address of the server in the background where the document has the usual one."""
        return text.replace("http://localhost:8080", self.address) if self.address else text

    def make(self, arguments: list[str]) -> int:
        """Check that the Makefile has every target and every variable that is named."""
        makefile = (ROOT / "Makefile").read_text()
        for word in arguments:
            name, is_variable, _ = word.partition("=")
            pattern = rf"^{name}\s*\?=" if is_variable else rf"^{name}:"
            assert re.search(pattern, makefile, re.MULTILINE), f"the Makefile has no {name!r}"
        return 0

    def start(self, arguments: list[str]) -> None:
        """Run a command on in the background: `gangline serve`, on a free port."""
        run = [sys.executable, "-m", "gangline", *arguments, "--port", "0"]
        self.server = subprocess.Popen(run, cwd=self.folder, stderr=subprocess.PIPE, text=True)
        assert self.server.stderr is not None
        for line in self.server.stderr:
            if found := re.search(r"serves on (\S+)", line):
                self.address = found[1]
                break
        assert self.address, "the server did not start"
        threading.Thread(target=self.server.stderr.read, daemon=True).start()

    def curl(self, arguments: list[str]) -> int:
        """Send a request to the server in the background; an HTTP error is a failure."""
        if not shutil.which("curl"):
            pytest.skip("needs curl")
        given = [self._at_server(word).replace("$KEY", self.key) for word in arguments]
        done = subprocess.run(
            ["curl", "-sS", "--fail-with-body", "--max-time", "30", *given],
            capture_output=True,
            text=True,
            check=False,
        )
        self.output += done.stdout + done.stderr
        return done.returncode

    def kill(self, arguments: list[str]) -> int:
        """Stop the server in the background in good order, and give how it ended."""
        assert arguments == ["%1"] and self.server is not None and self.server.stderr is not None
        self.server.terminate()
        code = self.server.wait(30)
        self.server.stderr.close()
        self.server = None
        return code

    def close(self) -> None:
        """End what runs on in the background."""
        if self.server is not None:
            self.server.kill()
            self.server.wait()
            assert self.server.stderr is not None
            self.server.stderr.close()

    def git(self, arguments: list[str]) -> int:
        """Allow a clone, which these tests do not make."""
        return 0 if arguments[0] == "clone" else 1

    def cd(self, arguments: list[str]) -> int:
        """Stay: the folder of a workshop looks like the repository's root."""
        return 0

    def toml(self, fence: Fence) -> None:
        """Read a fleet file the way `--fleet` does; or, with `as=`, a catalogue or prices."""
        path = self.folder / fence.option("file", "block.toml")
        path.write_text(fence.text, encoding="utf-8")
        readers = {
            "catalogue": read_catalogue_file,
            "prices": read_prices,
            "policy": load_policy,
        }
        if kind := fence.option("as"):
            readers[kind](path)
            return
        assert "device" in tomllib.loads(fence.text), f"{fence.where}: not a fleet file"
        load_fleet(path, cpu=CPU)

    def json(self, fence: Fence) -> None:
        """Read JSON."""
        json.loads(fence.text)

    def mlir(self, fence: Fence) -> None:
        """Parse and verify a module; or, with `of=`, find the lines in that golden of a pass.

        Each line of an excerpt is a line of the golden, in order, indentation aside; `...` stands
        for what is left out of a line, and alone for left-out lines.
        """
        if not (name := fence.option("of")):
            read_module(fence.text)
            return
        golden = (ROOT / f"tests/golden/passes/{name}.mlir").read_text().splitlines()
        lines = iter(line.strip() for line in golden)
        for shown in map(str.strip, fence.text.splitlines()):
            pattern = ".*".join(map(re.escape, shown.split("...")))
            found = shown == "..." or any(re.fullmatch(pattern, line) for line in lines)
            assert found, f"{fence.where}: {name} has no such line here: {shown}"


_LANGUAGES: Mapping[str, Callable[[Workshop, Fence], None]] = {
    "python": Workshop.python,
    "bash": Workshop.bash,
    "toml": Workshop.toml,
    "json": Workshop.json,
    "mlir": Workshop.mlir,
}
_COMMANDS: Mapping[str, Callable[[Workshop, list[str]], int]] = {
    "gangline": Workshop.gangline,
    "make": Workshop.make,
    "git": Workshop.git,
    "curl": Workshop.curl,
    "kill": Workshop.kill,
    "cd": Workshop.cd,
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder and a home of its own, on a machine whose models are scripted."""
    for name in ("HOME", "CACHE"):
        monkeypatch.setenv(f"GANGLINE_{name}", str(tmp_path / name.lower()))
    monkeypatch.setenv("COLUMNS", "100")
    folder = tmp_path / "gangline"
    folder.mkdir()
    for name in ("examples", "docs"):
        (folder / name).symlink_to(ROOT / name)
    monkeypatch.chdir(folder)
    _script(monkeypatch)
    yield folder
    api.close_sessions()


def _script(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put scripted models, a fixed CPU and a download that fetches nothing in place."""

    def backends(fleet: Fleet, clock: Any) -> dict[str, FakeBackend]:
        ids = [device_id for device in fleet.devices for device_id in device.ids]
        return {device_id: FakeBackend(REPLIES) for device_id in ids}

    monkeypatch.setattr(default_backends, "default_backends", backends)
    monkeypatch.setattr(probe, "detect", lambda: CPU)
    # Plans in the docs are those of a first run: what scripted models take teaches nothing.
    monkeypatch.setattr(History, "learn", lambda *_: None)
    monkeypatch.setattr(probe, "probe", lambda: (CPU,))
    monkeypatch.setattr(download, "pull", lambda spec, progress: models.find(spec.name))


@pytest.fixture
def workshop(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    """A workshop with a small example database as shop.sqlite."""
    module = types.ModuleType("document")
    monkeypatch.setitem(sys.modules, "document", module)
    example_database.make_example_database(home / "shop.sqlite", num_orders=200, num_customers=50)
    made = Workshop(home, module.__dict__)
    with as_new_process():  # what other pages and tests named is not known to this one
        yield made
    made.close()


@pytest.fixture
def fences() -> Callable[[Path], Iterator[Fence]]:
    """The reader of a document's blocks."""
    return read_fences
