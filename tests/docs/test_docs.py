"""The documents are true: their blocks run, their names resolve, their lists are complete."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from gangline.ir.errors import GanglineError
from gangline.runtime.cli.app import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LAYERS = ("workflows", "ir", "planner", "backends", "runtime")


@pytest.mark.parametrize(
    "name",
    (
        "agents.md",
        "architecture.md",
        "cli.md",
        "client.md",
        "service.md",
        "errors.md",
        "memory.md",
        "passes.md",
        "policy.md",
        "prompt_cache.md",
        "steering.md",
        "tco.md",
        "telemetry.md",
        "tool_agent.md",
        "tutorial.md",
    ),
)
def test_every_block_runs(
    name: str, workshop: Any, fences: Callable[[Path], Iterator[Any]]
) -> None:
    workshop.run(fences(DOCS / name))


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("```bash\ngangline run text_to_sql --no-such-option\n```", "ended with 2"),
        ("```bash\nmake nothing\n```", "no 'nothing'"),
        ("```bash\nmake run MOODEL=x\n```", "no 'MOODEL'"),
        ("```bash\nwget example.com\n```", "no command"),
        ("```cobol\nSTOP RUN.\n```", "cannot be executed"),
        ("```bash exit=1\ngangline models list\n```", "ended with 0"),
        ("```bash\ngangline models list\n```\n```text output\nno models\n```", "other output"),
        ("```mlir of=dead-stages.before\nreturn %0 ...\n```", "no such line"),
        ("```python\nprint(1)", "not closed"),
    ],
)
def test_a_false_block_is_found(
    block: str, problem: str, workshop: Any, fences: Callable[[Path], Iterator[Any]], tmp_path: Path
) -> None:
    document = tmp_path / "false.md"
    document.write_text(block + "\n")
    with pytest.raises(AssertionError, match=problem):
        workshop.run(fences(document))


def test_the_tutorial_shows_the_example_as_it_is(fences: Callable[[Path], Iterator[Any]]) -> None:
    """Every definition of the example appears in the tutorial, unchanged and in order."""
    source = (ROOT / "examples" / "research_brief.py").read_text()
    shown = [fence.text for fence in fences(DOCS / "tutorial.md") if "example" in fence.info]
    place = -1
    for text in shown:
        found = source.find(text.strip())
        assert found > place, f"not in examples/research_brief.py (in this order):\n{text}"
        place = found
    missing = [name for name in _definitions(source) if not _is_shown(name, shown)]
    assert missing == []


def _definitions(source: str) -> list[str]:
    tree = ast.parse(source)
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]


def _is_shown(name: str, shown: list[str]) -> bool:
    return any(re.search(rf"^(def|class) {name}\b", text, re.MULTILINE) for text in shown)


def test_the_architecture_names_what_exists() -> None:
    """Each line of a request's life, and of a job's in the service, names what resolves."""
    text = (DOCS / "architecture.md").read_text()
    lines = re.findall(r"^\d\. .*(?:\n   .*)*", text, re.MULTILINE)
    assert [line[0] for line in lines] == list("12345678") * 2
    for line in lines:
        names = re.findall(r"`([\w/]+)\.py:([\w.]+)`", line)
        assert names, f"names no function: {line}"
        for module, name in names:
            _resolve(f"gangline.{module.replace('/', '.')}", name)


def _resolve(module: str, name: str) -> None:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        assert hasattr(found, part), f"{module} has no {name}"
        found = getattr(found, part)


def test_the_architecture_has_one_line_for_every_module() -> None:
    """Each line is how the module's docstring begins, so neither can go stale alone."""
    text = (DOCS / "architecture.md").read_text()
    lines = dict(re.findall(r"^- `([\w/]+\.py)`: (\S.*)$", text, re.MULTILINE))
    for path, line in lines.items():
        docstring = ast.get_docstring(ast.parse((ROOT / path).read_text())) or ""
        assert " ".join(docstring.split()).startswith(line), path
    listed = re.findall(r"^- `([\w/]+\.py)`: \S", text, re.MULTILINE)
    there = [
        path.relative_to(ROOT).as_posix()
        for layer in LAYERS
        for path in (ROOT / layer).rglob("*.py")
        if path.name != "__init__.py"
    ]
    assert sorted(listed) == sorted(there)


def test_every_decision_is_listed_by_its_title() -> None:
    listed = re.findall(
        r"^- \[(.+)\]\((.+)\)$", (DOCS / "decisions/README.md").read_text(), re.MULTILINE
    )
    records = sorted(DOCS.glob("decisions/0*.md"))
    assert [name for _, name in listed] == [path.name for path in records]
    for (title, _), path in zip(listed, records, strict=True):
        assert path.read_text().startswith(f"# {title} ("), path.name


def test_every_command_and_option_is_documented() -> None:
    """docs/cli.md holds for each command the table that the command itself would give."""
    text = (DOCS / "cli.md").read_text()
    for name, command in _commands(typer.main.get_command(app), "gangline"):
        table = _reference(name, command)
        assert table in text, f"docs/cli.md needs this text:\n\n{table}"
    headings = re.findall(r"^### `(gangline[^`]*)`", text, re.MULTILINE)
    names = [_usage(*pair) for pair in _commands(typer.main.get_command(app), "gangline")]
    assert headings == names


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    # Typer carries its own copy of click, so commands are told apart by what they have.
    if not hasattr(command, "commands"):
        yield name, command
        return
    for child in command.commands.values():
        yield from _commands(child, f"{name} {child.name}")


def _usage(name: str, command: Any) -> str:
    arguments = [p.name.upper() for p in command.params if p.param_type_name == "argument"]
    return " ".join([name, *arguments])


def _reference(name: str, command: Any) -> str:
    head = [f"### `{_usage(name, command)}`", "", command.help]
    rows = [_row(p) for p in command.params if p.param_type_name == "option"]
    table = ["", "| option | |", "|---|---|", *rows] if rows else []
    return "\n".join([*head, *table]) + "\n"


def _row(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    needed = " Needed." if option.required else ""
    return f"| {names} | {option.help}{needed} |"


def test_every_error_is_documented_with_its_code() -> None:
    """docs/errors.md lists exactly the tree: each code, its exit code, its class and its title."""
    text = (DOCS / "errors.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \| (\d) \| `(\w+)` \| ([^|]+) \| .+ \|$", text, re.MULTILINE)
    there = [(kind.code, str(_exit(kind)), kind.__name__, kind.title) for kind in _tree()]
    assert listed == there


def _tree(kind: type[GanglineError] = GanglineError) -> list[type[GanglineError]]:
    """Give an error and those below it; one that shares its parent's code is the same to users."""
    children = [child for child in kind.__subclasses__() if child.code != kind.code]
    return [kind, *(found for child in children for found in _tree(child))]


def _exit(kind: type[GanglineError]) -> int:
    from gangline.runtime.cli.output import exit_code

    return exit_code(kind("what happened"))


LINK = re.compile(r"\[[^\]]*\]\(([^)#:]+)\)|`((?:docs|examples|benchmarks|tests)/[\w./-]+)`")


@pytest.mark.parametrize("path", [*DOCS.rglob("*.md"), *ROOT.glob("*.md")], ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    for link, name in LINK.findall(path.read_text()):
        target = path.parent / link if link else ROOT / name
        assert target.exists(), f"{path.name} names {link or name}, which does not exist"
