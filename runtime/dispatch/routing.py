"""Which replica of a device group takes a step: the one with the least to do for it."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Sequence

from .prefixes import Wanted

MAX_WARM = 4096
"""Most beginnings remembered per device, about 100 bytes each. What is forgotten costs one
prefill; an engine forgets earlier: 4,096 beginnings of 1,000 tokens are more than a GPU holds."""


class LeastLoaded:
    """Resolve what a plan names (a device group or an id) to a device id.

    Without prefixes the replica with the fewest requests in flight is taken, and of equal ones
    that which was used longest ago.

    A request whose prompt begins like an earlier one goes where the fewest tokens are to be
    computed before it has its first: those of its prompt that are not warm there, and those that
    were asked of the device and have not ended, prompts that were not warm when they were sent and
    the most that is written after them. What another one computes of its own prompt counts once.
    So it follows its prefix, unless the load there is worse by more than the prefill saved. It is
    the sum by which NVIDIA Dynamo's KV router chooses (design document "Router Design": new
    prefill blocks plus active blocks, both with weight 1), in tokens that were asked for, as
    nobody here is told of blocks.

    What is warm is what was sent there, `MAX_WARM` beginnings per device, the least recently
    wanted forgotten first. An engine may have evicted it: then one prompt is computed again.
    """

    def __init__(self, device_ids: Iterable[str], max_warm: int = MAX_WARM) -> None:
        self._groups: dict[str, list[str]] = {}
        for device_id in device_ids:
            self._groups.setdefault(device_id.split("/", 1)[0], []).append(device_id)
        self._known = {device_id for ids in self._groups.values() for device_id in ids}
        self._load: Counter[str] = Counter()
        self._used: Counter[str] = Counter()
        self._turn = 0
        self._max_warm = max_warm
        self._warm: dict[str, OrderedDict[str, None]] = defaultdict(OrderedDict)
        self._asked: dict[str, dict[str, tuple[Wanted, int]]] = defaultdict(dict)
        self._places: dict[str, dict[str, str]] = {}  # by job and request

    def pick(self, device: str, want: Wanted | None = None) -> str:
        """Choose a device id; a name that is not known is given back as it is.

        A request with a `want` counts from now on, until `end` or `forget`.
        """
        candidates: Sequence[str] = self._groups.get(device, ())
        if device in self._known or not candidates:
            return device
        if want is None or len(candidates) == 1:
            return self.least(candidates)
        chosen = self.least(candidates)
        if any(self._warm_tokens(name, want) for name in candidates):
            chosen = min(candidates, key=lambda name: (self._tokens(name, want), *self._rank(name)))
        self._take(chosen, want)
        return chosen

    @property
    def device_ids(self) -> list[str]:
        """List every device id there is."""
        return [device_id for ids in self._groups.values() for device_id in ids]

    def least(self, candidates: Sequence[str]) -> str:
        """Choose among some device ids; there must be one."""
        return min(candidates, key=self._rank)

    def load(self, device_id: str) -> int:
        """Count the requests in flight on a device."""
        return self._load[device_id]

    def begin(self, device_id: str) -> None:
        """Count a step that starts on a device."""
        self._turn += 1
        self._load[device_id] += 1
        self._used[device_id] = self._turn

    def end(self, device_id: str, request_id: str = "") -> None:
        """Count a step that ended on a device."""
        self._load[device_id] -= 1
        job_id = _job_of(request_id)
        places = self._places.get(job_id, {})
        if places.pop(request_id, None) is not None:
            del self._asked[device_id][request_id]
            if not places:
                del self._places[job_id]

    def forget(self, job_id: str) -> None:
        """Count no request of a job any more: it has ended, whatever became of them."""
        for request_id, device_id in self._places.pop(job_id, {}).items():
            self._asked[device_id].pop(request_id, None)

    def _rank(self, name: str) -> tuple[int, int]:
        return self._load[name], self._used[name]

    def _take(self, device_id: str, want: Wanted) -> None:
        self._asked[device_id][want.request_id] = want, self._warm_tokens(device_id, want)
        self._places.setdefault(_job_of(want.request_id), {})[want.request_id] = device_id
        warm = self._warm[device_id]
        for found in want.prefixes:
            warm[found.id] = None
            warm.move_to_end(found.id)
        while len(warm) > self._max_warm:
            warm.popitem(last=False)

    def _warm_tokens(self, device_id: str, want: Wanted) -> int:
        warm = self._warm[device_id]
        return max((found.tokens for found in want.prefixes if found.id in warm), default=0)

    def _tokens(self, device_id: str, want: Wanted) -> int:
        """Give the tokens that stand between a request and its answer on a device."""
        asked = self._asked[device_id].values()
        mine = {found.id for found in want.prefixes}
        before = sum(
            other.tokens + other.output - _known(other, warm, mine) for other, warm in asked
        )
        # Of requests that belong to no job only the number is known.
        before += max(self._load[device_id] - len(asked), 0) * want.tokens
        return before + want.tokens - self._warm_tokens(device_id, want)


def _job_of(request_id: str) -> str:
    return request_id.partition(":")[0]


def _known(other: Wanted, warm: int, mine: set[str]) -> int:
    """Give the tokens of a prompt in flight that nobody waits for: warm, or wanted by us as well."""
    return max([warm, *(found.tokens for found in other.prefixes if found.id in mine)])
