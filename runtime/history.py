"""What finished jobs taught: a profile per program, so that the next plan predicts better."""

from __future__ import annotations

import json
import os
from pathlib import Path

from gangline.ir.program import Program
from gangline.planner.profile import Profile, observe

from .folders import data_dir
from .job import JobResult


class History:
    """Profiles on disk, one file per program; safe to lose, never half written.

    Only jobs that ran alone are learned from: the times of jobs that shared a device with
    others say how loaded it was, not how long a stage takes.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def profile(self, program: Program) -> Profile | None:
        """Give what is known of a program; None if nothing is, or the file cannot be read."""
        try:
            return Profile.from_json(json.loads(self._path(program).read_text()))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def learn(self, program: Program, result: JobResult) -> None:
        """Add a finished job's steps to the program's profile."""
        if result.status != "succeeded":
            return
        known, seen = self.profile(program), observe(result.steps)
        merged = known.merge(seen) if known else seen
        path = self._path(program)
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        try:
            unfinished.write_text(json.dumps(merged.to_json()))
            unfinished.replace(path)
        except OSError:
            unfinished.unlink(missing_ok=True)  # a full disk must not fail a job that succeeded

    def _path(self, program: Program) -> Path:
        return (self._folder or data_dir("profiles")) / f"{program.name}-{program.hash}.json"
