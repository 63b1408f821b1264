"""What finished jobs taught: a profile per program, and corrections of the cost model.

Both are kept on disk and safe to lose; neither is ever half written, and processes that finish
jobs at the same moment take turns.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gangline.ir.errors import ConfigError
from gangline.ir.program import Program
from gangline.ir.specs.fleet import Fleet
from gangline.ir.specs.model import ModelSpec

from .dispatch.job import JobResult
from .folders import data_dir, write_whole

if TYPE_CHECKING:  # the planner brings numpy, which a server that plans nothing does without
    from gangline.planner.calibration import Calibration, Key
    from gangline.planner.profile import Profile as KnownProfile

logger = logging.getLogger(__name__)

CALIBRATION = "calibration.json"


class History:
    """Profiles on disk, one file per program, and one calibration for all of them.

    Only jobs that ran alone are learned from: the times of jobs that shared a device with
    others say how loaded it was, not how long a stage takes.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def profile(self, program: Program) -> KnownProfile | None:
        """Give what is known of a program; None if nothing is, or the file cannot be read."""
        return _read_profile(self._path(program))

    def relative(self, program: Program) -> KnownProfile | None:
        """Give what is known of another version of a program: of those, the one run most.

        Its stages must be the program's, and its samples lose their device: they tell what the
        jobs do, not how fast this model runs.
        """
        from gangline.planner.profile_file import portable

        names = {stage.name for stage in program.walk()}
        paths = sorted(self._base("profiles").glob(f"{program.name}-*.json"))
        found = [profile for path in paths if (profile := _read_profile(path)) is not None]
        alike = [profile for profile in found if names >= set(profile.stages)]
        best = max(alike, key=lambda profile: profile.num_jobs, default=None)
        return portable(best) if best is not None else None

    def calibration(self) -> Calibration:
        """Give the corrections learned so far; a damaged file is set aside and counts as none."""
        from gangline.planner.calibration import Calibration

        path = self._base("calibration") / CALIBRATION
        try:
            return Calibration.from_json(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return Calibration()
        except (OSError, ValueError, ConfigError) as error:
            _set_aside(path, error)
            return Calibration()

    def stamp(self, program: Program) -> tuple[tuple[int, int] | None, ...]:
        """Give what changes when a plan made of what is known of a program would change."""
        files = (self._base("calibration") / CALIBRATION, self._path(program))
        return tuple(map(_stamp, files))

    def learn(
        self,
        program: Program,
        result: JobResult,
        fleet: Fleet | None = None,
        models: Mapping[str, ModelSpec] | None = None,
    ) -> None:
        """Add a finished job's steps to the program's profile, and to the calibration.

        Args:
            fleet: where the job ran; without it the calibration learns nothing.
        """
        from gangline.planner.profile import observe
        from gangline.planner.situation import modelled_steps

        if result.status != "succeeded":
            return
        path = self._path(program)
        with _alone(path.with_suffix(".lock")):
            known, seen = self.profile(program), observe(result.steps)
            _write(path, (known.merge(seen) if known else seen).to_json())
        if fleet is not None and models is not None:
            self.calibrate(modelled_steps(program, result.steps, fleet, models))

    def calibrate(self, measured: Iterable[tuple[Key, float, float]]) -> Calibration:
        """Add runs as (bucket, actual seconds, modelled seconds); give what is known then."""
        rows = list(measured)
        folder = self._base("calibration")
        with _alone(folder / "calibration.lock"):
            known = self.calibration().observed(rows)
            if rows:
                _write(folder / CALIBRATION, known.to_json())
        return known

    def forget(self) -> None:
        """Drop the calibration: the devices changed, or their cost model did."""
        (self._base("calibration") / CALIBRATION).unlink(missing_ok=True)

    def _path(self, program: Program) -> Path:
        return self._base("profiles") / f"{program.name}-{program.hash}.json"

    def _base(self, name: str) -> Path:
        return self._folder or data_dir(name)


def _read_profile(path: Path) -> KnownProfile | None:
    from gangline.planner.profile import Profile

    try:
        return Profile.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _write(path: Path, document: Mapping[str, Any]) -> None:
    with suppress(OSError):  # a full disk must not fail a job that succeeded
        write_whole(path, json.dumps(document))


def _set_aside(path: Path, error: Exception) -> None:
    """Keep a file that cannot be read under another name, so that nothing is lost unseen."""
    aside = path.with_suffix(".damaged")
    logger.warning("%s cannot be read (%s); it is kept as %s", path, error, aside)
    try:
        path.replace(aside)
    except OSError:
        logger.warning("%s could not be moved", path)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Let one process at a time read, change and write; without file locks, none waits."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system: the last writer wins, and no file is torn
        yield
        return
    try:
        handle = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError:
        yield
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
