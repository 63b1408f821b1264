"""Traces of jobs, made of their durable events after the fact; the hot path does nothing.

One trace a job: the job is the root (a child of the caller's span, where a traceparent came
with it), every attempt of a step a span below it, with links to the steps whose results it read.
Names follow OpenTelemetry's semantic conventions for generative AI, version 0.1.0
(https://github.com/open-telemetry/semantic-conventions-genai). Ids are made of the job's id, so
that a job which two servers ran in turn is still one trace.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from gangline.ir.specs.event import END_EVENTS, Event
from gangline.runtime.dispatch.outcome import DirectOutcome

from .access import Access
from .job_table import JobFacts

PROVIDER = "gangline"
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_MAX_LINKS = 32


class JobIds(IdGenerator):
    """Gives the ids that are set, as ids of jobs and steps are known before their spans."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id = 0

    def generate_trace_id(self) -> int:
        """Give the trace id that was set."""
        return self.trace_id

    def generate_span_id(self) -> int:
        """Give the span id that was set."""
        return self.span_id


class Spans:
    """Make spans of events.

    Args:
        provider: made with `ids` as its id generator; shut down by `close`.
        content: also record what models wrote and what tools gave back. Off by default: traces
            leave the machine.
    """

    def __init__(self, provider: TracerProvider, ids: JobIds, *, content: bool = False) -> None:
        from gangline import __version__

        self._provider = provider
        self._tracer = provider.get_tracer("gangline", __version__)
        self._ids = ids
        self._content = content

    def direct(self, outcome: DirectOutcome) -> None:
        """Nothing: the HTTP request that it served says enough."""

    def close(self) -> None:
        """Send out what is left."""
        self._provider.shutdown()

    def tell(self, event: Event, job: JobFacts) -> None:
        """Make the spans that end with this event."""
        if event.type == "step.delta" or not self._sampled(job):
            return
        match event.type:
            case "step.completed" | "step.failed":
                self._step(event, job)
            case "job.started" if not event.data.get("resumed"):
                span_id = _digest(job.job_id, "queue")
                times = (job.queued_s, event.at_s)
                self._span("queue", span_id, self._parent(job), times, {}, trace=_trace_id(job))
            case _ if event.type in END_EVENTS:
                self._job(event, job)

    def request(self, access: Access) -> None:
        """Make the span of an HTTP request; a job's span is a child of the one that asked for it."""
        if not access.route.startswith("/v1/"):
            return  # what watches the server is not what it does
        began_s = access.at_s - access.seconds
        flags = f"{int(access.sampled):02x}"
        caller = f"00-{access.trace_id}-{access.parent_id}-{flags}" if access.parent_id else ""
        attributes: dict[str, str | int] = {
            "http.request.method": access.method,
            "http.route": access.route,
            "http.response.status_code": access.status,
        }
        if access.tenant:
            attributes["gangline.tenant"] = access.tenant
        if access.status >= 500:
            attributes["error.type"] = str(access.status)
        self._ids.trace_id, self._ids.span_id = int(access.trace_id, 16), int(access.span_id, 16)
        span = self._tracer.start_span(
            f"{access.method} {access.route}",
            _context_of(caller),
            SpanKind.SERVER,
            attributes,
            start_time=_ns(began_s),
        )
        if access.status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end(_ns(access.at_s))

    def _job(self, event: Event, job: JobFacts) -> None:
        data = event.data
        status = "succeeded" if event.type == "job.completed" else event.type.removeprefix("job.")
        attributes = {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.agent.name": job.workflow,
            "gen_ai.workflow.name": job.workflow,  # what it was called before version 0.1.0
            "gangline.job.id": job.job_id,
            "gangline.job.status": status,
            "gangline.job.usd": job.usd,
            "gangline.job.late": bool(data.get("late")),
            "gangline.job.predicted_s": job.predicted_s,
            "gangline.job.predicted_usd": job.predicted_usd,
            "gangline.tenant": job.tenant or None,
        }
        began_s = job.started_s if job.run else job.queued_s
        first = self._context(job, _digest(job.job_id, "job", "0"))
        self._span(
            f"invoke_workflow {job.workflow}",
            _root_id(job),
            self._caller(job),
            (began_s, event.at_s),
            attributes,
            error=data.get("error") if status != "succeeded" else None,
            links=[Link(first)] if job.run else [],
            trace=_trace_id(job),
        )

    def _step(self, event: Event, job: JobFacts) -> None:
        data = event.data
        start_s, end_s = data.get("start_s"), data.get("end_s")
        if start_s is None or end_s is None:
            start_s = end_s = event.at_s - job.started_s
        op, failed = str(data.get("op", "")), event.type == "step.failed"
        name, attributes = self._described(op, event, job)
        if op == "decode":
            began = next((job.prefills[p] for p in _parents(event) if p in job.prefills), None)
            if began is not None:
                attributes["gen_ai.response.time_to_first_chunk"] = max(0.0, start_s - began[0])
                start_s = began[0]
        attributes |= {
            "gangline.job.id": job.job_id,
            "gangline.step.id": event.step_id,
            "gangline.step.op": op,
            "gangline.step.stage": data.get("stage"),
            "gangline.step.attempt": data.get("attempt"),
            "gangline.step.usd": data.get("usd"),
            "gangline.step.predicted_s": data.get("predicted_s"),
            "gangline.device": data.get("device"),
        }
        # Only the attempt that gave the result has the id that other steps link to.
        last = (str(data.get("attempt", 1)), str(event.seq)) if failed else ()
        links = [Link(self._context(job, _step_id(job, parent))) for parent in _parents(event)]
        self._span(
            name,
            _step_id(job, event.step_id, *last),
            self._parent(job),
            (job.started_s + start_s, job.started_s + max(start_s, end_s)),
            attributes,
            error=data.get("error") if failed else None,
            links=links,
            trace=_trace_id(job),
        )

    def _described(self, op: str, event: Event, job: JobFacts) -> tuple[str, dict[str, Any]]:
        """Give the name of a step's span, and what the conventions say of its operation."""
        stage, data = job.attributes(event), event.data
        if op == "tool":
            tool = str(stage.get("tool") or data.get("stage", ""))
            attributes = {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": tool,
                "gen_ai.tool.type": "function",
                "gen_ai.tool.call.id": event.step_id,
            }
            if self._content and "value" in data:
                attributes["gen_ai.tool.call.result"] = _json(data["value"])
            return f"execute_tool {tool}", attributes
        model = job.model(event)
        if op == "decode":
            return f"chat {model}", self._inference(model, stage, data)
        if op == "embed":
            operation = {"gen_ai.operation.name": "embeddings", "gen_ai.provider.name": PROVIDER}
            return f"embeddings {model}", {**operation, "gen_ai.request.model": model}
        return f"{op} {data.get('stage', '')}", {}

    def _inference(
        self, model: str, stage: Mapping[str, Any], data: Mapping[str, Any]
    ) -> dict[str, Any]:
        grammar, reason = stage.get("grammar"), data.get("finish_reason")
        is_json = isinstance(grammar, Mapping) and grammar.get("kind") == "json_schema"
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.request.model": model,
            "gen_ai.response.model": model,
            "gen_ai.output.type": "json" if is_json else "text",
            "gen_ai.request.max_tokens": stage.get("max_tokens"),
            "gen_ai.request.temperature": stage.get("temperature"),
            "gen_ai.request.seed": stage.get("seed"),
            "gen_ai.request.stop_sequences": list(stage.get("stop") or ()) or None,
            "gen_ai.usage.input_tokens": data.get("prompt_tokens"),
            "gen_ai.usage.output_tokens": data.get("output_tokens"),
            "gen_ai.usage.cache_read.input_tokens": data.get("cached_tokens"),
            "gen_ai.response.finish_reasons": [reason] if reason else None,
        }
        value = data.get("value")
        if self._content and isinstance(value, Mapping) and "text" in value:
            parts = [{"type": "text", "content": value["text"]}]
            message = {"role": "assistant", "parts": parts, "finish_reason": reason}
            attributes["gen_ai.output.messages"] = _json([message])
        return attributes

    def _span(
        self,
        name: str,
        span_id: int,
        parent: Context,
        times: tuple[float, float],
        attributes: Mapping[str, Any],
        *,
        trace: int,
        error: Mapping[str, Any] | None = None,
        links: list[Link] | None = None,
    ) -> None:
        self._ids.trace_id, self._ids.span_id = trace, span_id
        known = {key: value for key, value in attributes.items() if value is not None}
        if error is not None:
            known["error.type"] = str(error.get("code", "_OTHER"))
        span = self._tracer.start_span(
            name,
            parent,
            SpanKind.INTERNAL,
            known,
            (links or [])[:_MAX_LINKS],
            start_time=_ns(times[0]),
        )
        if error is not None:
            # The title is ours; the detail may hold what a tool or a model said.
            text = error.get("detail") if self._content else error.get("title")
            span.set_status(Status(StatusCode.ERROR, str(text or "")))
        span.end(_ns(max(times)))

    def _parent(self, job: JobFacts) -> Context:
        """Give the context of a job's own span, which is made when the job has ended."""
        return set_span_in_context(NonRecordingSpan(self._context(job, _root_id(job))), Context())

    def _context(self, job: JobFacts, span_id: int) -> SpanContext:
        flags = _SAMPLED if self._sampled(job) else TraceFlags(TraceFlags.DEFAULT)
        return SpanContext(_trace_id(job), span_id, False, flags)

    def _caller(self, job: JobFacts) -> Context:
        """Give the span that a job's own is a child of; for our own request, with our decision."""
        if job.trace.endswith("-root"):
            flags = self._decision(Context(), _trace_id(job), "")
            return _context_of(job.trace.removesuffix("-root")[:-2] + f"{int(flags):02x}")
        return _context_of(job.trace)

    def _sampled(self, job: JobFacts) -> bool:
        """Say whether the job is sampled: what the sampler will say of its root as well."""
        if job.sampled is None:
            name = f"invoke_workflow {job.workflow}"
            job.sampled = bool(self._decision(self._caller(job), _trace_id(job), name))
        return job.sampled

    def _decision(self, parent: Context, trace: int, name: str) -> TraceFlags:
        sampler = self._provider.sampler
        decision = sampler.should_sample(parent, trace, name, SpanKind.INTERNAL).decision
        sampled = decision is Decision.RECORD_AND_SAMPLE
        return _SAMPLED if sampled else TraceFlags(TraceFlags.DEFAULT)


