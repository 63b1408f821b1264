"""Show a running job on stderr: steps as they start and end, and the text a model writes."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gangline.ir.errors import JobError
from gangline.ir.specs.event import Event

from .interrupted import Interrupted
from .output import console

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

_TAIL_CHARS = 200
_QUIET_OPS = ("tokenize", "detokenize")


class JobProgress:
    """Draw the steps of one job; on a terminal in place, elsewhere one line a step.

    Use as a context manager and hand it to the runner as `on_event`; events may come from any
    thread, as only the drawing thread reads what they leave behind.

    Args:
        left_running: id of a job that runs elsewhere and goes on after Ctrl-C.
    """

    def __init__(self, title: str, *, quiet: bool = False, left_running: str = "") -> None:
        self._title = title
        self._left_running = left_running
        self._quiet = quiet
        self._console = console(stderr=True)
        self._running: dict[str, tuple[str, str, float]] = {}
        self._done = 0
        self._text = ""
        self._begun = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if not self._quiet and self._console.is_terminal:
            from rich.live import Live

            self._live = Live(
                get_renderable=self._picture,
                console=self._console,
                refresh_per_second=8,
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()
        if kind is KeyboardInterrupt:
            raise Interrupted from self._left() or error

    def _left(self) -> JobError | None:
        if not self._left_running:
            return None
        return JobError(
            "Nobody watches the job any more; it goes on",
            where=self._left_running,
            next_step=f"See it with: gangline jobs watch {self._left_running}",
        )

    def __call__(self, event: Event) -> None:
        """Take one event of the job."""
        if self._quiet:
            return
        match event.type:
            case "step.started":
                stage = str(event.data.get("stage", event.step_id))
                device = str(event.data.get("device", ""))
                self._running[event.step_id] = (stage, device, time.monotonic())
            case "step.completed" | "step.failed":
                self._finish(event)
            case "step.delta":
                self._text = (self._text + str(event.data.get("text", "")))[-_TAIL_CHARS:]

    def _finish(self, event: Event) -> None:
        stage, device, begun = self._running.pop(event.step_id, (event.step_id, "", 0.0))
        self._done += 1
        if event.data.get("op", "").endswith("decode") or stage.endswith(".decode"):
            self._text = ""
        if self._live or stage.endswith(_QUIET_OPS):
            return
        seconds = _seconds(event) or (time.monotonic() - begun if begun else 0.0)
        word = "failed" if event.type == "step.failed" else "done"
        self._console.print(f"  {stage:<28} {device:<10} {seconds:7.2f} s  {word}", markup=False)

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.spinner import Spinner
        from rich.text import Text

        now = time.monotonic()
        head = f"{self._title}  {now - self._begun:.1f} s, {self._done} steps done"
        rows: list[RenderableType] = [Spinner("dots", Text(head))]
        running = dict(self._running)
        for step_id, (stage, device, begun) in running.items():
            # A prefill completes together with its decode, but it is over once that has begun.
            if stage.endswith(".prefill") and step_id.replace(".prefill", ".decode") in running:
                continue
            rows.append(Text(f"  {stage:<28} {device:<10} {now - begun:6.1f} s", style="dim"))
        if self._text:
            rows.append(Text("  " + self._text.replace("\n", " "), style="cyan"))
        return Group(*rows)


def _seconds(event: Event) -> float:
    """Give what a step took as it was recorded, as it may have ended long ago; 0 if it was not."""
    if (actual_s := event.data.get("actual_s")) is not None:
        return float(actual_s)
    start_s, end_s = event.data.get("start_s"), event.data.get("end_s")
    return 0.0 if start_s is None or end_s is None else max(0.0, end_s - start_s)
