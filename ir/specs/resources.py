"""What one execution of a stage needs: the row that `annotate-resources` writes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resources:
    """Means of one execution of a stage.

    Attributes:
        flops: floating point operations.
        bytes: bytes that pass between arithmetic and memory: weights once per engine step, and
            the KV cache that is read and written.
        kv_bytes: bytes of KV cache it leaves behind.
        network_bytes: bytes it sends over a link.
        cpu_seconds: seconds of one CPU core.
        input_tokens, output_tokens: tokens read and written.
        visits: expected executions in one job; None where control stages around it say.
        result_bytes: bytes of its result: what a transfer of it moves.
    """

    flops: float = 0.0
    bytes: float = 0.0
    kv_bytes: float = 0.0
    network_bytes: float = 0.0
    cpu_seconds: float = 0.0
    input_tokens: float = 0.0
    output_tokens: float = 0.0
    visits: float | None = None
    result_bytes: float = 0.0
