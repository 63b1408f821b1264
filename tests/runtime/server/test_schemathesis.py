"""Requests generated from the served OpenAPI document, with every check of schemathesis.

The phase `coverage` walks through 2,000 variants of bodies and takes minutes on a busy machine, so
only `make api-test` and CI have it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gangline.runtime.server.settings import ServerSettings

ASKED = os.environ.get("GANGLINE_API_EXAMPLES", "")
EXAMPLES = int(ASKED or "4")
"""Generated requests per operation; where a number is asked for, all phases run."""

PHASES = ("examples", *(("coverage",) if ASKED else ()), "fuzzing", "stateful")

CONFIG = ("--config-file", str(Path(__file__).parents[3] / "schemathesis.toml"))
"""What `schemathesis run` finds by itself in the project's folder."""


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("locked", [True, False])
def test_nothing_generated_from_the_document_breaks_the_server(
    serve: Any, keys: Any, entrance: Any, tmp_path: Path, locked: bool
) -> None:
    entrance.open()
    settings = ServerSettings(max_wait_s=0.2)
    key = ("--header", f"Authorization: Bearer {keys['anna'].key}") if locked else ()
    with serve(settings, keys=list(keys.values()) if locked else ()) as served:
        command = [
            *(
                sys.executable,
                "-m",
                "schemathesis.cli",
                *CONFIG,
                "run",
                f"{served.url}/openapi.json",
            ),
            *(*key, "--checks", "all"),
            *("--phases", ",".join(PHASES)),
            *("--max-examples", str(EXAMPLES), "--continue-on-failure", "--no-color"),
            *("--generation-deterministic", "--request-timeout", "20"),
        ]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=1700, check=False
        )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    assert "Stateful" in done.stdout
