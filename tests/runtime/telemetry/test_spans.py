"""Traces made of events: names and values of the conventions, one tree per job, no content."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.trace import SpanKind, StatusCode

from gangline.ir.specs.event import Event
from gangline.runtime.telemetry.otel import captures_content, open_spans, traces_wanted
from gangline.runtime.telemetry.spans import JobIds, Spans
from gangline.runtime.telemetry.telemetry import Telemetry

RunEvents = Callable[..., list[Event]]
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


def spans_of(
    events: Iterable[Event], *, sampler: Sampler | None = None, **options: Any
) -> list[ReadableSpan]:
    ids, exporter = JobIds(), InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler, id_generator=ids, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry = Telemetry([Spans(provider, ids, **options)])
    telemetry.on_events(list(events))
    telemetry.close()
    return list(exporter.get_finished_spans())


def named(spans: list[ReadableSpan], name: str) -> list[ReadableSpan]:
    return [span for span in spans if span.name == name]


def submitted(events: list[Event], **more: Any) -> list[Event]:
    first = events[0]
    queued = Event(first.job_id, 1, first.type, first.at_s, "", {**first.data, **more})
    return [queued, *events[1:]]


def test_a_job_is_one_tree(run_events: RunEvents) -> None:
    events = run_events()
    spans = spans_of(events)
    (root,) = named(spans, "invoke_workflow hand_made")
    assert root.parent is None
    assert {span.context.trace_id for span in spans} == {root.context.trace_id}
    assert len({span.context.span_id for span in spans}) == len(spans)
    for span in spans:
        if span is not root:
            assert span.parent is not None
            assert span.parent.span_id == root.context.span_id
    done = [event for event in events if event.type == "step.completed"]
    assert len(spans) == len(done) + 2  # the job, and its wait in the queue


def test_times_are_those_of_the_records(run_events: RunEvents) -> None:
    events = run_events()
    spans = spans_of(events)
    (root,) = named(spans, "invoke_workflow hand_made")
    assert root.start_time == int(events[0].at_s * 1e9)
    assert root.end_time == int(events[-1].at_s * 1e9)
    started_s = next(event.at_s for event in events if event.type == "job.started")
    (tool,) = named(spans, "execute_tool greeting")
    (record,) = [e for e in events if e.type == "step.completed" and e.data["op"] == "tool"]
    assert tool.start_time == pytest.approx((started_s + record.data["start_s"]) * 1e9, abs=1e3)
    assert tool.end_time == pytest.approx((started_s + record.data["end_s"]) * 1e9, abs=1e3)


def test_a_model_request_says_what_the_conventions_ask_for(run_events: RunEvents) -> None:
    events = run_events()
    chats = named(spans_of(events), "chat m")
    assert len(chats) == 3
    done = [e.data for e in events if e.type == "step.completed" and e.data["op"] == "decode"]
    for span, data in zip(chats, done, strict=True):
        found = dict(span.attributes or {})
        assert found["gen_ai.operation.name"] == "chat"
        assert found["gen_ai.provider.name"] == "gangline"
        assert found["gen_ai.request.model"] == "m"
        assert found["gen_ai.request.max_tokens"] == 64
        assert found["gen_ai.request.temperature"] == 0.5
        assert found["gen_ai.usage.input_tokens"] == data["prompt_tokens"]
        assert found["gen_ai.usage.output_tokens"] == data["output_tokens"]
        assert found["gen_ai.usage.cache_read.input_tokens"] == data["cached_tokens"]
        assert found["gen_ai.response.finish_reasons"] == ("stop",)
        assert float(str(found["gen_ai.response.time_to_first_chunk"])) >= 0
        assert span.kind is SpanKind.INTERNAL


def test_a_request_begins_with_its_prefill(run_events: RunEvents) -> None:
    events = run_events()
    done = {e.step_id: e.data for e in events if e.type == "step.completed"}
    started_s = next(event.at_s for event in events if event.type == "job.started")
    for span in named(spans_of(events), "chat m"):
        data = done[str((span.attributes or {})["gangline.step.id"])]
        (prefill,) = [done[p] for p in data["parents"] if p.endswith(".prefill")]
        assert span.start_time == pytest.approx((started_s + prefill["start_s"]) * 1e9, abs=1e3)
        assert span.end_time == pytest.approx((started_s + data["end_s"]) * 1e9, abs=1e3)


def test_steps_link_to_the_steps_they_read(run_events: RunEvents) -> None:
    events = run_events()
    spans = spans_of(events)
    by_id = {span.context.span_id: span for span in spans}
    by_step = {(span.attributes or {}).get("gangline.step.id"): span for span in spans}
    linked = 0
    for event in events:
        if event.type == "step.completed":
            links = [by_id[link.context.span_id] for link in by_step[event.step_id].links]
            found = [(span.attributes or {})["gangline.step.id"] for span in links]
            assert found == list(event.data["parents"])
            linked += len(found)
    assert linked > 3


def test_names_are_those_of_the_conventions(run_events: RunEvents) -> None:
    """Each gen_ai name is one that OpenTelemetry's own list has."""
    known = {v for k, v in vars(gen_ai_attributes).items() if k.startswith("GEN_AI_")}
    spans = spans_of([*run_events(), *run_events("fail")], content=True)
    used = {key for span in spans for key in span.attributes or {} if key.startswith("gen_ai.")}
    assert used <= known
    operations = {value.value for value in gen_ai_attributes.GenAiOperationNameValues}
    found = {(span.attributes or {}).get("gen_ai.operation.name") for span in spans} - {None}
    assert found == {"chat", "execute_tool", "invoke_workflow"}
    assert found <= operations


