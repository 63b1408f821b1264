"""Token counts and log probabilities as OpenAI writes them, from what engines report."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from gangline.ir.specs.request import Finished, Likely, TokenLogprob


def usage(outputs: Sequence[Finished], num_choices: int) -> dict[str, Any]:
    """Count tokens; a prompt counts once however many choices it has.

    Args:
        outputs: `num_choices` of them per prompt, prompt after prompt.
    """
    prompts = [outputs[at : at + num_choices] for at in range(0, len(outputs), num_choices)]
    num_prompt = sum(choices[0].prompt_tokens for choices in prompts)
    # The choice that came first computed the prompt; the others found it in the cache.
    num_cached = sum(min(choice.cached_tokens for choice in choices) for choices in prompts)
    num_output = sum(len(output.token_ids) for output in outputs)
    return {
        "prompt_tokens": num_prompt,
        "completion_tokens": num_output,
        "total_tokens": num_prompt + num_output,
        "prompt_tokens_details": {"cached_tokens": num_cached},
    }


def chat_logprobs(entries: Sequence[TokenLogprob]) -> dict[str, Any]:
    """Give the `logprobs` of a chat choice."""
    content = [
        {**_token(entry), "top_logprobs": [_token(likely) for likely in entry.top]}
        for entry in entries
    ]
    return {"content": content, "refusal": None}


def completion_logprobs(entries: Sequence[TokenLogprob], offset: int = 0) -> dict[str, Any]:
    """Give the `logprobs` of a completion choice whose text begins at `offset`."""
    tokens = [_text(entry) for entry in entries]
    offsets = [*accumulate(map(len, tokens), initial=offset)][:-1]
    return {
        "tokens": tokens,
        "token_logprobs": [entry.logprob for entry in entries],
        "top_logprobs": [
            {_text(likely): likely.logprob for likely in entry.top} for entry in entries
        ],
        "text_offset": offsets,
    }


def _token(entry: TokenLogprob | Likely) -> dict[str, Any]:
    return {"token": _text(entry), "logprob": entry.logprob, "bytes": list(entry.token)}


def _text(entry: TokenLogprob | Likely) -> str:
    return entry.token.decode("utf-8", "replace")
