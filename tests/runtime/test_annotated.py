"""A workflow on a fleet as MLIR: devices, transfers, needs and times agree with the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from gangline.ir.builder import build
from gangline.ir.compiler import to_stages
from gangline.ir.decoding import decode_program
from gangline.ir.graph import Block, Function, Input, Node, Value
from gangline.ir.module import Module, walk
from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.fleet import Fleet, FleetDevice, Link
from gangline.ir.specs.model import ModelSpec
from gangline.ir.verifier import verify
from gangline.planner.costs.kv_transfer import check_link
from gangline.planner.proposal import placed
from gangline.runtime.annotated import annotated_module
from gangline.runtime.machine.models import catalogue

MODEL = "qwen2.5-coder-1.5b"
LINK = Link("first", "second", bytes_per_s=25e9, latency_s=1e-5)


def gpu(name: str) -> FleetDevice:
    spec = DeviceSpec(
        type=name,
        kind="gpu",
        flops={"bf16": 3e14},
        memory_bytes=80_000_000_000,
        memory_bytes_per_s=2e12,
        source="datasheet",
    )
    return FleetDevice(name, spec, usd_per_hour=2.0)


def fleet() -> Fleet:
    host = DeviceSpec(
        type="cpu",
        flops={"int8": 1e12},
        memory_bytes=64_000_000_000,
        memory_bytes_per_s=5e10,
        cores=8,
        source="probed here",
    )
    devices = (FleetDevice("host", host), gpu("first"), gpu("second"))
    return Fleet("split", devices, (LINK, replace(LINK, source="second", target="first")))


def flow() -> Module:
    topic, draft, shown = Value("text"), Value("text"), Value("text")
    llm: dict[str, Any] = {
        "names": ["topic"],
        "template": [{"role": "user", "text": "About {topic}"}],
    }
    llm |= {"name": "draft", "model": MODEL, "max_tokens": 100, "format": "text"}
    tool: dict[str, Any] = {"name": "show", "names": ["text"], "tool": "show", "signature": "s"}
    tool |= {"effects": "read", "timeout_s": 5.0, "retries": 0, "idempotent": True}
    nodes = [Node("agent.llm", (topic,), llm, draft), Node("agent.tool", (draft,), tool, shown)]
    block = Block((topic,), nodes, (shown,))
    return to_stages(build([Function("flow", (Input("topic", "text"),), block, deadline_s=30.0)]))


def annotated(**options: Any) -> tuple[dict[str, dict[str, Any]], Any]:
    module = flow()
    program = decode_program(module)
    where = {"prefill": ("first", 1), "decode": ("second", 1), "tool": ("host", 1)}
    models: Mapping[str, ModelSpec] = catalogue()
    plan = placed(program, None, fleet(), models, lambda group: where[group.name.partition(":")[0]])
    found = annotated_module(module, program, fleet(), models, plan=plan, **options)
    verify(found, level="stage")
    rows: dict[str, dict[str, Any]] = {}
    for op in walk(next(iter(found.functions()))):
        if op.name.startswith("stage."):
            given: dict[str, Any] = {
                key: getattr(value, "value", None) for key, value in op.attributes.items()
            }
            rows[str(given["name"])] = {**given, "op": op.name}
    assert module.text == flow().text, "the module that is given stays as it is"
    return rows, plan


def test_the_cache_of_a_split_prompt_moves_and_its_bytes_are_those_of_the_model() -> None:
    rows, plan = annotated()
    move = rows["draft.prefill.to.second"]
    assert (move["op"], move["source"], move["target"]) == ("stage.kv_transfer", "first", "second")
    tokens = plan.stage("draft.prefill").prompt_tokens
    moved = tokens * catalogue()[MODEL].kv_bytes_per_token()
    assert move["agent.network_bytes"] == pytest.approx(moved, rel=1e-5)
    assert rows["draft.prefill"]["agent.kv_bytes"] == move["agent.network_bytes"]
    # Seconds over the link, and the peak rate it must carry (equations 1 and 2 of the paper).
    assert move["agent.seconds"] == pytest.approx(LINK.latency_s + moved / 25e9, rel=1e-5)
    ttft_s, tbt_s = plan.stage("draft.prefill").seconds, 0.02
    peaks = check_link(moved, layers=28, ttft_s=ttft_s, tbt_s=tbt_s, link_bytes_per_s=25e9)
    assert peaks.peak_egress_bytes_per_s == pytest.approx(moved / ttft_s)
    assert peaks.peak_ingress_bytes_per_s == pytest.approx(moved / tbt_s)
    assert peaks.transfer_s + LINK.latency_s == pytest.approx(move["agent.seconds"], rel=1e-5)


def test_devices_and_seconds_are_the_plans() -> None:
    rows, plan = annotated()
    for row in plan.stages:
        assert rows[row.stage]["agent.device"] == row.device
        assert rows[row.stage]["agent.seconds"] == pytest.approx(row.seconds, rel=1e-5)
        assert rows[row.stage]["agent.visits"] == pytest.approx(row.visits)


def test_the_critical_path_takes_the_plans_time_and_all_of_the_deadline() -> None:
    rows, plan = annotated()
    path = [row for row in rows.values() if row["agent.critical"]]
    assert {row["name"] for row in path} >= set(plan.critical_path)
    assert sum(row["agent.deadline_share"] for row in path) == pytest.approx(1.0, abs=1e-5)
    total = sum(row["agent.seconds"] for row in path)
    # The plan prices the hop of a small value by its latency alone.
    assert total == pytest.approx(plan.seconds, rel=1e-3)
    assert all(row["agent.slack_s"] == pytest.approx(30.0 - total, rel=1e-4) for row in path)


def test_without_annotations_there_are_devices_and_transfers_alone() -> None:
    rows, _ = annotated(annotate=False)
    assert rows["draft.decode"]["agent.device"] == "second"
    assert "draft.prefill.to.second" in rows
    assert not any(key in row for row in rows.values() for key in ("agent.flops", "agent.seconds"))
