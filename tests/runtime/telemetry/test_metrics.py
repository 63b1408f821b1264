"""What a scrape says, read by Prometheus's own parser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)

from gangline.ir.specs.event import Event
from gangline.runtime.telemetry.access import Access
from gangline.runtime.telemetry.labels import Labels
from gangline.runtime.telemetry.live import EngineState, LiveState
from gangline.runtime.telemetry.metrics import MAX_WORKFLOWS, Metrics
from gangline.runtime.telemetry.scrape import Scrape
from gangline.runtime.telemetry.telemetry import Telemetry

DOCS = Path(__file__).parents[3] / "docs"
LIVE = LiveState(
    engines=[EngineState("cpu/0", "m", running=2, waiting=1, kv_use=0.25)],
    jobs={"running": 3, "queued": 4},
    gauges={"queued_jobs": 5, "store_up": 1, "running_jobs": 2, "store_queue_depth": None},
    counters={"store_commits": 17, "telemetry_dropped_events": 0},
    labelled={"webhook_deliveries": ("outcome", {"delivered": 6})},
)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(events: Iterable[Event], live: LiveState | None = None, **options: Any) -> Samples:
    metrics = Metrics(**options)
    telemetry = Telemetry([metrics])
    telemetry.on_events(list(events))
    body, kind = Scrape(metrics, telemetry.drain).text(live or LiveState())
    assert kind.startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parser.text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


def test_a_job_that_succeeded(run_events: Callable[..., list[Event]]) -> None:
    events = run_events()
    found = scraped(events)
    assert value(found, "gangline_jobs_submitted_total", workflow="hand_made") == 1
    ended = {"workflow": "hand_made", "status": "succeeded"}
    assert value(found, "gangline_jobs_ended_total", **ended) == 1
    assert value(found, "gangline_job_seconds_count", workflow="hand_made") == 1
    assert value(found, "gangline_steps_total", op="tool", status="succeeded") == 1
    assert value(found, "gangline_steps_total", op="decode", status="succeeded") == 3
    seconds = value(found, "gangline_job_seconds_sum", workflow="hand_made")
    assert seconds == pytest.approx(events[-1].at_s - events[0].at_s)


def test_model_requests_are_counted_as_vllm_does(
    run_events: Callable[..., list[Event]],
) -> None:
    events = run_events()
    done = [e for e in events if e.type == "step.completed" and e.data["op"] == "decode"]
    found = scraped(events)
    tokens = [sum(e.data[name] for e in done) for name in ("prompt_tokens", "output_tokens")]
    assert tokens[0] > 0 < tokens[1]
    assert value(found, "vllm:prompt_tokens_total", model_name="m") == tokens[0]
    assert value(found, "vllm:generation_tokens_total", model_name="m") == tokens[1]
    assert value(found, "vllm:prefix_cache_queries_total", model_name="m") == tokens[0]
    cached = sum(e.data["cached_tokens"] for e in done)
    assert value(found, "vllm:prefix_cache_hits_total", model_name="m") == cached
    for name in ("e2e_request_latency", "time_to_first_token", "request_decode_time"):
        assert value(found, f"vllm:{name}_seconds_count", model_name="m") == 3
    total = value(found, "vllm:e2e_request_latency_seconds_sum", model_name="m")
    first = value(found, "vllm:time_to_first_token_seconds_sum", model_name="m")
    rest = value(found, "vllm:request_decode_time_seconds_sum", model_name="m")
    assert total == pytest.approx(first + rest)
    finished = {"model_name": "m", "finished_reason": "stop"}
    assert value(found, "vllm:request_success_total", **finished) == 3


def test_a_job_that_failed(run_events: Callable[..., list[Event]]) -> None:
    found = scraped(run_events("fail"))
    assert value(found, "gangline_steps_total", op="tool", status="failed") == 1
    ended = {"workflow": "hand_made", "status": "failed"}
    assert value(found, "gangline_jobs_ended_total", **ended) == 1
    assert not [name for name, _ in found if name.startswith("vllm:request_success")]


def made(*kinds: tuple[str, dict[str, Any]], job_id: str = "j") -> list[Event]:
    return [
        Event(job_id, n + 1, kind, float(n), "s" if kind.startswith("step") else "", data)
        for n, (kind, data) in enumerate(kinds)
    ]


def test_late_jobs_dollars_and_predictions() -> None:
    plan = {"seconds": 1.0, "usd": 0.5}
    step = {"op": "tool", "device": "cpu/0", "start_s": 0.0, "end_s": 2.0, "usd": 0.25}
    events = made(
        ("job.queued", {"workflow": "w", "plan": plan}),
        ("job.started", {}),
        ("step.completed", {**step, "predicted_s": 1.0}),
        ("job.completed", {"late": True, "output": None}),
    )
    found = scraped(events)
    assert value(found, "gangline_jobs_late_total", workflow="w") == 1
    assert value(found, "gangline_usd_total", workflow="w", device="cpu/0") == 0.25
    assert value(found, "gangline_job_actual_to_predicted_sum", workflow="w") == 2.0
    assert value(found, "gangline_step_actual_to_predicted_sum", op="tool") == 2.0
    assert value(found, "gangline_calibration_error", op="tool") == pytest.approx(0.6931, abs=1e-3)
    assert value(found, "gangline_job_queue_seconds_sum", workflow="w") == 1.0


def test_time_between_tokens_is_shared_between_those_that_came() -> None:
    program = {"stages": [{"name": "greet.decode", "attributes": {"model": "m"}}]}
    events = [
        Event("j", 1, "job.queued", 0.0, "", {"workflow": "w", "program": program}),
        *[
            Event("j", 0, "step.delta", at_s, "map[1]/greet.decode", {"num_tokens": num_tokens})
            for at_s, num_tokens in ((1.0, 1), (1.5, 1), (2.5, 4))
        ],
    ]
    found = scraped(events)
    assert value(found, "vllm:inter_token_latency_seconds_count", model_name="m") == 5
    assert value(found, "vllm:inter_token_latency_seconds_sum", model_name="m") == 1.5
    assert value(found, "vllm:inter_token_latency_seconds_bucket", model_name="m", le="0.3") == 4


def test_what_is_so_now() -> None:
    found = scraped([], LIVE)
    engine = {"model_name": "m", "device": "cpu/0"}
    assert value(found, "vllm:num_requests_running", **engine) == 2
    assert value(found, "vllm:num_requests_waiting", **engine) == 1
    assert value(found, "vllm:kv_cache_usage_perc", **engine) == 0.25
    assert value(found, "gangline_jobs", status="queued") == 4
    assert value(found, "gangline_queued_jobs") == 5
    assert value(found, "gangline_store_commits_total") == 17
    assert value(found, "gangline_webhook_deliveries_total", outcome="delivered") == 6
    assert ("gangline_store_queue_depth", ()) not in found


def test_callers_cannot_make_any_number_of_series() -> None:
    events = [
        event
        for n in range(MAX_WORKFLOWS + 50)
        for event in made(("job.queued", {"workflow": f"w{n}", "tenant": f"t{n}"}), job_id=str(n))
    ]
    found = scraped(events)
    series = [labels for name, labels in found if name == "gangline_jobs_submitted_total"]
    assert len(series) == MAX_WORKFLOWS + 1
    assert value(found, "gangline_jobs_submitted_total", workflow="other") == 50
    assert not any("tenant" in dict(labels) for labels in series)


def test_an_op_or_a_reason_from_outside_makes_no_series() -> None:
    step = {"op": "x" * 99, "start_s": 0.0, "end_s": 1.0}
    found = scraped(made(("job.queued", {}), ("step.completed", step)))
    assert value(found, "gangline_steps_total", op="other", status="succeeded") == 1


def test_tenants_are_labels_only_where_wanted() -> None:
    events = made(("job.queued", {"workflow": "w", "tenant": "acme"}))
    found = scraped(events, tenants=True)
    assert value(found, "gangline_jobs_submitted_total", workflow="w", tenant="acme") == 1


def test_labels_are_bounded() -> None:
    labels = Labels(2)
    assert [labels(name) for name in "abcab"] == ["a", "b", "other", "a", "b"]


def test_names_are_valid_and_documented(run_events: Callable[..., list[Event]]) -> None:
    """Names as Prometheus has them: base units, `_total` for counters only; all in the docs."""
    metrics = Metrics()
    telemetry = Telemetry([metrics])
    telemetry.on_events([*run_events(), *run_events("fail")])
    telemetry.on_request(Access("GET", "/v1/jobs", 200, 0.1, "t", "r", "i"))
    body, _ = Scrape(metrics, telemetry.drain).text(LIVE)
    text = (DOCS / "telemetry.md").read_text()
    for family in parser.text_string_to_metric_families(body.decode()):
        assert re.fullmatch(r"(gangline_|vllm:)[a-z][a-z0-9_]*", family.name)
        assert family.documentation
        assert not re.search(r"_(ms|milliseconds|minutes|kb|mb)\b", family.name)
        if family.name.endswith("_total") and family.type != "counter":
            raise AssertionError(family.name)
        shown = family.name + ("_total" if family.type == "counter" else "")
        if not family.name.endswith("_created"):
            assert f"`{shown}`" in text, f"docs/telemetry.md does not name {shown}"


def test_openmetrics_is_spoken_too(run_events: Callable[..., list[Event]]) -> None:
    metrics = Metrics()
    telemetry = Telemetry([metrics])
    telemetry.on_events(run_events())
    accept = "application/openmetrics-text; version=1.0.0"
    body, kind = Scrape(metrics, telemetry.drain).text(LIVE, accept)
    assert kind.startswith("application/openmetrics-text")
    families = list(read_openmetrics(body.decode()))  # type: ignore[no-untyped-call]
    assert {"gangline_jobs_ended", "vllm:prompt_tokens"} <= {family.name for family in families}
