"""What each stage of a program needs on average: the rows that `annotate-resources` writes."""

from __future__ import annotations

from collections.abc import Callable

from gangline.ir.program import STEP_OPS, Program, Stage
from gangline.ir.specs.model import ModelSpec
from gangline.ir.specs.resources import Resources

from .costs.shape import ModelShape
from .engine_times import model_spec
from .model_work import model_work
from .profile import ENGINE_OPS, Profile, StageProfile
from .stage_cost import engine_op
from .workload import CHARS_PER_TOKEN, DEFAULT_FIELD_TOKENS

TOKEN_BYTES = 4.0
"""Tokens, and the elements of an embedding, travel as 32-bit numbers."""

Models = Callable[[str], ModelSpec | ModelShape]
"""Find a model by name."""


def resources(program: Program, profile: Profile, models: Models) -> dict[str, Resources]:
    """Give the row of every step stage, by name.

    Args:
        profile: complete (`workload.complete`): a row for every step stage.
    """
    return {
        stage.name: stage_resources(stage, profile.stages[stage.name], models)
        for stage in program.walk()
        if stage.op in STEP_OPS
    }


def stage_resources(stage: Stage, work: StageProfile, models: Models) -> Resources:
    """Give the row of one stage: a model's formulas, or the seconds a host takes."""
    if stage.op in ENGINE_OPS:
        return _computed(stage, work, models(str(stage.attributes["model"])))
    prompt, output = work.prompt_tokens.mean, work.output_tokens.mean
    result = {
        "tokenize": TOKEN_BYTES * prompt,
        "detokenize": CHARS_PER_TOKEN * output,
    }.get(stage.op, CHARS_PER_TOKEN * DEFAULT_FIELD_TOKENS)
    return Resources(
        cpu_seconds=work.seconds.mean if work.seconds else 0.0,
        visits=work.visits,
        result_bytes=result,
    )


def _computed(stage: Stage, work: StageProfile, model: ModelSpec | ModelShape) -> Resources:
    costs = model_work(model)
    prompt, output = work.prompt_tokens.mean, work.output_tokens.mean
    if engine_op(stage) == "prefill":
        flop, moved, _ = costs.prefill_work(prompt, work.cached_tokens.mean)
        # An embedding keeps no cache; it gives a vector.
        kept = prompt * costs.kv_bytes_per_token if stage.op == "prefill" else 0.0
        vector = TOKEN_BYTES * (model_spec(model).hidden_size if stage.op == "embed" else 0)
        return Resources(
            flops=float(flop),
            bytes=float(moved),
            kv_bytes=kept,
            input_tokens=prompt,
            visits=work.visits,
            result_bytes=kept or vector,
        )
    flop, moved = costs.decode_work(prompt, output)
    return Resources(
        flops=flop,
        bytes=moved,
        kv_bytes=(prompt + output) * costs.kv_bytes_per_token,
        input_tokens=prompt,
        output_tokens=output,
        visits=work.visits,
        result_bytes=TOKEN_BYTES * output,
    )
