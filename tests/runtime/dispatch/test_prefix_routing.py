"""Requests go to the replica that has their beginning, unless the load there costs more."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

import gangline as gl
from gangline.backends.fake import FakeBackend
from gangline.ir.program import Stage
from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.fleet import Fleet, FleetDevice
from gangline.runtime.dispatch.prefixes import (
    MIN_TOKENS,
    Prefix,
    Wanted,
    prefix_of_tokens,
    prefixes_of,
    wanted,
)
from gangline.runtime.dispatch.routing import LeastLoaded
from gangline.runtime.session import Options, Session


def want(name: str, own: int, shared: int = 1000, *, of: str = "a", tenant: str = "") -> Wanted:
    return wanted(f"{name}:x:1", own + shared, 0, (Prefix(of, shared),), tenant)


def routing(**options: Any) -> LeastLoaded:
    return LeastLoaded(["gpu/0", "gpu/1"], **options)


def send(found: LeastLoaded, asked: Wanted) -> str:
    device = found.pick("gpu", asked)
    found.begin(device)
    return device


def end(found: LeastLoaded, device: str, asked: Wanted) -> None:
    found.end(device, asked.request_id)


def test_a_request_follows_its_prefix_though_the_other_replica_rested_longer() -> None:
    found = routing()
    for number in range(6):
        asked = want(f"j{number}", 50)
        device = send(found, asked)
        assert device == "gpu/0"
        end(found, device, asked)
    assert send(found, want("k", 50, of="b")) == "gpu/1"


def test_siblings_that_are_picked_together_stay_together_until_their_load_costs_more() -> None:
    """Each adds 100 tokens of its own; after ten the wait is as long as the prefill saved.

    Then the other replica computes the beginning as well, and it is the warm one with less to do.
    """
    found = routing()
    first = want("j", 0)
    end(found, send(found, first), first)
    picked = [found.pick("gpu", want(f"j{number}", 100)) for number in range(12)]
    assert picked == ["gpu/0"] * 10 + ["gpu/1"] * 2


@pytest.mark.parametrize(("load", "device"), [(999, "gpu/0"), (1001, "gpu/1")])
def test_the_load_may_be_worse_by_what_is_saved_and_no_more(load: int, device: str) -> None:
    found = routing()
    first = want("j", 0)
    end(found, send(found, first), first)
    busy = wanted("k:x:1", load - 9, 9, (), "")
    found.begin("gpu/1")  # what is less loaded takes it
    assert send(found, busy) == "gpu/0"
    found.end("gpu/1")
    assert found.pick("gpu", want("l", 10)) == device


def test_a_request_of_no_job_counts_as_one_like_ours() -> None:
    found = routing()
    first = want("j", 500, 100)
    end(found, send(found, first), first)
    found.begin("gpu/0")
    assert found.pick("gpu", want("k", 500, 100)) == "gpu/1"


def test_tenants_do_not_see_each_others_prefixes() -> None:
    found = routing()
    first = want("j", 50, tenant="one")
    end(found, send(found, first), first)
    assert found.pick("gpu", want("k", 50, tenant="two")) == "gpu/1"
    assert found.pick("gpu", want("l", 50, tenant="one")) == "gpu/0"


def test_the_least_recently_wanted_prefix_is_forgotten() -> None:
    found = LeastLoaded(["gpu/0", "gpu/1"], max_warm=2)
    found.begin("gpu/1")  # all go to the other one
    for name in ("a", "b", "a", "c"):
        asked = want(f"j{name}", 5, of=name)
        end(found, send(found, asked), asked)
    found.end("gpu/1")
    picked = {name: found.pick("gpu", want(f"k{name}", 5, of=name)) for name in "bc"}
    assert picked == {"b": "gpu/1", "c": "gpu/0"}


def test_a_job_that_ended_counts_no_more() -> None:
    found = routing()
    first = want("j", 0)
    end(found, send(found, first), first)
    for number in range(30):  # picked, and never sent
        found.pick("gpu", wanted(f"gone:{number}:1", 5000, 0, want("j", 0).prefixes, ""))
    before = found.pick("gpu", want("k", 50))
    found.forget("gone")
    found.forget("k")
    assert (before, found.pick("gpu", want("l", 50))) == ("gpu/0", "gpu/0")
    found.forget("l")
    assert not any(found._asked.values()) and not found._places


def test_one_named_or_alone_is_taken_at_its_word() -> None:
    found = LeastLoaded(["gpu/0", "gpu/1", "cpu/0"])
    for _ in range(2):
        assert found.pick("gpu/1", want("j", 5)) == "gpu/1"
        assert found.pick("cpu", want("j", 5)) == "cpu/0"
        assert found.pick("tpu", want("j", 5)) == "tpu"


# Ids -----------------------------------------------------------------------------------------


def stage(model: str = "m", text: str = "Text: {text} Then {more}", chars: int = 12) -> Stage:
    rows = [{"message": 1, "chars": chars, "scope": "job"}]
    template = [{"role": "system", "text": "S" * 40}, {"role": "user", "text": text}]
    known = {"model": model, "template": template, "names": ["text", "more"], "prefix_ids": rows}
    return Stage(0, "tokenize", "t", (0, 1), (2,), known)


def test_an_id_is_of_the_model_and_of_the_text_that_came_out() -> None:
    (one,) = prefixes_of(stage(), ["x" * 100, "one"], 400)
    (same,) = prefixes_of(stage(), ["x" * 100, "another"], 800)
    assert one.id == same.id
    others = [
        prefixes_of(stage("n"), ["x" * 100, "one"], 400),
        prefixes_of(stage(), ["y" * 100, "one"], 400),
        prefixes_of(stage(text="Tale: {text} Then {more}"), ["x" * 100, "one"], 400),
        prefixes_of(stage(chars=6), ["x" * 100, "one"], 400),
    ]
    assert one.id not in {found.id for (found,) in others}


def test_its_tokens_are_its_share_of_the_prompt() -> None:
    (found,) = prefixes_of(stage(), ["x" * 100, "y" * 48], 200)
    whole = 40 + len("Text:  Then ") + 148
    assert found.tokens == 200 * (40 + 106) // whole


def test_beginnings_shorter_than_a_block_have_no_id() -> None:
    assert prefixes_of(stage(), ["x", "y" * 900], 100) == ()
    assert prefix_of_tokens("m", range(MIN_TOKENS - 1)) == ()
    assert prefix_of_tokens("m", range(MIN_TOKENS)) != prefix_of_tokens("n", range(MIN_TOKENS))


# Two devices ----------------------------------------------------------------------------------

CPU = DeviceSpec(
    "cpu", "cpu", flops={"int8": 1e13}, memory_bytes=64 * 10**9, memory_bytes_per_s=5e11, cores=4
)
FLEET = Fleet("two", (FleetDevice("box", CPU, count=2),))
SCHEMAS = [f"table {letter} " * 60 for letter in "abc"]


@gl.llm(model="smollm2-135m", max_tokens=8, system="You write SQL.")
def pr_draft(schema: str, question: str) -> str:
    """Schema: {schema}

    Question: {question}"""


@gl.tool(effects="none")
def pr_schema(db: gl.Database) -> str:
    return SCHEMAS[int(db)]


@gl.workflow
def pr_answer(db: gl.Database, question: str) -> str:
    return pr_draft(pr_schema(db), question)


@gl.workflow
def pr_answers(db: gl.Database, question: str) -> list[str]:
    kv = pr_draft.cache(schema=pr_schema(db))
    return gl.map(lambda n: pr_draft(question=n, cache=kv), ["one", "two", "three", question])


def recomputed(workflow: Any, num_jobs: int = 24) -> int:
    """Run jobs on three databases, two at a time, and count the prompt tokens computed."""
    backends = {f"box/{number}": FakeBackend() for number in range(2)}
    draw, count = random.Random(7), 0
    with Session(FLEET, backends) as session:
        for _ in range(num_jobs // 2):
            asked = [{"db": str(draw.randrange(3)), "question": str(_)} for _ in range(2)]
            jobs = [session.submit(workflow, inputs, Options()) for inputs in asked]
            for job in jobs:
                result = job.result(30.0)
                assert result.status == "succeeded", result.error
                steps = [step for step in result.steps if step.op == "prefill"]
                count += sum((s.prompt_tokens or 0) - (s.cached_tokens or 0) for s in steps)
    return count


def any_replica(self: LeastLoaded, device: str, want: Wanted | None = None) -> str:
    """Route as a toy does."""
    return PICKS.choice(["box/0", "box/1"]) if want is not None else "box/0"


PICKS = random.Random(3)


@pytest.mark.parametrize("workflow", [pr_answer, pr_answers])
def test_each_schema_is_computed_on_one_of_two_devices(
    workflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Least loaded, or at random, each of three schemas is computed on both devices."""
    follows = recomputed(workflow)
    plain: Callable[..., str] = LeastLoaded.pick
    monkeypatch.setattr(LeastLoaded, "pick", lambda self, device, want=None: plain(self, device))
    least = recomputed(workflow)
    monkeypatch.setattr(LeastLoaded, "pick", any_replica)
    at_random = recomputed(workflow)
    schema = len(SCHEMAS[0])
    assert least >= follows + 2 * schema and at_random >= follows + 2 * schema
