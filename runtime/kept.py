"""What was made of objects lately, by their identity: made once, however often it is needed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """A small store of results for objects that never change, most recently used last.

    For objects that have no cheap hash (programs, plans, their JSON). An id is only good while
    its object lives, so the objects are kept beside the result.
    """

    def __init__(self, max_kept: int) -> None:
        self._max_kept = max_kept
        self._kept: OrderedDict[tuple[Any, ...], tuple[tuple[Any, ...], T]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, make: Callable[..., T], *given: Any, also: Hashable = ()) -> T:
        """Give what `make(*given)` gave for these very objects, and for an equal `also`."""
        key = (*map(id, given), also)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                return kept[1]
        made = make(*given)
        self.put(made, *given, also=also)
        return made

    def put(self, made: T, *given: Any, also: Hashable = ()) -> None:
        """Keep what is known to be the result for these objects."""
        with self._lock:
            self._kept[(*map(id, given), also)] = given, made
            if len(self._kept) > self._max_kept:
                self._kept.popitem(last=False)
