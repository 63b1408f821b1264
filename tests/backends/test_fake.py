"""The fake model: says what it is told to, the same every time; and the runner that checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gangline.backends.base import ModelRunner, ScheduledRequest, SchedulerOutput
from gangline.backends.checking import CheckingRunner
from gangline.backends.engine.config import SchedulerConfig
from gangline.backends.engine.core import EngineCore
from gangline.backends.fake import FakeRunner, decode_text, encode, prompt_text
from gangline.ir.errors import BackendError
from gangline.ir.specs.request import Finished, Submit

MakeSubmit = Callable[..., Submit]


def answer(runner: ModelRunner, submit: Submit) -> Finished:
    core = EngineCore(runner, SchedulerConfig())
    assert core.handle(submit, 1.0) == []
    while True:
        output = core.schedule(1.0)
        for event in core.update(output, runner.execute(output), 1.0, [2.0]):
            if isinstance(event, Finished):
                return event


def ask(make_submit: MakeSubmit, content: str, **options: Any) -> Submit:
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": content}]
    options.setdefault("max_tokens", 100)
    return make_submit("a", encode(messages), **options)


@given(st.lists(st.text(min_size=1), max_size=3))
def test_a_prompt_can_be_read_back(contents: list[str]) -> None:
    tokens = encode([{"role": "user", "content": content} for content in contents])
    assert prompt_text(tokens) == "\n".join(contents)


def test_a_prompt_without_markers_is_one_content() -> None:
    assert prompt_text(tuple(b"plain")) == "plain"


@pytest.mark.parametrize(
    "replies",
    [{"weather": "rainy ☔", "be": "?"}, lambda prompt: {"be brief\nweather": "rainy ☔"}[prompt]],
)
def test_replies_by_a_piece_of_the_prompt_or_by_a_function(
    make_submit: MakeSubmit, replies: Mapping[str, str]
) -> None:
    event = answer(FakeRunner(replies), ask(make_submit, "weather"))
    assert (event.text, event.finish_reason) == ("rainy ☔", "stop")


def test_made_up_text_is_the_same_every_time_and_differs_by_seed_and_prompt(
    make_submit: MakeSubmit,
) -> None:
    submit = ask(make_submit, "anything", ignore_eos=True)
    text = answer(FakeRunner(), submit).text
    assert len(text) == 100
    assert answer(FakeRunner({"other": "no"}), submit).text == text
    assert answer(FakeRunner(seed=1), submit).text != text
    assert answer(FakeRunner(), ask(make_submit, "anything", ignore_eos=True, seed=1)).text != text
    assert answer(FakeRunner(), ask(make_submit, "Anything", ignore_eos=True)).text != text


def test_lengths_can_come_from_a_workload(make_submit: MakeSubmit) -> None:
    runner = FakeRunner(num_output_tokens=lambda request: request.prompt_tokens[-2] - 90)
    event = answer(runner, ask(make_submit, "z"))
    assert (len(event.token_ids), event.finish_reason) == (ord("z") - 90, "stop")


def test_several_tokens_at_once_give_the_same_text(make_submit: MakeSubmit) -> None:
    one, four = FakeRunner({"a": "abcdefghij"}), FakeRunner({"a": "abcdefghij"}, tokens_per_step=4)
    submit = ask(make_submit, "a")
    assert answer(one, submit).text == answer(four, submit).text


RIGHT = ScheduledRequest("a", (1, 2, 3, 4), 0, (0,), sample=True)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"token_ids": (1, 2, 3, 5)}, "wrong tokens"),
        ({"sample": False}, "sample is wrong"),
        ({"block_table": (0, 1)}, "wrong table length"),
        ({"block_table": (9999,)}, "there is no block"),
        ({"token_ids": (3, 4), "num_computed": 2}, "holds something else"),
        ({"token_ids": ()}, "nothing to compute"),
    ],
)
def test_the_checking_runner_sees_a_wrong_step(
    make_submit: MakeSubmit, changes: dict[str, Any], says: str
) -> None:
    runner = CheckingRunner()
    runner.add(make_submit("a", (1, 2, 3, 4)))
    wrong = replace(RIGHT, **changes)
    with pytest.raises(BackendError, match=says):
        runner.execute(SchedulerOutput((wrong,), (), len(wrong.token_ids)))


def test_the_checking_runner_sees_a_block_that_two_write_to(make_submit: MakeSubmit) -> None:
    runner = CheckingRunner()
    runner.add(make_submit("a", (1, 2, 3, 4)))
    runner.add(make_submit("b", (1, 2, 3, 5)))
    other = replace(RIGHT, request_id="b", token_ids=(1, 2, 3, 5))
    with pytest.raises(BackendError, match="overwritten"):
        runner.execute(SchedulerOutput((RIGHT, other), (), 8))


def test_text_of_tokens_drops_markers() -> None:
    assert decode_text(encode([{"role": "user", "content": "é"}])) == "useré"
