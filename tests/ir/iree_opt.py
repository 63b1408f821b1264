"""Hold printed modules against the IRDL text of the op table, with `iree-opt`."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import iree.compiler

from gangline.ir.irdl import irdl_text, numbered

IREE_OPT = Path(iree.compiler.__path__[0]) / "_mlir_libs" / "iree-opt"


def check(folder: Path, *texts: str) -> subprocess.CompletedProcess[str]:
    """Run one iree-opt over modules; the lines of its messages are those of one joined file."""
    renamed = [numbered(text) for text in texts]
    counts: dict[str, set[int]] = {}
    for _, found in renamed:
        for name, numbers in found.items():
            counts.setdefault(name, set()).update(numbers)
    (folder / "table.irdl.mlir").write_text(irdl_text(counts))
    (folder / "modules.mlir").write_text("\n// -----\n".join(text for text, _ in renamed))
    command = [str(IREE_OPT), "--irdl-file=table.irdl.mlir", "--split-input-file", "modules.mlir"]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def refused(folder: Path, texts: Sequence[str]) -> list[int]:
    """Give the indices of the modules that iree-opt refuses; one run where it takes them all."""
    if check(folder, *texts).returncode == 0:
        return []
    return [at for at, text in enumerate(texts) if check(folder, text).returncode != 0]