def test_a_failure_has_its_code_and_no_content(run_events: RunEvents) -> None:
    spans = spans_of(run_events("fail"))
    for name in ("execute_tool greeting", "invoke_workflow hand_made"):
        (span,) = named(spans, name)
        assert span.status.status_code is StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == "step"
    assert "hush" not in "".join(span.to_json() for span in spans)


def test_every_attempt_of_a_step_is_a_span() -> None:
    failed = {"op": "tool", "stage": "t", "start_s": 0.0, "end_s": 1.0, "error": {"code": "step"}}
    rows: list[tuple[str, dict[str, Any]]] = [
        ("job.queued", {"workflow": "w"}),
        ("job.started", {}),
        ("step.failed", {**failed, "attempt": 1}),
        ("step.failed", {**failed, "attempt": 2}),
        ("step.completed", {**failed, "attempt": 3, "error": None}),
    ]
    events = [Event("j", n + 1, kind, float(n), "t", data) for n, (kind, data) in enumerate(rows)]
    spans = named(spans_of(events), "execute_tool t")
    assert [(span.attributes or {})["gangline.step.attempt"] for span in spans] == [1, 2, 3]
    assert len({span.context.span_id for span in spans}) == 3


def test_what_was_said_stays_out_unless_it_is_asked_for(run_events: RunEvents) -> None:
    events = run_events("ann")
    plain = "".join(span.to_json() for span in spans_of(events))
    assert "hello" not in plain
    assert "ann" not in plain
    spans = spans_of(events, content=True)
    assert "hello" in str((named(spans, "chat m")[0].attributes or {})["gen_ai.output.messages"])
    (tool,) = named(spans, "execute_tool greeting")
    assert (tool.attributes or {})["gen_ai.tool.call.result"] == '"hello ann"'


def test_the_caller_is_the_parent(run_events: RunEvents) -> None:
    events = submitted(run_events(), trace=f"00-{TRACE}-{SPAN}-01")
    spans = spans_of(events)
    (root,) = named(spans, "invoke_workflow hand_made")
    assert root.parent is not None
    assert f"{root.parent.span_id:016x}" == SPAN
    assert root.parent.is_remote
    assert {f"{span.context.trace_id:032x}" for span in spans} == {TRACE}


def test_a_caller_who_does_not_sample_is_heeded(run_events: RunEvents) -> None:
    events = submitted(run_events(), trace=f"00-{TRACE}-{SPAN}-00")
    assert spans_of(events) == []


@pytest.mark.parametrize("bad", ["", "00-xyz", f"00-{'0' * 32}-{SPAN}-01", "\x00" * 60])
def test_a_traceparent_that_is_none_is_left_out(bad: str, run_events: RunEvents) -> None:
    (root,) = named(spans_of(submitted(run_events(), trace=bad)), "invoke_workflow hand_made")
    assert root.parent is None


