"""How an engine request went, with the times its steps are measured by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from gangline.ir.specs.request import Finished, RequestFailed, Submit

from .pricing import Pricing


@dataclass(frozen=True, slots=True)
class RequestOutcome:
    """A finished request. Times are on the runtime's clock; `first_token_s` may be NaN."""

    finished: Finished
    submitted_s: float
    at_s: float
    first_token_s: float = math.nan

    def first_s(self, otherwise_s: float) -> float:
        """Give when the first token came, or another time where the engine did not say."""
        return otherwise_s if math.isnan(self.first_token_s) else self.first_token_s


def prefill_data(device: str, outcome: RequestOutcome, pricing: Pricing) -> dict[str, Any]:
    """Give what the record of a prefill says of its request, besides when it was."""
    end = outcome.finished
    usd = pricing.busy_usd(device, end.prefill_busy_s)
    return {
        "usd": usd + pricing.prompt_usd(device, end.prompt_tokens),
        "prompt_tokens": end.prompt_tokens,
        "cached_tokens": end.cached_tokens,
        "busy_s": end.prefill_busy_s,
    }


def decode_data(device: str, outcome: RequestOutcome, pricing: Pricing) -> dict[str, Any]:
    """Give what the record of a decode says of its request, besides when it was."""
    end = outcome.finished
    usd = pricing.busy_usd(device, end.decode_busy_s)
    return {
        "usd": usd + pricing.output_usd(device, len(end.token_ids)),
        "prompt_tokens": end.prompt_tokens,
        "cached_tokens": end.cached_tokens,
        "output_tokens": len(end.token_ids),
        "kernels": dict(end.kernels),
        "busy_s": end.decode_busy_s,
        "finish_reason": end.finish_reason,
        "value": {"text": end.text, "token_ids": list(end.token_ids)},
    }


def embed_data(device: str, outcome: RequestOutcome, pricing: Pricing) -> dict[str, Any]:
    """Give what the record of an embedding says of its request, besides when it was."""
    end = outcome.finished
    busy_s = end.prefill_busy_s + end.decode_busy_s
    return {
        "usd": pricing.busy_usd(device, busy_s) + pricing.prompt_usd(device, end.prompt_tokens),
        "prompt_tokens": end.prompt_tokens,
        "cached_tokens": end.cached_tokens,
        "busy_s": busy_s,
        "kernels": dict(end.kernels),
    }


@dataclass(frozen=True, slots=True)
class DirectOutcome:
    """A request that belonged to no job and has ended, for metrics. Times as above."""

    submit: Submit
    device: str
    event: Finished | RequestFailed
    submitted_s: float
    at_s: float
    first_token_s: float = math.nan
    usd: float = 0.0
