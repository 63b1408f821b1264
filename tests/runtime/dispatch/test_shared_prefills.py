"""What is recorded of a prefill that several decodes share."""

from __future__ import annotations

from gangline.ir.program import Stage
from gangline.ir.specs.request import Finished, FirstToken, SamplingParams
from gangline.runtime.dispatch.commands import Step, SubmitRequest
from gangline.runtime.dispatch.outcome import RequestOutcome
from gangline.runtime.dispatch.shared_prefills import SharedPrefills


def request(name: str) -> SubmitRequest:
    decode, prefill = Stage(1, "decode", f"{name}.decode"), Stage(0, "prefill", "draft.prefill")
    steps = Step(name, decode, "cpu"), Step("draft.prefill", prefill, "cpu")
    return SubmitRequest(*steps, name, "m", (1,) * 64, SamplingParams(4), 9.0, 0.0)


def outcome(name: str, cached: int, busy_s: float) -> RequestOutcome:
    end = Finished(name, 5.0, (1,), "x", "stop", 64, cached, prefill_busy_s=busy_s)
    return RequestOutcome(end, 1.0, 5.0, 3.0)


def test_the_record_is_of_the_request_that_computed_it_though_another_ends_first() -> None:
    shared = SharedPrefills()
    shared.begin(request("b"), FirstToken("b", 2.0, 64, 48, 0.1), 1.0, 2.0)
    shared.begin(request("a"), FirstToken("a", 2.0, 64, 0, 0.9), 1.0, 2.0)
    found = shared.of(request("b"), outcome("b", 48, 0.1)).finished
    assert (found.cached_tokens, found.prefill_busy_s) == (0, 0.9)
    assert shared.is_of(request("a")) and not shared.is_of(request("b"))


def test_a_request_alone_is_recorded_as_it_ended() -> None:
    shared, ended = SharedPrefills(), outcome("a", 0, 0.9)
    shared.begin(request("a"), FirstToken("a", 2.0, 64, 0), 1.0, 2.0)
    assert shared.of(request("a"), ended) is ended and shared.is_of(request("a"))


def test_after_a_crash_what_is_computed_again_belongs_to_the_decode() -> None:
    assert not SharedPrefills().is_of(request("a"))
