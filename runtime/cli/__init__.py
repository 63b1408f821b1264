"""The command line. Each command imports what it needs when it runs: `--help` stays instant."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the `gangline` command and exit with 0, 1 (failed), 2 (usage) or 130 (interrupted)."""
    from .app import run

    sys.exit(run(sys.argv[1:]))
