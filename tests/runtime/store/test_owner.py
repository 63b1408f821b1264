"""Owners: alive, dead, elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys

from gangline.runtime.store.owner import is_gone, owner_name


def test_this_process_is_there_and_an_ended_one_is_not() -> None:
    assert not is_gone(owner_name()) and owner_name() != owner_name()
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    place = owner_name().partition(":")[0]
    assert is_gone(f"{place}:{process.pid}:aa")
    # Another container of this host counts its processes for itself.
    assert not is_gone(f"{os.uname().nodename}/1:{process.pid}:aa")
    assert not is_gone(f"elsewhere:{process.pid}:aa")
    assert not any(is_gone(name) for name in ("", "me", f"{place}:x:1", f"{place}:{10**30}:1"))
