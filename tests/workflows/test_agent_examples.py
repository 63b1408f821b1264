"""The examples of the six patterns on a scripted model: exact outputs, and the order of steps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gangline.backends.fake import FakeBackend
from gangline.runtime.api import run_job
from gangline.runtime.store import Store
from gangline.workflows.registry import load

FOLDER = Path(__file__).parents[2] / "examples" / "agents"
Run = Callable[..., tuple[Any, list[str]]]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Run an example; `replies` by a piece of the prompt: a text, or texts to give in turn."""
    store = Store(tmp_path / "jobs")

    def go(
        reference: str, replies: Mapping[str, str | list[str]], **inputs: Any
    ) -> tuple[Any, list[str]]:
        left = {
            key: iter([said] if isinstance(said, str) else said) for key, said in replies.items()
        }

        def reply(prompt: str) -> str:
            found = [key for key in left if key in prompt]
            assert len(found) == 1, (found, prompt)
            return next(left[found[0]])

        fake = FakeBackend(reply)
        workflow = load(f"{FOLDER / reference}")
        result = run_job(workflow, inputs, backends={"cpu/0": fake}, store=store)
        assert result.status == "succeeded", result.error
        for key, said in left.items():
            assert next(said, None) is None, f"never asked for: {key}"
        done = [event for event in store.events(result.job_id) if event.type == "step.completed"]
        told = [event.step_id for event in done if event.data["op"] in ("tool", "decode", "expand")]
        return result.output, [name.removesuffix(".decode") for name in told]

    yield go
    store.close()


def test_a_single_agent_looks_things_up_until_it_can_answer(run: Run) -> None:
    replies = {
        "If the notes hold": ['"look_up"', '"reply"'],
        "Which chapter": '"opening hours"',
        "Answer in one short sentence": "From 10 to 14.",
    }
    output, steps = run("single.py:clerk", replies, question="Open on Sunday?")
    assert output == "From 10 to 14."
    assert steps == [
        "loop[0]/choose",
        "loop[0]/pick_topic",
        "loop[0]/look_up",
        "loop[1]/choose",
        "loop[1]/reply",
    ]


def test_peers_hand_the_talk_to_each_other(run: Run) -> None:
    replies = {
        "Is it about money": '"technical"',
        "You are a technician": "It is broken.",
        "The technician answered": '"billing"',
        "You look after bills": "You get it back.",
        "Billing answered": '"finish"',
    }
    output, steps = run("network.py:desk", replies, question="It does not start.")
    assert [(one["sender"], one["text"]) for one in output] == [
        ("customer", "It does not start."),
        ("technical", "It is broken."),
        ("billing", "You get it back. Ticket billing-2."),
    ]
    in_order = [
        "network[0]/triage/sort_question",
        "network[1]/technical/answer_technical",
        "network[1]/technical/after_technical",
        "network[2]/billing/answer_billing",
        "network[2]/billing/after_billing",
    ]
    assert [step for step in steps if "open_ticket" not in step] == in_order
    assert set(steps) - set(in_order) == {"network[2]/billing/open_ticket"}


def test_a_supervisor_chooses_who_works_next(run: Run) -> None:
    replies = {
        "Who is next?": ["research", "write", "review", "write", "finish"],
        "Write two sentences": ["Dogs run.", "Dogs run 20 km an hour."],
        "what this text lacks": "It lacks a number.",
    }
    output, steps = run("supervisor.py:report", replies, topic="sled dogs")
    assert output == {
        "topic": "sled dogs",
        "facts": ["A team is 8 to 16 dogs.", "They run 20 km an hour."],
        "text": "Dogs run 20 km an hour.",
        "remarks": "It lacks a number.",
    }
    assert steps == [
        "supervise[0]/lead",
        "supervise[0]/research/find_facts",
        "supervise[1]/lead",
        "supervise[1]/write/compose",
        "supervise[2]/lead",
        "supervise[2]/review/criticise",
        "supervise[3]/lead",
        "supervise[3]/write/compose",
        "supervise[4]/lead",
    ]


def test_a_plan_calls_agents_as_it_calls_tools(run: Run) -> None:
    plan = [
        {"id": "a", "tool": "weather", "arguments": {"city": "Oslo"}},
        {"id": "b", "tool": "guide", "arguments": {"city": "Bergen"}},
    ]
    replies = {
        "Plan which questions": json.dumps(plan),
        "Name two sights of Bergen for this weather: rain": "The aquarium and the fish market.",
        "Advise the traveller": "Take an umbrella.",
    }
    output, steps = run("supervisor_as_tool.py:trip", replies, wish="Oslo, Bergen")
    assert output == "Take an umbrella."
    assert steps[:2] == ["plan", "expand"] and steps[-1] == "advise"
    assert sorted(steps[2:-1]) == [
        "expand/a",
        "expand/b/name_sights",
        "expand/b/weather",
    ]
    assert steps.index("expand/b/weather") < steps.index("expand/b/name_sights")


def test_teams_have_supervisors_who_have_a_supervisor(run: Run) -> None:
    replies = {
        "You lead two teams": ["researchers", "writers", "finish"],
        "Search once, check once": ["search", "check", "finish"],
        "Draft once, shorten once": ["draft", "shorten", "finish"],
        "Write one plain sentence": "A sled carries 200 kg and is made of ash wood.",
        "at most 20 words": "Ash sleds carry 200 kg.",
    }
    output, steps = run("hierarchical.py:handbook", replies, subject="dog sleds")
    assert output == {
        "subject": "dog sleds",
        "facts": ["A sled carries 200 kg.", "Sleds are of ash wood."],
        "text": "Ash sleds carry 200 kg.",
    }
    first, second = "supervise[0]/researchers/research", "supervise[1]/writers/writing"
    assert steps == [
        "supervise[0]/edit",
        f"{first}[0]/lead_research",
        f"{first}[0]/search/read_library",
        f"{first}[1]/lead_research",
        f"{first}[1]/check/without_doubts",
        f"{first}[2]/lead_research",
        "supervise[1]/edit",
        f"{second}[0]/lead_writing",
        f"{second}[0]/draft/compose",
        f"{second}[1]/lead_writing",
        f"{second}[1]/shorten/cut",
        f"{second}[2]/lead_writing",
        "supervise[2]/edit",
    ]


def test_a_graph_of_ones_own(run: Run) -> None:
    replies = {
        "in one friendly sentence": "Come at 8!",
        "in one short sentence": "Open at 8.",
        "in one formal sentence": "We open at 8 and promise coffee.",
        "Which of these three": '"third"',
        "promises or name prices": '"promises"',
        "Rewrite this sentence without promises": "We open at 8.",
    }
    output, steps = run("custom.py:announce", replies, news="open at 8")
    assert output == "We open at 8."
    assert sorted(steps[:3]) == [f"map[{index}]/author/phrase" for index in range(3)]
    assert steps[3:] == ["choose", "lawyer/rate", "lawyer/soften", "publish"]
