"""Who runs a job: a name that says which process, so that a dead one can be told from a busy one."""

from __future__ import annotations

import os


def owner_name() -> str:
    """Make a name for an owner in this process; no two are equal."""
    return f"{_place()}:{os.getpid()}:{os.urandom(4).hex()}"


def _place() -> str:
    """Name what a process id means something in: a host, and a container's own count of them."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:  # no Linux
        namespace = ""
    return f"{os.uname().nodename}/{''.join(filter(str.isdecimal, namespace))}"


def is_gone(owner: str) -> bool:
    """Say whether the owner's process certainly ended: it ran here and is not there."""
    host, _, rest = owner.partition(":")
    pid = rest.partition(":")[0]
    if host != _place() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False
