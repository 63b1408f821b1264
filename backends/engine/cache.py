"""Private cache folders for converted models, keyed by what they were made from."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gangline.ir.errors import CorruptWeightsError, ModelError

FORMAT_VERSION = 1
"""Raise when the meaning of a cached file changes; older folders are then left unread."""


def default_root() -> Path:
    """Give the folder of converted models, `engine` in gangline's cache folder.

    That is `$GANGLINE_CACHE`, else `$XDG_CACHE_HOME/gangline`, else `~/.cache/gangline`.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("GANGLINE_CACHE") or Path(base) / "gangline") / "engine"


def private_folder(path: Path) -> Path:
    """Make a folder that only this user can enter; ModelError if it belongs to another."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.stat().st_uid != os.getuid():
            raise ModelError(
                f"the cache folder {path} belongs to another user",
                next_step="Set GANGLINE_CACHE to a folder of your own.",
            )
        path.chmod(0o700)
    except OSError as error:
        raise cannot_write(path, error) from error
    return path


def cannot_write(path: Path, error: OSError) -> ModelError:
    """Say that the cache cannot be written, and what to do."""
    return ModelError(
        f"the model cache {path} cannot be written: {error.strerror or error}",
        next_step="Free disk space, or set GANGLINE_CACHE to a folder on another disk.",
    )


def write_atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it into place."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        write(temporary)
        temporary.chmod(0o600)
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, document: Any) -> None:
    """Write one JSON document atomically."""
    text = json.dumps(document, ensure_ascii=False)
    write_atomic(path, lambda file: _write_text(file, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON document; None if the file is absent or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def sha256_of(path: Path, root: Path | None = None) -> str:
    """Give the sha256 of a model file, or of a model folder's files, in hex.

    The digest of a file is remembered with its size, inode and modification time, because
    reading 1 GB at every start would cost more than loading the converted weights.
    """
    files = [path]
    if path.is_dir():
        files = [*sorted(path.glob("*.safetensors")), path / "config.json"]
    digests = [_remembered(file, private_folder(root or default_root())) for file in files]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _remembered(path: Path, root: Path) -> str:
    try:
        facts = path.stat()
    except OSError as error:
        raise ModelError(
            f"the model file {path} cannot be opened: {error.strerror}",
            next_step="Pull the model with `gangline models pull NAME`.",
        ) from error
    place = str(path.resolve())
    identity = [place, facts.st_size, facts.st_mtime_ns, facts.st_ino]
    note = root / f"sha256-{hashlib.sha256(place.encode()).hexdigest()[:16]}.json"
    known = read_json(note)
    if isinstance(known, dict) and known.get("identity") == identity:
        return str(known["sha256"])
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    write_json(note, {"identity": identity, "sha256": digest})
    return digest


def model_folder(path: Path, *, expected_sha256: str = "", root: Path | None = None) -> Path:
    """Give the cache folder of a model; CorruptWeightsError if its digest is not the expected."""
    digest = sha256_of(path, root)
    if expected_sha256 and digest != expected_sha256:
        raise CorruptWeightsError(
            f"{path.name} has sha256 {digest[:16]}..., expected {expected_sha256[:16]}...",
            where=str(path),
            next_step="Delete the file and pull the model again with `gangline models pull NAME`.",
        )
    return private_folder((root or default_root()) / f"{digest[:32]}-v{FORMAT_VERSION}")
