"""A process that only runs tools loads no numerical library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CODE = """
import sys
import gangline as gl
from gangline.runtime.session import Session
from gangline.runtime.store import Store
from pathlib import Path

@gl.tool(effects="none")
def double(x: int) -> int:
    return 2 * x

@gl.workflow
def twice(x: int) -> int:
    return double(double(x))

with Store(Path(sys.argv[1])) as store, Session(None, {}, store) as session:
    assert session.run(twice, {"x": 3}).output == 12
    heavy = ("numpy", "scipy", "torch", "networkx", "transformers")
    print([name for name in heavy if name in sys.modules])
"""


def test_running_tools_needs_no_numerical_library(tmp_path: Path) -> None:
    (tmp_path / "twice.py").write_text(CODE, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "twice.py"), str(tmp_path / "jobs.sqlite")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "GANGLINE_HOME": str(tmp_path)},
    )
    assert done.stdout.strip() == "[]"
