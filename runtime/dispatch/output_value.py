"""What a generated text means: the value of a `detokenize` step."""

from __future__ import annotations

from typing import Any

from gangline.ir.errors import StepError
from gangline.runtime.plain_json import parse

from .commands import ParseOutput


def output_value(command: ParseOutput) -> Any:
    """Give the text, or what it says as JSON; StepError if it is not the JSON it should be."""
    if command.format != "json":
        return command.text
    try:
        return parse(command.text)
    except ValueError as error:
        raise StepError(
            f"The model's answer is not JSON: {error}",
            where=command.step.where,
            next_step="Allow more tokens (max_tokens), or give the llm a grammar.",
        ) from None
