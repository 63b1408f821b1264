"""The order of a profile's stages."""

from __future__ import annotations

import json

import pytest

from gangline.ir.errors import ConfigError
from gangline.planner.profile import Profile, StageProfile
from gangline.planner.tco.profile_graph import ordered


def stages(**parents: list[str]) -> tuple[Profile, str]:
    rows = {name: {"parents": named} for name, named in parents.items()}
    found = {name: StageProfile("decode") for name in parents}
    return Profile(found), json.dumps({"stages": rows}, indent=1)


def test_parents_come_first() -> None:
    profile, text = stages(c=["b"], b=["a"], a=[])
    assert list(ordered(profile, text).stages) == ["a", "b", "c"]


def test_a_ring_is_named_with_its_line() -> None:
    profile, text = stages(a=["c"], b=["a"], c=["b"], d=[])
    with pytest.raises(ConfigError, match="a -> c -> b -> a") as caught:
        ordered(profile, text, "jobs.json")
    assert caught.value.where == "jobs.json:3"


def test_a_parent_that_is_no_stage_is_named() -> None:
    profile, text = stages(draft=[], check=["draf"])
    with pytest.raises(ConfigError, match="'draf'") as caught:
        ordered(profile, text)
    assert "draft" in str(caught.value.next_step)


def test_a_long_chain_is_no_trouble() -> None:
    names = [f"s{number}" for number in range(5000)]
    profile, text = stages(**{name: names[at + 1 : at + 2] for at, name in enumerate(names)})
    assert list(ordered(profile, text).stages) == names[::-1]
