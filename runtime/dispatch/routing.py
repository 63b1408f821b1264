"""Which replica of a device group takes a step: the one with the least in flight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence


class LeastLoaded:
    """Resolve what a plan names (a device group or an id) to a device id.

    Ties go to the replica that was used longest ago.
    """

    def __init__(self, device_ids: Iterable[str]) -> None:
        self._groups: dict[str, list[str]] = {}
        for device_id in device_ids:
            self._groups.setdefault(device_id.split("/", 1)[0], []).append(device_id)
        self._known = {device_id for ids in self._groups.values() for device_id in ids}
        self._load: Counter[str] = Counter()
        self._used: Counter[str] = Counter()
        self._turn = 0

    def pick(self, device: str) -> str:
        """Choose a device id; a name that is not known is given back as it is."""
        candidates: Sequence[str] = self._groups.get(device, ())
        if device in self._known or not candidates:
            return device
        return self.least(candidates)

    @property
    def device_ids(self) -> list[str]:
        """List every device id there is."""
        return [device_id for ids in self._groups.values() for device_id in ids]

    def least(self, candidates: Sequence[str]) -> str:
        """Choose among some device ids; there must be one."""
        return min(candidates, key=lambda name: (self._load[name], self._used[name]))

    def load(self, device_id: str) -> int:
        """Count the requests in flight on a device."""
        return self._load[device_id]

    def begin(self, device_id: str) -> None:
        """Count a step that starts on a device."""
        self._turn += 1
        self._load[device_id] += 1
        self._used[device_id] = self._turn

    def end(self, device_id: str) -> None:
        """Count a step that ended on a device."""
        self._load[device_id] -= 1
