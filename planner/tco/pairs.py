"""KV-cache traffic between a prefill and a decode pool: peak and amortised bandwidth.

Equations 1 to 3 of arXiv 2507.19635: the cache of a batch leaves the prefill devices within one
TTFT and reaches the decode devices within one token time,

    KV = 2 x layers x kv_heads x head_dim x input tokens x batch x bytes per element
    egress = KV / (TTFT x prefill devices)      ingress = KV / (TPOT x decode devices)

Taken literally, the ingress of one request must not take longer than one token: a peak that no
engine needs, since the transfer overlaps with the decoding of others. The amortised ingress is
what decode devices receive on average: one prompt's cache per finished request and slot.
"""

from __future__ import annotations

from dataclasses import dataclass

from gangline.planner.costs.shape import ModelShape

GBIT = 1e9 / 8.0


@dataclass(frozen=True, slots=True)
class KvTransfer:
    """Traffic of one pair; rates per device, in bytes per second.

    Attributes:
        kv_bytes: cache of one request's prompt.
        egress_peak, ingress_peak: by the equations above (ingress for one request).
        ingress_mean: what a decode device receives on average at full load.
    """

    kv_bytes: float
    egress_peak: float
    ingress_peak: float
    ingress_mean: float

    def fits(self, link_bytes_per_s: float) -> bool:
        """Tell whether a link per device carries the egress peak and the mean ingress."""
        return max(self.egress_peak, self.ingress_mean) <= link_bytes_per_s


def kv_transfer(
    shape: ModelShape,
    input_tokens: float,
    output_tokens: float,
    *,
    ttft_s: float,
    tpot_s: float,
    prefill_devices: int,
    decode_devices: int,
    prefill_batch: float = 1.0,
    decode_batch: float = 1.0,
    kv_dtype: str = "fp16",
) -> KvTransfer:
    """Compute the traffic between a prefill replica and a decode replica, each at full load.

    Args:
        ttft_s: seconds of one prefill iteration; `prefill_batch` prompts are done in it.
        tpot_s: seconds of one decode iteration; `decode_batch` requests share it.
    """
    kv = shape.kv_bytes(input_tokens, kv_dtype)
    served_per_s = decode_batch / (output_tokens * tpot_s)
    return KvTransfer(
        kv_bytes=kv,
        egress_peak=kv * prefill_batch / (ttft_s * prefill_devices),
        ingress_peak=kv / (tpot_s * decode_devices),
        ingress_mean=kv * served_per_s / decode_devices,
    )
