"""The model catalogue: rows of `models.toml`, and where a model's file lies on this machine."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gangline.ir.errors import ConfigError, CorruptWeightsError, ModelError
from gangline.ir.specs.model import ModelSource, ModelSpec
from gangline.runtime.folders import cache_dir

ROWS = Path(__file__).with_name("models.toml")
_CHUNK = 1 << 22


def catalogue(extra: Path | None = None) -> dict[str, ModelSpec]:
    """Read the built-in rows, then those of `extra` or of the file `$GANGLINE_MODELS` names."""
    rows = _read(ROWS)
    path = extra or _path_from_environment()
    return {**rows, **_read(path)} if path else rows


def find(name: str) -> ModelSpec:
    """Look up one model; an unknown name raises ModelError with the nearest names."""
    rows = catalogue()
    if name in rows:
        return rows[name]
    near = difflib.get_close_matches(name, rows, n=2, cutoff=0.4) or sorted(rows)
    raise ModelError(
        f"There is no model called {name!r}",
        where="runtime/machine/models.toml",
        next_step=f"Known: {', '.join(near)}. `gangline models list` shows all.",
    )


def file_path(spec: ModelSpec) -> Path:
    """Say where the model's file is or would be: a local source first, else the cache folder."""
    for source in spec.sources:
        if source.kind == "path" and Path(source.path).expanduser().exists():
            return Path(source.path).expanduser()
    return cache_dir("models") / f"{spec.name}-{spec.sha256[:12]}.gguf"


def is_present(spec: ModelSpec) -> bool:
    """Tell whether the whole file is there, by length (its hash is checked when it is opened)."""
    path = file_path(spec)
    return path.exists() and path.stat().st_size == spec.file_bytes


def verified_path(spec: ModelSpec, progress: Callable[[int], None] | None = None) -> Path:
    """Return the file after checking its sha256.

    A file is hashed once; a stamp beside it holds its length, inode and change times, and any
    difference makes it be hashed again. Raises ModelError when absent, CorruptWeightsError
    when the content differs.
    """
    path = file_path(spec)
    if not path.exists():
        raise ModelError(
            f"The model {spec.name!r} is not on this machine",
            where=str(path),
            next_step=f"Fetch it with `gangline models pull {spec.name}`.",
        )
    if _stamp(path, spec) != _read_stamp(path):
        if path.stat().st_size != spec.file_bytes or sha256_of(path, progress) != spec.sha256:
            raise CorruptWeightsError(
                f"The weights of {spec.name!r} do not match their sha256 {spec.sha256[:12]}...",
                where=str(path),
                next_step=f"Remove the file, then `gangline models pull {spec.name}`.",
            )
        write_stamp(path, spec)
    return path


def sha256_of(path: Path, progress: Callable[[int], None] | None = None) -> str:
    """Hash a file in pieces; `progress` is called with the bytes of each."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
            if progress:
                progress(len(block))
    return digest.hexdigest()


def write_stamp(path: Path, spec: ModelSpec) -> None:
    """Remember that this very file was hashed and matched."""
    _stamp_path(path).write_text(json.dumps(_stamp(path, spec)))


def _stamp_path(path: Path) -> Path:
    return cache_dir("models") / f"{path.name}.verified"


def _stamp(path: Path, spec: ModelSpec) -> dict[str, Any]:
    # ctime cannot be set back by a copy tool, so an in-place edit is always noticed.
    stat = path.stat()
    return {
        "sha256": spec.sha256,
        "path": str(path.resolve()),
        "bytes": stat.st_size,
        "inode": stat.st_ino,
        "mtime_ns": stat.st_mtime_ns,
        "ctime_ns": stat.st_ctime_ns,
    }


def _read_stamp(path: Path) -> dict[str, Any] | None:
    try:
        stamp: dict[str, Any] = json.loads(_stamp_path(path).read_text())
    except (OSError, ValueError):
        return None
    return stamp


def _path_from_environment() -> Path | None:
    value = os.environ.get("GANGLINE_MODELS")
    return Path(value) if value else None


def _read(path: Path) -> dict[str, ModelSpec]:
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(
            f"The model file cannot be read: {error.strerror}",
            where=str(path),
            next_step="Check GANGLINE_MODELS.",
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"The model file is not TOML: {error}", where=str(path), next_step="Mend that line."
        ) from None
    return {row["name"]: _row(row, path) for row in tables.get("model", [])}


def _row(row: Mapping[str, Any], path: Path) -> ModelSpec:
    fields = {key: value for key, value in row.items() if key != "source"}
    try:
        sources = tuple(_source(source) for source in row.get("source", []))
        return ModelSpec(sources=sources, **fields)
    except TypeError as error:
        raise ConfigError(
            f"The row of model {row.get('name')!r} is wrong: {error}",
            where=str(path),
            next_step="Compare it with the rows of runtime/machine/models.toml.",
        ) from None


def _source(row: Mapping[str, Any]) -> ModelSource:
    return ModelSource(**{**row, "packages": tuple(row.get("packages", ()))})
