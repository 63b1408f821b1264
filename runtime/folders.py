"""The two folders gangline keeps on a user's machine, private to that user; files written whole."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from gangline.ir.errors import ConfigError


def cache_dir(name: str = "") -> Path:
    """Return (and make) a folder for what can be made again: models, probed constants.

    `$GANGLINE_CACHE` moves it; the default follows the XDG convention.
    """
    base = os.environ.get("GANGLINE_CACHE") or _xdg("XDG_CACHE_HOME", ".cache")
    return private_dir(Path(base) / name)


def data_dir(name: str = "") -> Path:
    """Return (and make) a folder for what must be kept: the job store.

    `$GANGLINE_HOME` moves it; the default follows the XDG convention.
    """
    base = os.environ.get("GANGLINE_HOME") or _xdg("XDG_DATA_HOME", ".local/share")
    return private_dir(Path(base) / name)


def private_dir(path: Path) -> Path:
    """Make a folder only its owner can enter; refuse one that somebody else owns."""
    path = path.expanduser()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = path.stat().st_uid
    except OSError as error:
        raise ConfigError(
            f"The folder cannot be made: {error.strerror}",
            where=str(path),
            next_step="Point GANGLINE_CACHE and GANGLINE_HOME to folders you can write.",
        ) from None
    if hasattr(os, "getuid") and owner != os.getuid():
        raise ConfigError(
            "The folder belongs to another user",
            where=str(path),
            next_step="Point GANGLINE_CACHE and GANGLINE_HOME to folders of your own.",
        )
    return path


def write_whole(path: Path, text: str) -> None:
    """Write a file, whole or not at all: what was there before stays until it is complete.

    Raises:
        OSError: it cannot be written; nothing is left of the attempt.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise


def _xdg(variable: str, fallback: str) -> Path:
    value = os.environ.get(variable)
    return (Path(value) if value else Path.home() / fallback) / "gangline"
