"""What is so at the moment of a scrape: queues, engines, the store. Read then, kept nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


@dataclass(frozen=True, slots=True)
class EngineState:
    """One model on one device; `kv_use` is the part of its KV blocks that is taken, 0 to 1."""

    device: str
    model: str
    running: float = 0.0
    waiting: float = 0.0
    kv_use: float = 0.0


@dataclass(frozen=True, slots=True)
class LiveState:
    """The server as it is; None and empty is what is not known, and is not shown.

    Attributes:
        jobs: jobs in the store, by status.
        gauges: further figures by name (without `gangline_`).
        counters: the same, of what only grows; `_total` is added to their names.
        labelled: figures of one label: name -> (label, figures by its value).
    """

    engines: Sequence[EngineState] = ()
    jobs: Mapping[str, float] = field(default_factory=dict)
    gauges: Mapping[str, float | None] = field(default_factory=dict)
    counters: Mapping[str, float | None] = field(default_factory=dict)
    labelled: Mapping[str, tuple[str, Mapping[str, float]]] = field(default_factory=dict)


_TEXTS = {
    "running_jobs": "Jobs that run in this process.",
    "queued_jobs": "Jobs that wait for a slot in this process.",
    "store_queue_depth": "Writes that wait for the store.",
    "store_commits": "Transactions the store has committed.",
    "store_up": "1 while the store can be written.",
    "telemetry_dropped_events": "Events that telemetry had no time for.",
    "webhook_deliveries": "Attempts to deliver webhooks, by what came of them.",
}


class LiveCollector:
    """Write a `LiveState` as metrics; `state` is replaced before every scrape."""

    def __init__(self) -> None:
        self.state = LiveState()

    def describe(self) -> Iterable[Metric]:
        """Name nothing in advance: what is there differs from server to server."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield what is known."""
        state = self.state
        yield from _engines(state.engines)
        if state.jobs:
            jobs = GaugeMetricFamily("gangline_jobs", "Jobs in the store.", labels=["status"])
            for status, count in sorted(state.jobs.items()):
                jobs.add_metric([status], count)
            yield jobs
        for name, value in state.gauges.items():
            if value is not None:
                yield GaugeMetricFamily(f"gangline_{name}", _text(name), value)
        for name, value in state.counters.items():
            if value is not None:
                yield CounterMetricFamily(f"gangline_{name}", _text(name), value)
        for name, (label, values) in state.labelled.items():
            family = CounterMetricFamily(f"gangline_{name}", _text(name), labels=[label])
            for labelled, count in sorted(values.items()):
                family.add_metric([labelled], count)
            yield family


def _text(name: str) -> str:
    return _TEXTS.get(name, name.replace("_", " ").capitalize() + ".")


def _engines(engines: Sequence[EngineState]) -> Iterator[Metric]:
    rows = {
        "vllm:num_requests_running": ("Requests in the engine's batch.", "running"),
        "vllm:num_requests_waiting": ("Requests that wait for the engine.", "waiting"),
        "vllm:kv_cache_usage_perc": ("KV blocks in use; 1 is all of them.", "kv_use"),
        # The name of vLLM's older releases, which many dashboards still ask for.
        "vllm:gpu_cache_usage_perc": ("KV blocks in use; 1 is all of them.", "kv_use"),
    }
    if not engines:
        return
    for name, (text, attribute) in rows.items():
        family = GaugeMetricFamily(name, text, labels=["model_name", "device"])
        for engine in engines:
            family.add_metric([engine.model, engine.device], getattr(engine, attribute))
        yield family