def trace_id(job: JobFacts) -> str:
    """Give the id of a job's trace as 32 hex digits, for logs."""
    return f"{_trace_id(job):032x}"


def _context_of(traceparent: str) -> Context:
    match = _TRACEPARENT.match(traceparent)
    if match is None:
        return Context()
    flags = TraceFlags(int(match[3], 16) & TraceFlags.SAMPLED)
    remote = SpanContext(int(match[1], 16), int(match[2], 16), True, flags)
    return (
        set_span_in_context(NonRecordingSpan(remote), Context()) if remote.is_valid else Context()
    )


def _trace_id(job: JobFacts) -> int:
    match = _TRACEPARENT.match(job.trace)
    if match is not None and int(match[1], 16):
        return int(match[1], 16)
    digest = blake2b(job.job_id.encode(), digest_size=16, person=b"gangline-trace")
    return int.from_bytes(digest.digest(), "big") or 1


def _root_id(job: JobFacts) -> int:
    return _digest(job.job_id, "job", str(job.run))


def _step_id(job: JobFacts, step_id: str, *attempt: str) -> int:
    return _digest(job.job_id, "step", step_id, *attempt)


def _digest(*parts: str) -> int:
    """Give a span id made of texts."""
    digest = blake2b("\0".join(parts).encode(), digest_size=8, person=b"gangline-span")
    return int.from_bytes(digest.digest(), "big") or 1


def _parents(event: Event) -> Iterator[str]:
    yield from map(str, event.data.get("parents", ()))


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
