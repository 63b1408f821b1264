"""Drawings of programs, kept as JSON: jobs of one workflow share a drawing."""

from __future__ import annotations

import threading
from collections import OrderedDict

from pydantic_core import to_json

from gangline.ir.program import Program
from gangline.planner.graph_layout import graph_layout
from gangline.planner.graph_tree import Plans

KEPT = 64


class Layouts:
    """The drawings used last, by program and level. Any thread may ask."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def body(self, program: Program, level: str, plans: Plans | None = None) -> bytes:
        """Give a program's drawing as JSON; PlanError if it is too large to be drawn.

        With `plans`, the drawing is one job's own and not kept.
        """
        if plans:
            return to_json(graph_layout(program, level, plans).to_json())
        key = (program.hash, level)
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        made = to_json(graph_layout(program, level).to_json())
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return made
