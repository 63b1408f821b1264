"""Ctrl-C on its way out of a command."""

from __future__ import annotations


class Interrupted(Exception):
    """Carry Ctrl-C past the command-line parser, which would keep only an exit code of it."""
