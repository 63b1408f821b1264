"""Prometheus metrics of jobs, steps and model requests, counted from their events.

Names that begin with `vllm:` are those of vLLM's metrics and mean what they mean there
(https://docs.vllm.ai/en/stable/usage/metrics/), so that its dashboards work; the others begin
with `gangline_`. docs/telemetry.md lists them all.
"""

from __future__ import annotations

import math
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from gangline.ir.program import STEP_OPS
from gangline.ir.specs.event import END_EVENTS, STATUS_AFTER, Event
from gangline.ir.specs.request import Finished
from gangline.runtime.dispatch.outcome import DirectOutcome

from .access import Access
from .job_table import NO_ATTRIBUTES, JobFacts
from .labels import OTHER, Labels, Series
from .requests import RequestMetrics

# A second series for every one, which no dashboard asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]

MAX_WORKFLOWS = 100
MAX_MODELS = 50
MAX_DEVICES = 200
MAX_TENANTS = 200
OPS = STEP_OPS
_FINISHED = {"stop": "stop", "grammar": "stop", "length": "length", "abort": "abort"}
"""vLLM knows stop, length and abort; a grammar that is complete is a stop there too."""

_FIRST = "vllm:time_to_first_token_seconds"
_WHOLE = "vllm:e2e_request_latency_seconds"
_PREFILL = "vllm:request_prefill_time_seconds"

_JOB_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000)
_STEP_S = (0.0001, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TOKEN_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5)
_TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
_RATIO = (0.1, 0.25, 0.5, 0.67, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0, 10.0)
_ERROR_MEMORY = 0.05
"""Weight of the newest step in the running mean of prediction errors: about the last 20 steps."""


