"""The five root folders, their links and the wheel keep saying the same thing."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("backends", "ir", "planner", "runtime", "workflows")
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())


def packages_in_tree() -> set[str]:
    found = {"gangline"}
    for folder in FOLDERS:
        for marker in (ROOT / folder).rglob("__init__.py"):
            found.add("gangline." + ".".join(marker.parent.relative_to(ROOT).parts))
    return found


def test_packages_list_equals_the_tree() -> None:
    assert set(SETTINGS["tool"]["setuptools"]["packages"]) == packages_in_tree()


def test_every_python_file_is_in_a_package() -> None:
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            assert (file.parent / "__init__.py").exists(), file


@pytest.mark.parametrize("folder", FOLDERS)
def test_link_is_present_and_relative(folder: str) -> None:
    link = ROOT / "gangline" / folder
    assert link.is_symlink(), f"gangline/{folder} must be a link to ../{folder}"
    assert str(link.readlink()) == f"../{folder}"


def test_torch_is_a_range_here_and_a_pin_only_in_constraints() -> None:
    requirements = SETTINGS["project"]["dependencies"]
    assert [r for r in requirements if r.startswith("torch")] == ["torch>=2.11"]
    assert "torch==2.13.0\n" in (ROOT / "constraints.txt").read_text()


def test_no_file_is_a_room_too_big() -> None:
    long = {
        str(file.relative_to(ROOT)): len(file.read_text().splitlines())
        for folder in (*FOLDERS, "gangline", "benchmarks", "examples")
        for file in (ROOT / folder).rglob("*.py")
    }
    assert {name: lines for name, lines in long.items() if lines > 500} == {}
    assert not [name for name in long if name.endswith("utils.py")]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a POSIX file system")
def test_wheel_holds_only_gangline(tmp_path: Path) -> None:
    options = ["--quiet", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/", 1)[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"gangline"}
    assert "gangline/runtime/machine/models.toml" in names
    assert "gangline/py.typed" in names
    modules = {
        "gangline/" + str(file.relative_to(ROOT))
        for folder in FOLDERS
        for file in (ROOT / folder).rglob("*.py")
    }
    assert modules <= set(names)
