"""Profile files and traces: read as they are meant, refused with a place where they are wrong."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from gangline.ir.errors import ConfigError
from gangline.ir.program import Program
from gangline.planner.draws import draw_jobs
from gangline.planner.profile import Amount, Profile, Sample, StageProfile
from gangline.planner.profile_file import parse_profile, portable, program_of, to_document
from gangline.planner.workload import complete

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "schemas" / "profile.json"
SHARED = Path(os.environ.get("GANGLINE_SHARED_DATA", ROOT.parent / "shared" / "data"))

REQUESTS = [
    {"Text2SQLRequest": [
        {"step": "pick", "input_length": 300, "output_length": 5},
        {"step": "write", "input_length": 900, "output_length": 60},
    ]},
    {"Text2SQLRequest": [
        {"step": "pick", "input_length": 320, "output_length": 7},
        {"step": "pick", "input_length": 340, "output_length": 9},
        {"step": "write", "input_length": 1100, "output_length": 80},
        {"step": "revise", "input_length": 1200, "output_length": 40},
    ]},
]  # fmt: skip


def measured() -> Profile:
    sample = Sample("cpu", 0.25, 100.0, 40.0, 20.0)
    rows = {
        "look": StageProfile("tool", seconds=Amount(0.2, 0.1, 0.4), samples=(sample,)),
        "draft.prefill": StageProfile("prefill", samples=(sample,)),
    }
    return Profile(rows, {"loop": 1.5}, num_jobs=3)


def test_a_profile_file_is_read_back_and_follows_its_schema() -> None:
    document = json.loads(json.dumps(to_document(measured(), "flow", "three jobs")))
    jsonschema.validate(document, json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert parse_profile(json.dumps(document)) == measured()
    assert parse_profile(json.dumps(document, indent=1)) == measured()


def test_a_portable_profile_says_nothing_of_this_machine() -> None:
    moved = portable(measured())
    assert moved.stages["look"].samples[0] == Sample("", 0.25, 100.0, 40.0, 20.0)
    assert moved.stages["draft.prefill"].samples[0].seconds == 0.0
    assert {row.source for row in moved.stages.values()} == {"measured"}


def test_a_list_of_requests_gives_visits_and_tokens_per_step() -> None:
    profile = parse_profile(json.dumps(REQUESTS))
    assert profile.num_jobs == 2
    assert profile.stages["pick.decode"].visits == 1.5
    assert profile.stages["revise.prefill"].visits == 0.5
    assert profile.stages["pick.prefill"].prompt_tokens.mean == 320.0
    assert profile.stages["write.decode"].output_tokens.mean == 70.0


@pytest.mark.parametrize(
    "text",
    [
        "TIMESTAMP,ContextTokens,GeneratedTokens\n0,100,10\n1,300,30\n",
        "num_prefill_tokens,num_decode_tokens,num_total_tokens\n100,10,110\n300,30,330\n",
        '{"ContextTokens": 100, "GeneratedTokens": 10}\n{"ContextTokens": 300, "GeneratedTokens": 30}',
    ],
)
def test_rows_of_calls_give_one_stage(text: str) -> None:
    profile = parse_profile(text, "trace.csv")
    assert (profile.num_jobs, set(profile.stages)) == (2, {"call.prefill", "call.decode"})
    assert profile.stages["call.prefill"].prompt_tokens.mean == 200.0
    assert {s.output_tokens for s in profile.stages["call.decode"].samples} == {10.0, 30.0}


def test_a_long_trace_is_kept_by_quantiles_with_prompts_and_answers_together() -> None:
    rng = np.random.default_rng(0)
    prompts = np.exp(6.0 + rng.normal(size=3000)).round() + 1
    lines = [f"{int(p)},{int(p) // 10}" for p in prompts]
    profile = parse_profile("\n".join(["prompt_tokens,output_tokens", *lines]))
    samples = profile.stages["call.decode"].samples
    assert len(samples) == 64
    assert all(s.output_tokens == s.prompt_tokens // 10 for s in samples)
    kept = np.quantile([s.prompt_tokens for s in samples], (0.1, 0.5, 0.9))
    assert kept == pytest.approx(np.quantile(prompts, (0.1, 0.5, 0.9)), rel=0.1)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "t.csv"),
        ("a,b\n1,2\n", "t.csv:2"),
        ("ContextTokens,GeneratedTokens\n10,3\n-1,2\n", "t.csv:3"),
        ("ContextTokens,GeneratedTokens\n10,nan\n", "t.csv:2"),
        ('[{"x": 3}]', "t.csv, request 1"),
        ('[[{"input_length": 3}]]', "t.csv, request 1"),
        ('{"version": 2}', "t.csv"),
        ('{"version": 1, "stages": {"a": {}}}', "t.csv"),
        ('{"version": 1', "t.csv"),
        ("[" * 100000, "t.csv"),
    ],
)
def test_bad_text_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_profile(text, "t.csv")
    assert caught.value.where == place


def test_a_negative_figure_is_refused_with_its_stage() -> None:
    bad = replace(measured().stages["look"], visits=-1.0)
    profile = replace(measured(), stages={"look": bad})
    with pytest.raises(ConfigError, match="'look'"):
        parse_profile(json.dumps(to_document(profile, "", "")))


def test_a_profile_alone_becomes_a_chain_with_the_visits_it_states() -> None:
    profile = parse_profile(json.dumps(REQUESTS))
    program, chain = program_of(profile, "llama-3.1-8b")
    full = complete(program, chain)
    jobs = draw_jobs(program, full, 3000, seed=1)
    for name in ("pick.decode", "write.decode", "revise.decode"):
        visits = sum(step.stage == name for job in jobs for step in job) / len(jobs)
        assert visits == pytest.approx(profile.stages[name].visits, rel=0.08), name
    last = max(jobs, key=len)
    for index, step in enumerate(last[1:], start=1):
        assert index - 1 in step.parents  # one after the other
    assert isinstance(program, Program)


def test_shared_traces_are_read() -> None:
    folder = SHARED / "traces"
    if not folder.is_dir():
        pytest.skip("the shared traces are not here (GANGLINE_SHARED_DATA)")
    import gzip

    for name in ("hexgen_formula1.json.gz", "azure2023_code_first65pct.csv.gz"):
        text = gzip.decompress((folder / name).read_bytes()).decode()
        profile = parse_profile(text, name)
        assert profile.num_jobs > 10
        assert all(row.prompt_tokens.mean > 1.0 for row in profile.stages.values())