class Metrics:
    """Count events. `registry` is what a scrape writes out.

    Args:
        tenants: also label jobs and dollars by tenant (the first 200); off by default, since
            names of tenants then leave the server with every scrape.
    """

    def __init__(self, *, tenants: bool = False) -> None:
        self.registry = CollectorRegistry()
        self._tenants = tenants
        self._workflow = Labels(MAX_WORKFLOWS)
        self._model = Labels(MAX_MODELS)
        self._device = Labels(MAX_DEVICES)
        self._tenant = Labels(MAX_TENANTS)
        self._errors: dict[str, float] = {}
        who = ("workflow", "tenant") if tenants else ("workflow",)
        self._submitted = self._counter("gangline_jobs_submitted", "Jobs accepted.", *who)
        self._ended = self._counter(
            "gangline_jobs_ended", "Jobs by how they ended.", *who, "status"
        )
        self._late = self._counter("gangline_jobs_late", "Jobs that missed their deadline.", *who)
        self._usd = self._counter("gangline_usd", "US dollars spent on steps.", *who, "device")
        self._job_s = self._histogram(
            "gangline_job_seconds", "From submit to the end.", _JOB_S, "workflow"
        )
        self._wait_s = self._histogram(
            "gangline_job_queue_seconds", "From submit to the start.", _JOB_S, "workflow"
        )
        self._job_ratio = self._histogram(
            "gangline_job_actual_to_predicted",
            "Seconds a job ran over the seconds predicted.",
            _RATIO,
            "workflow",
        )
        self._steps = self._counter("gangline_steps", "Attempts of steps.", "op", "status")
        self._step_s = self._histogram("gangline_step_seconds", "Steps.", _STEP_S, "op")
        self._step_ratio = self._histogram(
            "gangline_step_actual_to_predicted",
            "Seconds a step took over the seconds predicted.",
            _RATIO,
            "op",
        )
        self._error = Gauge(
            "gangline_calibration_error",
            "Running mean of |ln(actual / predicted)| of steps; 0 is perfect, 0.69 is twofold.",
            ["op"],
            registry=self.registry,
        )
        self._engine()
        self._requests = RequestMetrics(self.registry)

    def _engine(self) -> None:
        model = "model_name"
        self._prompt = self._counter("vllm:prompt_tokens", "Prompt tokens.", model)
        self._generated = self._counter("vllm:generation_tokens", "Generated tokens.", model)
        self._queried = self._counter(
            "vllm:prefix_cache_queries", "Prompt tokens looked up in the prefix cache.", model
        )
        self._hits = self._counter(
            "vllm:prefix_cache_hits", "Prompt tokens found in the prefix cache.", model
        )
        self._success = self._counter(
            "vllm:request_success", "Finished requests.", model, "finished_reason"
        )
        timed = {
            _FIRST: "From the request to its first token.",
            _WHOLE: "From the request to its last token.",
            _PREFILL: "Prefill, with the wait for it.",
            "vllm:request_decode_time_seconds": "From the first token to the last one.",
        }
        self._timed = {
            name: self._histogram(name, text, _STEP_S, model) for name, text in timed.items()
        }
        self._itl = self._histogram(
            "vllm:inter_token_latency_seconds", "Between two tokens.", _TOKEN_S, model
        )
        self._tpot = self._histogram(
            "vllm:request_time_per_output_token_seconds",
            "Mean time per token after the first, by request.",
            _TOKEN_S,
            model,
        )
        self._sizes = {
            name: self._histogram(name, text, _TOKENS, model)
            for name, text in {
                "vllm:request_prompt_tokens": "Prompt tokens of a request.",
                "vllm:request_generation_tokens": "Generated tokens of a request.",
            }.items()
        }

    def tell(self, event: Event, job: JobFacts) -> None:
        """Count one event."""
        match event.type:
            case "step.delta":
                self._tokens(event, job)
            case "step.completed" | "step.failed":
                self._step(event, job)
            case "job.queued":
                self._submitted.labels(*self._who(job)).inc()
            case "job.started" if not event.data.get("resumed"):
                wait_s = max(0.0, event.at_s - job.queued_s)
                self._wait_s.labels(self._workflow(job.workflow)).observe(wait_s)
            case _ if event.type in END_EVENTS:
                self._end(event, job)

    def request(self, access: Access) -> None:
        """Count one HTTP request."""
        self._requests.count(access)

    def close(self) -> None:
        """Nothing is left to send: scrapes come and take."""

    def _who(self, job: JobFacts) -> tuple[str, ...]:
        workflow = self._workflow(job.workflow)
        return (workflow, self._tenant(job.tenant)) if self._tenants else (workflow,)

    def _end(self, event: Event, job: JobFacts) -> None:
        who, workflow = self._who(job), self._workflow(job.workflow)
        self._ended.labels(*who, STATUS_AFTER[event.type]).inc()
        self._job_s.labels(workflow).observe(max(0.0, event.at_s - job.queued_s))
        if event.data.get("late") or event.type == "job.expired":
            self._late.labels(*who).inc()
        if event.type == "job.completed" and job.predicted_s:
            ratio = max(0.0, event.at_s - job.started_s) / job.predicted_s
            self._job_ratio.labels(workflow).observe(ratio)

    def _step(self, event: Event, job: JobFacts) -> None:
        data = event.data
        op = str(data.get("op", ""))
        op = op if op in OPS else OTHER
        status = "succeeded" if event.type == "step.completed" else "failed"
        self._steps.labels(op, status).inc()
        if usd := data.get("usd"):
            device = self._device(str(data.get("device", "")))
            self._usd.labels(*self._who(job), device).inc(max(0.0, usd))
        job.tokens_at_s.pop(event.step_id, None)
        if event.type == "step.failed" or "start_s" not in data:
            return
        seconds = max(0.0, data["end_s"] - data["start_s"])
        self._step_s.labels(op).observe(seconds)
        if predicted_s := data.get("predicted_s"):
            self._predicted(op, seconds / predicted_s)
        if op == "prefill":
            self._timed[_PREFILL].labels(self._model(job.model(event))).observe(seconds)
        elif op == "decode":
            self._request(event, job)

    def _predicted(self, op: str, ratio: float) -> None:
        self._step_ratio.labels(op).observe(ratio)
        if ratio > 0.0:
            error = abs(math.log(ratio))
            mean = self._errors.get(op, error)
            self._errors[op] = mean + _ERROR_MEMORY * (error - mean)
            self._error.labels(op).set(self._errors[op])

    def direct(self, outcome: DirectOutcome) -> None:
        """Count a model request that belonged to no job."""
        end, model = outcome.event, outcome.submit.model
        if not isinstance(end, Finished):
            return
        first_s = outcome.at_s if math.isnan(outcome.first_token_s) else outcome.first_token_s
        times = (outcome.submitted_s, first_s, outcome.at_s)
        tokens = (end.prompt_tokens, end.cached_tokens, len(end.token_ids))
        self._timed[_PREFILL].labels(self._model(model)).observe(max(0.0, first_s - times[0]))
        self._finished(model, tokens, end.finish_reason, times)

    def _request(self, event: Event, job: JobFacts) -> None:
        """Count a model request, which a decode step and the prefill before it make up."""
        data = event.data
        began = next((job.prefills[p] for p in data.get("parents", ()) if p in job.prefills), None)
        counts = ("prompt_tokens", "cached_tokens", "output_tokens")
        prompt, cached, output = (int(data.get(name) or 0) for name in counts)
        times = (began[0] if began else None, data["start_s"], data["end_s"])
        reason = str(data.get("finish_reason", ""))
        self._finished(job.model(event), (prompt, cached, output), reason, times)

    def _finished(
        self,
        model: str,
        tokens: tuple[int, int, int],
        reason: str,
        times: tuple[float | None, float, float],
    ) -> None:
        """Count a request that has ended.

        Args:
            tokens: of the prompt, of those from the cache, of the output.
            times: when the request was sent (None: not known), its first and its last token.
        """
        model, (prompt, cached, output) = self._model(model), tokens
        sent_s, first_s, last_s = times
        decode_s = max(0.0, last_s - first_s)
        self._prompt.labels(model).inc(prompt)
        self._generated.labels(model).inc(output)
        self._queried.labels(model).inc(prompt)
        self._hits.labels(model).inc(cached)
        self._sizes["vllm:request_prompt_tokens"].labels(model).observe(prompt)
        self._sizes["vllm:request_generation_tokens"].labels(model).observe(output)
        self._success.labels(model, _FINISHED.get(reason, OTHER)).inc()
        self._timed["vllm:request_decode_time_seconds"].labels(model).observe(decode_s)
        if output > 1:
            self._tpot.labels(model).observe(decode_s / (output - 1))
        if sent_s is not None:
            self._timed[_FIRST].labels(model).observe(max(0.0, first_s - sent_s))
            self._timed[_WHOLE].labels(model).observe(max(0.0, last_s - sent_s))

    def _tokens(self, event: Event, job: JobFacts) -> None:
        """Observe the time since the tokens before, shared between the tokens that came."""
        before_s = job.tokens_at_s.get(event.step_id)
        job.tokens_at_s[event.step_id] = event.at_s
        num_tokens = int(event.data.get("num_tokens") or 0)
        if before_s is None or num_tokens < 1:
            return
        each_s = max(0.0, event.at_s - before_s) / num_tokens
        itl = self._itl.labels(self._model(self._delta_model(event, job)))
        for _ in range(num_tokens):
            itl.observe(each_s)

    def _delta_model(self, event: Event, job: JobFacts) -> str:
        # A delta names its step only; a step's id ends with its stage's name.
        stage = job.stages.get(event.step_id.rpartition("/")[2], NO_ATTRIBUTES)
        return str(stage.get("model", ""))

    def _counter(self, name: str, text: str, *labels: str) -> Series[Counter]:
        return Series(Counter(name, text, labels, registry=self.registry))

    def _histogram(self, name: str, text: str, buckets: Any, *labels: str) -> Series[Histogram]:
        return Series(Histogram(name, text, labels, buckets=buckets, registry=self.registry))
