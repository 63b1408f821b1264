"""From request options to sampling parameters; what the engine cannot do is refused."""

from __future__ import annotations

import os

from gangline.ir.specs.request import Grammar, SamplingParams

from .chat_request import Sampled
from .errors import refused

DEFAULT_TEMPERATURE = 1.0
"""As OpenAI and vLLM."""


def check_supported(request: Sampled) -> None:
    """Refuse options that would change the output and that no engine here knows."""
    if request.logit_bias:
        raise refused("logit_bias is not supported", "logit_bias", "unsupported_parameter")
    for name in ("presence_penalty", "frequency_penalty"):
        if getattr(request, name):
            raise refused(f"{name} is not supported", name, "unsupported_parameter")
    if request.stream_options is not None and not request.stream:
        raise refused("stream_options is only allowed with stream", "stream_options")


def sampling_params(
    request: Sampled,
    max_tokens: int,
    *,
    seed: int,
    grammar: Grammar | None = None,
    logprobs: int | None = None,
) -> SamplingParams:
    """Give the parameters of one output."""
    temperature = DEFAULT_TEMPERATURE if request.temperature is None else request.temperature
    stop = [request.stop] if isinstance(request.stop, str) else request.stop or []
    return SamplingParams(
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        seed=seed,
        stop=tuple(stop),
        grammar=grammar,
        ignore_eos=bool(request.ignore_eos),
        logprobs=logprobs,
    )


def first_seed(request: Sampled) -> int:
    """Give the seed of the first output; the n-th has that of the first plus n."""
    return int.from_bytes(os.urandom(7), "big") if request.seed is None else request.seed