def test_a_job_is_sampled_as_a_whole(run_events: RunEvents) -> None:
    """With any sampler, a trace has all its spans or none."""
    traces = [f"{n * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}" for n in range(1, 13)]
    jobs = [submitted(run_events(), trace=f"00-{trace}-{SPAN}-01-root") for trace in traces]
    for sampler in (TraceIdRatioBased(0.5), ParentBased(TraceIdRatioBased(0.5))):
        sizes = [len(spans_of(events, sampler=sampler)) for events in jobs]
        whole = [len(spans_of(events)) for events in jobs]
        assert all(size in (0, full) for size, full in zip(sizes, whole, strict=True))
        assert 0 < sum(map(bool, sizes)) < len(jobs)


def test_two_servers_make_one_trace(run_events: RunEvents) -> None:
    """The second one knows of the job's begin only from the log."""
    events = run_events()
    whole, (cut, rest) = spans_of(events), _halves(events)
    ids, exporter = JobIds(), InMemorySpanExporter()
    provider = TracerProvider(id_generator=ids, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    second = Telemetry([Spans(provider, ids)], read_log=lambda _: cut)
    second.on_events(rest)
    second.close()
    halves = [*spans_of(cut), *exporter.get_finished_spans()]
    assert sorted(map(_facts, halves)) == sorted(map(_facts, whole))


def _halves(events: list[Event]) -> tuple[list[Event], list[Event]]:
    middle = next(n for n, e in enumerate(events) if e.seq and e.data.get("op") == "prefill")
    stored = [event for event in events if event.seq]
    return stored[:middle], stored[middle:]


def _facts(span: ReadableSpan) -> tuple[Any, ...]:
    parent = span.parent.span_id if span.parent else 0
    return (span.name, span.context.trace_id, span.context.span_id, parent, span.start_time)


def test_a_job_that_is_retried_is_a_second_root_linked_to_the_first() -> None:
    rows = ["job.queued", "job.started", "job.failed", "job.started", "job.completed"]
    more: list[dict[str, Any]] = [{"workflow": "w"}, {}, {"error": {"code": "step"}}, {}, {}]
    more[3] = {"resumed": True}
    events = [
        Event("j", n + 1, kind, float(n), "", data)
        for n, (kind, data) in enumerate(zip(rows, more, strict=True))
    ]
    # The log is asked, as an ended job is forgotten.
    ids, exporter = JobIds(), InMemorySpanExporter()
    provider = TracerProvider(id_generator=ids, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry = Telemetry([Spans(provider, ids)], read_log=lambda _: events)
    telemetry.on_events(events)
    telemetry.close()
    first, second = named(list(exporter.get_finished_spans()), "invoke_workflow w")
    assert first.context.trace_id == second.context.trace_id
    assert first.context.span_id != second.context.span_id
    assert [link.context.span_id for link in second.links] == [first.context.span_id]
    assert (second.start_time, second.end_time) == (1_000_000_000, 4_000_000_000)


# -- settings


@pytest.mark.parametrize(
    ("environment", "exporter"),
    [
        ({}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "Console"}, "console"),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, ""),
        ({"OTEL_SDK_DISABLED": "TRUE", "OTEL_TRACES_EXPORTER": "otlp"}, ""),
    ],
)
def test_the_standard_variables_decide(environment: dict[str, str], exporter: str) -> None:
    assert traces_wanted(environment) == exporter


def test_an_unknown_exporter_is_told() -> None:
    with pytest.raises(Exception, match="zipkin"):
        traces_wanted({"OTEL_TRACES_EXPORTER": "zipkin"})


@pytest.mark.parametrize(
    ("value", "captured"),
    [("", False), ("false", False), ("no_content", False), ("True", True), ("SPAN_ONLY", True)],
)
def test_content_is_captured_only_where_somebody_says_so(value: str, captured: bool) -> None:
    name = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    assert captures_content({name: value}) is captured


def test_nothing_is_made_where_nobody_asks() -> None:
    assert open_spans({}) is None


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """A collector on loopback that keeps what is posted to it."""
    import http.server
    import threading

    posted: list[bytes] = []

    class Collect(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collect) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", posted
        server.shutdown()


def test_traces_reach_a_collector_over_http(
    collector: tuple[str, list[bytes]],
    run_events: RunEvents,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    url, posted = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "jobs-of-mine")
    spans = open_spans()
    assert spans is not None
    events = run_events()
    telemetry = Telemetry([spans])
    telemetry.on_events(events)
    telemetry.close()
    found = []
    for body in posted:
        (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
        names = {a.key: a.value.string_value for a in resource.resource.attributes}
        assert names["service.name"] == "jobs-of-mine"
        found += [span for scope in resource.scope_spans for span in scope.spans]
    assert len(found) == len(spans_of(events))
