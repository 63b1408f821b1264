"""What events say of a step: where it ran, when, what it cost, what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gangline.ir.specs.memory import vector_to_json
from gangline.ir.specs.request import FirstToken

from .commands import Call, Embed, Encode, Prefill, Step, SubmitRequest
from .outcome import RequestOutcome, decode_data, embed_data, prefill_data
from .prefixes import Wanted
from .pricing import Pricing
from .shared_prefills import SharedPrefills

Route = Callable[[Step, Wanted | None], str]

_ON_CORES = frozenset({"tool", "tokenize", "lookup", "store", "observe"})


class StepData:
    """Makes the data of one job's step events.

    Args:
        route: see `JobRun`.

    Attributes:
        origin_s: when the job started; the steps' times are told from there.
    """

    def __init__(self, pricing: Pricing, route: Route) -> None:
        self.origin_s = 0.0
        self._pricing = pricing
        self._route = route
        self._devices: dict[str, str] = {}
        self._issued_s: dict[str, float] = {}
        self._shared = SharedPrefills()

    def clear(self) -> None:
        """Forget what was in flight: it is issued anew."""
        self._issued_s.clear()
        self._shared.clear()

    def forget(self, step_id: str) -> None:
        """Take note that a step has ended."""
        self._issued_s.pop(step_id, None)
        self._devices.pop(step_id, None)

    def route(self, step: Step, want: Wanted | None = None) -> str:
        """Choose the device of a step that begins; `want` is what its request looks for."""
        device = self._devices[step.id] = self._route(step, want)
        return device

    def place(self, step: Step, device: str) -> None:
        """Take note of where a step runs that goes with another."""
        self._devices[step.id] = device

    def device(self, step: Step) -> str:
        """Give the device id the step was routed to."""
        return self._devices.get(step.id, step.device)

    def issue(self, step: Step, now: float) -> None:
        """Take note of when a step was issued."""
        self._issued_s[step.id] = now

    def issued_s(self, step: Step, now: float) -> float:
        """Give when a step was issued; `now` for one that was not."""
        return self._issued_s.get(step.id, now)

    def started(self, step: Step, device: str | None = None) -> dict[str, Any]:
        """Say what is known of a step before anything is measured."""
        data: dict[str, Any] = {
            "op": step.stage.op,
            "stage": step.stage.attributes.get("of", step.stage.name),
            "device": self.device(step) if device is None else device,
            "parents": list(step.parents),
            "attempt": step.attempt,
        }
        if step.predicted_s is not None:
            data.update(predicted_s=step.predicted_s, predicted_usd=step.predicted_usd)
        return data

    def ended(self, step: Step, started_s: float, ended_s: float) -> dict[str, Any]:
        """Say also when a step ran."""
        data = self.started(step)
        data.update(start_s=started_s - self.origin_s, end_s=ended_s - self.origin_s)
        return data

    def called(self, command: Call, value: Any, started_s: float, ended_s: float) -> dict[str, Any]:
        """Tell the result of a tool, of a tokenizer or of memory."""
        data = self.ended(command.step, started_s, ended_s)
        data["usd"] = self._pricing.core_usd(data["device"], ended_s - started_s)
        if isinstance(command, Encode):
            data["prompt_tokens"] = len(value)
        data["value"] = value
        return data

    def failed(self, step: Step, error: Mapping[str, Any], now: float) -> dict[str, Any]:
        """Tell a failure, with what it cost where cores were busy with it."""
        started_s = self.issued_s(step, now)
        data = self.ended(step, started_s, now)
        if step.stage.op in _ON_CORES:
            data["usd"] = self._pricing.core_usd(data["device"], now - started_s)
        data["error"] = {**error, "where": error.get("where") or step.where}
        return data

    def embedded(self, command: Embed, outcome: RequestOutcome) -> dict[str, Any]:
        """Tell the result of an embedding."""
        data = self.ended(command.step, outcome.submitted_s, outcome.at_s)
        data.update(embed_data(data["device"], outcome, self._pricing))
        data["value"] = vector_to_json(command.model, outcome.finished.embedding)
        return data

    def begun(self, command: Prefill, outcome: RequestOutcome) -> dict[str, Any]:
        """Tell the end of a prefill that no decode follows."""
        data = self.ended(command.step, outcome.submitted_s, outcome.at_s)
        data.update(prefill_data(data["device"], outcome, self._pricing))
        # The first token comes with the prompt: what an engine counts as its decode is ours too.
        decode_s = outcome.finished.decode_busy_s
        data["busy_s"] += decode_s
        data["usd"] += self._pricing.busy_usd(data["device"], decode_s)
        return data

    def prefill_ended(self, command: SubmitRequest, event: FirstToken, now: float) -> None:
        """Take note of what a request took for its prompt, which no event has recorded."""
        self._shared.begin(command, event, self.issued_s(command.step, now), now)

    def prefilled(self, command: SubmitRequest, outcome: RequestOutcome) -> dict[str, Any]:
        """Tell the prefill of a request that ended, as the request had it that computed it."""
        return self._prefill(command, self._shared.of(command, outcome))

    def decoded(self, command: SubmitRequest, outcome: RequestOutcome) -> dict[str, Any]:
        """Tell the decode of a request that ended; its prefill is recorded already."""
        data = self.ended(command.step, outcome.first_s(outcome.submitted_s), outcome.at_s)
        data.update(decode_data(data["device"], outcome, self._pricing))
        if not self._shared.is_of(command):
            # Another's prefill is recorded; what ours computed beside it is charged here.
            again = self._prefill(command, outcome)
            data["usd"] += again["usd"]
            data["busy_s"] += again["busy_s"]
        return data

    def _prefill(self, command: SubmitRequest, outcome: RequestOutcome) -> dict[str, Any]:
        data = self.ended(command.prefill, outcome.submitted_s, outcome.first_s(outcome.at_s))
        data.update(prefill_data(data["device"], outcome, self._pricing))
        return data
