"""Time to first token and time per token of engines under a fixed number of concurrent requests.

Each user sends the next request when the last one is answered, so concurrency C, throughput X and
the two times hold X = C / (ttft + osl x tpot). The formulas take arrays of one shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


PACKED_TOKENS = 8192.0
"""Prompt tokens an iteration holds at most (max_num_batched_tokens of vLLM, max_num_tokens of
TensorRT-LLM); a longer prompt has one of its own."""


@dataclass(frozen=True, slots=True)
class LoopConstants:
    """Fitted constants of requests in a closed loop (`constants/deployment.json`).

    Attributes:
        interference: share of another prompt's time that a decoding request waits for.
        lockstep: power of the number of attention groups by which their prompts add up: groups
            that share experts step together, so each waits for the prompts of all (0: for its
            own only, 1: for all).
        front_s: seconds before a prompt reaches the engine and after its first token left it.
        prompt_layer_s: seconds per layer of a pass with a prompt, which runs without a graph.
        prompt_moe_layer_s: the same, more per mixture layer.
        prompt_linear_layer_s: the same, more per layer with linear attention.
        prompt_latent_layer_s: the same, more per layer with latent attention.
        prompt_share: share of those seconds in which decoding requests wait too.
        burst: mean queue of a prompt as a share of all other requests' prompts: users start
            together and their requests stay bunched.
        burst_lockstep: as `lockstep`, for that queue.
        send_steps: iterations between a prompt's end and its first token's arrival: those under
            way are waited for, and engines take requests in and send tokens out in blocks.
        handover_s: seconds more where another worker decodes (routing, cache transfer set up).
        handover_burst: as `burst`, at workers that only prefill.
    """

    interference: float = 1.0
    lockstep: float = 0.3
    front_s: float = 0.03
    prompt_layer_s: float = 3e-4
    prompt_moe_layer_s: float = 3e-4
    prompt_linear_layer_s: float = 3e-4
    prompt_latent_layer_s: float = 3e-4
    prompt_share: float = 0.5
    burst: float = 0.1
    burst_lockstep: float = 0.5
    send_steps: float = 3.5
    handover_s: float = 0.2
    handover_burst: float = 0.1


@dataclass(frozen=True, slots=True)
class StepTimes:
    """What the engine steps of a deployment take, in seconds, and how many requests share them.

    Attributes:
        decode_s: one decode iteration at the mean number of running requests.
        prompt_s: one prompt alone on its workers, without the seconds per layer of a prompt.
        added_s: what a prompt adds to an iteration that decodes as well.
        packed_s: a prompt's share of an iteration full of prompts.
        packed: prompts in such an iteration.
        fixed_s: seconds per layer of a prompt, summed over its layers.
        running: requests that fit beside each other in one attention group.
        waiting: requests of one attention group, running or not.
        groups: attention groups that step together.
        output: tokens of an answer.
    """

    decode_s: Array
    prompt_s: Array
    added_s: Array
    packed_s: Array
    packed: Array
    fixed_s: Array
    running: Array
    waiting: Array
    groups: Array
    output: Array


def aggregated(times: StepTimes, fitted: LoopConstants) -> tuple[Array, Array]:
    """Mean (ttft, tpot) in seconds where the same workers prefill and decode.

    While a request decodes, every other request of its group is answered once on average and so
    starts one prompt: `running - 1` prompts delay its `output` steps. What does not fit into
    memory waits until a running request ends.
    """
    added = times.added_s + fitted.prompt_share * times.fixed_s
    others = _others(times, fitted.lockstep)
    tpot = times.decode_s + fitted.interference * others * added / times.output
    queue = fitted.burst * _others(times, fitted.burst_lockstep) * added
    own = times.prompt_s + times.fixed_s + times.decode_s
    served = fitted.front_s + own + queue + fitted.send_steps * tpot
    rounds = np.maximum(times.waiting / times.running - 1.0, 0.0)
    return np.asarray(served + rounds * (served + times.output * tpot)), np.asarray(tpot)


def _others(times: StepTimes, power: float) -> Array:
    """Other requests whose prompts a request meets."""
    return np.maximum(times.running * times.groups**power - 1.0, 0.0)


def disaggregated(
    times: StepTimes, servers: Array, transfer_s: Array, concurrency: Array, fitted: LoopConstants
) -> tuple[Array, Array]:
    """Mean (ttft, tpot) in seconds where `servers` groups only prefill and others only decode.

    Prompts of all users queue for the prefill groups, which pack them. Where these are the bottleneck, users
    spend there what the loop leaves: C x prompt / servers - output x tpot.
    """
    tpot = times.decode_s
    each = (times.packed_s + times.fixed_s / times.packed) / servers
    queue = fitted.handover_burst * np.maximum(concurrency - servers, 0.0) * each
    sent = (1.0 + fitted.send_steps) * times.decode_s
    fixed = fitted.front_s + fitted.handover_s + transfer_s + sent
    served = fixed + times.prompt_s + times.fixed_s + queue
    rounds = np.maximum(times.waiting / times.running - 1.0, 0.0)
    blocked = concurrency * each - times.output * tpot
    served = np.maximum(served + rounds * (served + times.output * tpot), blocked)
    return np.asarray(served), np.asarray(tpot)
