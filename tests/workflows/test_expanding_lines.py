"""`gl.expand(form="lines")` in a workflow: calls run while the rest of the plan is written."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

import gangline as gl
from gangline.backends.fake import FakeBackend, FakeEncoder
from gangline.ir.errors import TraceError
from gangline.ir.module import Module
from gangline.ir.specs.request import Finished, FirstToken, Submit, TokenDelta
from gangline.runtime.api import run_job
from gangline.runtime.store import Store
from gangline.workflows.plan_outcome import PlanOutcome

CALLED = {name: threading.Event() for name in "abc"}


@gl.tool(effects="read")
def memo(word: str) -> str:
    """Tell that this was called."""
    CALLED[word].set()
    return word.upper()


@gl.tool(effects="none")
def glue(parts: list[str], sep: str = "-") -> str:
    """Put words together."""
    return sep.join(parts)


@gl.tool(effects="read", retries=0)
def break_down(word: str) -> str:
    """Fail."""
    raise ValueError(word)


@gl.llm(model="m", max_tokens=400)
def plan(goal: str) -> str:
    """Plan {goal}."""


@gl.workflow
def flow(goal: str) -> dict[str, Any]:
    return gl.expand(plan(goal), tools=[memo, glue], form="lines")


@gl.workflow
def kept(goal: str) -> PlanOutcome:
    text = plan(goal)
    return gl.expand(text, tools=[memo, glue, break_down], form="lines", on_error="keep")


@gl.workflow
def shown(goal: str) -> list[Any]:
    text = plan(goal)
    return [text, gl.expand(text, tools=[memo, glue], form="lines")]


@gl.tool(effects="none")
def write_lines(goal: str) -> str:
    """Give a plan that no model wrote."""
    return PLAN


@gl.workflow
def unstreamed(goal: str) -> dict[str, Any]:
    return gl.expand(write_lines(goal), tools=[memo, glue], form="lines")


@gl.workflow
def twice(goal: str) -> list[Any]:
    text = plan(goal)
    first = gl.expand(text, tools=[memo, glue], form="lines")
    return [first, gl.expand(text, tools=[memo, glue], form="lines")]


PLAN = '1. memo(word="a")\n2. memo(word="b")\n3. glue(parts=[$1, $2, "and $1"], sep=" ")\n4. join()'


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store(tmp_path / "jobs") as opened:
        for event in CALLED.values():
            event.clear()
        yield opened


class PatientBackend:
    """Says one piece after the other, each once what it waits for has happened.

    `pieces` are pairs of text and an event that must be set before the piece is said.
    """

    alive = True

    def __init__(self, pieces: Sequence[tuple[str, threading.Event | None]]) -> None:
        self.pieces = pieces
        self.waited: list[bool] = []

    def start(self, emit: Any) -> None:
        self.emit = emit

    def prepare(self, model: str) -> Any:
        loaded: Future[None] = Future()
        loaded.set_result(None)
        return loaded

    def encoder(self, model: str) -> Any:
        return lambda messages: FakeEncoder().encode(messages)

    def send(self, message: Any) -> None:
        if isinstance(message, Submit):
            threading.Thread(target=self._say, args=(message.request_id,), daemon=True).start()

    def _say(self, request_id: str) -> None:
        text = ""
        for piece, wanted in self.pieces:
            if wanted is not None:
                self.waited.append(wanted.wait(10.0))
            if not text:
                self.emit(FirstToken(request_id, 0.0, 1, 0))
            self.emit(TokenDelta(request_id, 0.0, piece, 1))
            text += piece
        self.emit(Finished(request_id, 0.0, (1,), text, "stop", 1, 0))

    def close(self) -> None:
        pass


def run(workflow: Any, store: Store, backend: Any = None) -> Any:
    made = backend or FakeBackend(lambda prompt: PLAN)
    return run_job(workflow, {"goal": "x"}, backends={"cpu/0": made}, store=store)


def test_a_step_starts_before_the_next_line_is_written(store: Store) -> None:
    backend = PatientBackend(
        [
            ('1. memo(word="a")', None),
            ("\n2. me", None),
            ('mo(word="b")\n', CALLED["a"]),
            ("3. glue(parts=[$1, $2])\n4. join()", CALLED["b"]),
        ]
    )
    result = run(flow, store, backend)
    assert backend.waited == [True, True], "the model waits for the tools"
    assert result.output == {"1": "A", "2": "B", "3": "A-B"}
    records = {record.id: record for record in result.steps}
    assert records["expand/1"].start_s < records["plan.decode"].end_s
    assert records["expand"].parents == ("plan.decode",)
    assert records["expand/3"].parents == ("expand", "expand/1", "expand/2")
    kinds = [event.type for event in store.events(result.job_id)]
    assert kinds.count("step.planned") == 3


@pytest.mark.parametrize("workflow", [flow, unstreamed])
def test_plans_run_however_their_text_comes(store: Store, workflow: Any) -> None:
    assert run(workflow, store).output == {"1": "A", "2": "B", "3": "A B and A"}


def test_a_backend_that_streams_nothing_works_too(store: Store) -> None:
    class Silent(PatientBackend):
        def _say(self, request_id: str) -> None:
            self.emit(Finished(request_id, 0.0, (1,), PLAN, "stop", 1, 0))

    assert run(flow, store, Silent([])).output["3"] == "A B and A"


def test_a_backend_whose_pieces_are_not_its_text_is_read_again(store: Store) -> None:
    class Confused(PatientBackend):
        def _say(self, request_id: str) -> None:
            self.emit(TokenDelta(request_id, 0.0, '1. memo(word="a")\n3. gl', 1))
            self.emit(Finished(request_id, 0.0, (1,), PLAN, "stop", 1, 0))

    assert run(flow, store, Confused([])).output["3"] == "A B and A"


def test_text_may_be_shown_and_carried_out(store: Store) -> None:
    assert run(shown, store).output == [PLAN, {"1": "A", "2": "B", "3": "A B and A"}]


def test_two_expansions_read_one_text(store: Store) -> None:
    result = run(twice, store)
    assert result.output[0] == result.output[1] == {"1": "A", "2": "B", "3": "A B and A"}
    assert {"expand/1", "expand#2/1"} <= {record.id for record in result.steps}


def test_failures_are_kept_and_what_needs_them_does_not_run(store: Store) -> None:
    text = (
        '1. memo(word="a")\n2. break_down(word="b")\n3. glue(parts=[$2])\n'
        "4. glue(parts=[$3])\n5. glue(parts=[$1])\n6. join()"
    )
    result = run(kept, store, FakeBackend(lambda prompt: text))
    assert result.status == "succeeded", result.error
    output = result.output
    assert not output["ok"] and output["error"] == ""
    assert [call["result"] for call in output["calls"]] == ["A", None, None, None, "A"]
    assert "ValueError: b" in output["calls"][1]["error"]
    assert "step 2" in output["calls"][2]["error"] and "step 3" in output["calls"][3]["error"]


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        ('2. rm(path="/")\n3. join()', "'rm', which it may not use"),
        ("2. memo(word=3)\n3. join()", "no string"),
        ("2. glue(parts=[$2])\n3. join()", "no step before it"),
        ("1. join()", "not above 1"),
        ("", "without join"),
        ("2. memo(", "the name of an argument"),
    ],
)
def test_a_bad_line_ends_the_plan_and_not_what_ran(store: Store, tail: str, said: str) -> None:
    text = f'1. memo(word="a")\n{tail}'
    result = run(kept, store, FakeBackend(lambda prompt: text))
    assert result.status == "succeeded", result.error
    assert not result.output["ok"] and said in result.output["error"]
    assert [call["result"] for call in result.output["calls"]] == ["A"]
    failed = run(flow, store, FakeBackend(lambda prompt: text))
    assert failed.status == "failed" and said in failed.error["detail"]


def test_the_program_reads_the_decode(store: Store) -> None:
    assert "detokenize" not in flow.program().text
    assert "detokenize" in shown.program().text
    stages = {stage.name: stage for stage in shown.program().stages}
    assert stages["expand"].operands[0] in stages["plan.decode"].results
    assert Module.parse(flow.program().text).text == flow.program().text


@pytest.mark.parametrize(
    ("options", "said"),
    [({"form": "prose"}, "form"), ({"on_error": "retry"}, "on_error")],
)
def test_unknown_words_are_refused(options: Any, said: str) -> None:
    @gl.workflow
    def wrong() -> Any:
        return gl.expand("1. join()", tools=[memo], **options)

    with pytest.raises(TraceError, match=said):
        wrong.trace()


def test_a_tool_may_not_be_named_join() -> None:
    @gl.tool(effects="none")
    def join() -> str:
        return ""

    @gl.workflow
    def wrong() -> dict[str, Any]:
        return gl.expand("1. join()", tools=[join], form="lines")

    with pytest.raises(TraceError, match="join"):
        wrong.trace()
