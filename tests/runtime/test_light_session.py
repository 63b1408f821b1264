"""A process that only runs tools loads no numerical library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CODE = """
import sys
from pathlib import Path
import gangline as gl
from gangline.ir.program import Parameter, Program, Region, Stage
from gangline.runtime.dispatch.job import Job
from gangline.runtime.session import Session
from gangline.runtime.store import Store

@gl.tool(effects="none")
def double(x: int) -> int:
    return 2 * x

# A stored job brings its program: only compiling one needs MLIR's bindings, which bring numpy.
stage = Stage(0, "tool", "double", (0,), (1,), {"tool": "double", "names": ["x"], "effects": "none"})
program = Program("w", (Parameter("x", "i64"),), (Region((0,), (0,), (1,)),), (stage,))
with Store(Path(sys.argv[1])) as store, Session(None, {}, store) as session:
    assert session.executor.run(Job("w", program, {"x": 3})).output == 6
    heavy = ("numpy", "scipy", "torch", "networkx", "transformers", "iree")
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
