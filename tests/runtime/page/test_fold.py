"""What the page makes of a job's events, run in the browser without a job."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Watch = Callable[..., Any]
BEGIN = [
    {"type": "job.queued", "seq": 1, "at_s": 100.0, "data": {"inputs": {"topic": "dogs"}}},
    {"type": "job.started", "seq": 2, "at_s": 100.0},
]


def started(step: str, op: str, at: float, *parents: str) -> dict[str, Any]:
    data = {"op": op, "stage": step, "parents": list(parents)}
    return {"type": "step.started", "seq": 3, "at_s": at, "step_id": step, "data": data}


def delta(text: str, at: float = 102.0) -> dict[str, Any]:
    data = {"text": text, "num_tokens": 1}
    return {"type": "step.delta", "seq": 0, "at_s": at, "step_id": "say.decode", "data": data}


def folded(watch: Watch, events: list[dict[str, Any]], opened: float = 100.0) -> dict[str, Any]:
    """Give the steps after some events, for a page opened at a time, and the job's inputs."""
    look = f"""async () => {{
      const {{ Fold }} = await import("/static/fold.js");
      const fold = new Fold();
      fold.opened = {opened};
      for (const event of {json.dumps([*BEGIN, *events])}) fold.add(event);
      return {{ inputs: fold.inputs, ...Object.fromEntries(fold.steps) }};
    }}"""

    def story(page: Any) -> dict[str, Any]:
        page.goto(f"{page.origin}/#/jobs")
        return dict(page.evaluate(look))

    return dict(watch(story))


def test_a_first_token_that_overtakes_its_step_is_kept(watch: Watch) -> None:
    """Tokens are sent at once, `step.started` once it is durable."""
    events = [delta("Sl"), started("say.decode", "decode", 101.9), delta("ed")]
    said = folded(watch, events)["say.decode"]
    assert (said["text"], said["tokens"], said["status"]) == ("Sled", 2, "running")


def test_a_second_attempt_begins_with_no_text(watch: Watch) -> None:
    failed = {"type": "step.failed", "seq": 4, "at_s": 103.0, "step_id": "say.decode", "data": {}}
    again = started("say.decode", "decode", 104.0)
    first = [started("say.decode", "decode", 101.0), delta("No"), failed]
    assert folded(watch, [*first, again, delta("Yes")])["say.decode"]["text"] == "Yes"
    early = folded(watch, [*first, delta("Ye"), again, delta("s")])["say.decode"]
    assert (early["text"], early["tokens"]) == ("Yes", 2)


def test_text_that_was_missed_is_marked(watch: Watch) -> None:
    events = [started("say.decode", "decode", 101.0), delta(" dogs", at=109.0)]
    assert folded(watch, events, opened=108.0)["say.decode"]["text"] == "…  dogs"
    assert folded(watch, events, opened=100.5)["say.decode"]["text"] == " dogs"


def test_a_prefill_ends_when_its_decode_starts(watch: Watch) -> None:
    """Also in a job that is cancelled then: the prefill did not run until the end."""
    stopped = {"type": "job.cancelled", "seq": 5, "at_s": 109.0}
    prefill = started("say.prefill", "prefill", 100.5)
    decode = started("say.decode", "decode", 101.5, "say.prefill")
    steps = folded(watch, [prefill, decode, stopped])
    assert (steps["say.prefill"]["status"], steps["say.prefill"]["end_s"]) == ("succeeded", 1.5)
    assert (steps["say.decode"]["status"], steps["say.decode"]["end_s"]) == ("cancelled", 9.0)
    assert steps["inputs"] == {"topic": "dogs"}


def test_times_of_a_job_that_was_retried_later_are_drawn(watch: Watch) -> None:
    """The new prefill runs long after the decode of the first attempt; no width is negative."""
    stopped = {"type": "job.cancelled", "seq": 5, "at_s": 109.0}
    events = [
        *(*BEGIN, started("say.prefill", "prefill", 100.5)),
        *(started("say.decode", "decode", 101.5, "say.prefill"), stopped),
        started("say.prefill", "prefill", 1000.0),
    ]
    look = f"""async () => {{
      const {{ Fold }} = await import("/static/fold.js");
      const {{ Gantt }} = await import("/static/gantt.js");
      const [fold, gantt] = [new Fold(), new Gantt()];
      for (const event of {json.dumps(events)}) fold.add(event);
      gantt.draw([...fold.steps.values()], 1010 - 100);
      return [...gantt.node.querySelectorAll(".bar")].map((bar) => Number(bar.getAttribute("width")));
    }}"""

    def story(page: Any) -> list[float]:
        page.goto(f"{page.origin}/#/jobs")
        return list(page.evaluate(look))

    widths = watch(story)
    assert len(widths) == 2 and min(widths) > 0
