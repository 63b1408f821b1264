"""What moving a KV cache from prefill to decode devices takes, and whether a link is enough.

Equations 1 to 3 are those of section 5.2 of "Efficient and Scalable Agentic AI with Heterogeneous
Systems" (arXiv 2507.19635): peak egress KV / (TTFT x prefill devices), peak ingress
KV / (TBT x decode devices), KV size 2 x layers x d_model x kv heads / heads x tokens x batch x
bytes. Their peaks ask that a whole cache leaves within one TTFT and arrives within one token;
batch work needs only the amortised rate, so a check states both.
"""

from __future__ import annotations

from dataclasses import dataclass

from gangline.ir.errors import ConfigError

GBIT = 1e9 / 8.0
"""Bytes of a gigabit: links are sold by gigabits per second."""


@dataclass(frozen=True, slots=True)
class KvTransfer:
    """One pair of prefill and decode workers and the link between them.

    Attributes:
        kv_bytes: bytes of one batch's cache.
        transfer_s: seconds to move it over the link, alone.
        serial_second_token_s: wait for the second token where decoding starts after the transfer.
        second_token_s: the same where each layer decodes once its part of the cache is there.
        peak_egress_bytes_per_s: rate per prefill device that sends it within one TTFT.
        peak_ingress_bytes_per_s: rate per decode device that receives it within one token.
        amortised_egress_bytes_per_s: rate per prefill device at the stated request rate.
        amortised_ingress_bytes_per_s: rate per decode device at the stated request rate.
        link_bytes_per_s: rate of one device's link, per direction.
    """

    kv_bytes: float
    transfer_s: float
    serial_second_token_s: float
    second_token_s: float
    peak_egress_bytes_per_s: float
    peak_ingress_bytes_per_s: float
    amortised_egress_bytes_per_s: float
    amortised_ingress_bytes_per_s: float
    link_bytes_per_s: float

    @property
    def meets_peak(self) -> bool:
        """Whether the link carries both peaks, as equations 1 and 2 taken literally ask."""
        peak = max(self.peak_egress_bytes_per_s, self.peak_ingress_bytes_per_s)
        return self.link_bytes_per_s >= peak

    @property
    def meets_egress(self) -> bool:
        """Whether the link carries the egress peak: prefill then never waits for its link."""
        return self.link_bytes_per_s >= self.peak_egress_bytes_per_s

    @property
    def meets_amortised(self) -> bool:
        """Whether the link carries the traffic at all; if not, no fleet of this pair keeps up."""
        amortised = max(self.amortised_egress_bytes_per_s, self.amortised_ingress_bytes_per_s)
        return self.link_bytes_per_s >= amortised


def kv_bytes(
    layers: int,
    hidden: int,
    heads: int,
    kv_heads: int,
    tokens: float,
    batch: float = 1.0,
    bytes_per_element: float = 2.0,
) -> float:
    """Bytes of a KV cache by equation 3; `hidden / heads` must be the width of a head.

    `ModelShape.kv_bytes` counts the caches the equation does not: latents, windows, linear states.
    """
    _positive(layers=layers, hidden=hidden, heads=heads, kv_heads=kv_heads)
    _positive(tokens=tokens, batch=batch, bytes_per_element=bytes_per_element)
    return 2.0 * layers * hidden * (kv_heads / heads) * tokens * batch * bytes_per_element


def peak_egress_bytes_per_s(cache_bytes: float, ttft_s: float, prefill_devices: int = 1) -> float:
    """Rate per prefill device by equation 1: the whole cache leaves within one TTFT."""
    _positive(cache_bytes=cache_bytes, ttft_s=ttft_s, prefill_devices=prefill_devices)
    return cache_bytes / (ttft_s * prefill_devices)


def peak_ingress_bytes_per_s(cache_bytes: float, tbt_s: float, decode_devices: int = 1) -> float:
    """Rate per decode device by equation 2: the whole cache arrives between two tokens."""
    _positive(cache_bytes=cache_bytes, tbt_s=tbt_s, decode_devices=decode_devices)
    return cache_bytes / (tbt_s * decode_devices)


def amortised_bytes_per_s(cache_bytes: float, batches_per_s: float, devices: int = 1) -> float:
    """Rate per device that moves `batches_per_s` caches in the long run."""
    _positive(cache_bytes=cache_bytes, devices=devices)
    if batches_per_s < 0.0:
        raise _bad("batches_per_s", batches_per_s)
    return cache_bytes * batches_per_s / devices


def second_token_s(transfer_s: float, tbt_s: float, layers: int) -> float:
    """Seconds from first to second token where layers decode as their caches arrive.

    Layer by layer, transfer and decoding are two stages of a pipeline of `layers` equal items:
    the slower one in full, and one item of the other.
    """
    _positive(layers=layers, tbt_s=tbt_s)
    longer, shorter = max(transfer_s, tbt_s), min(transfer_s, tbt_s)
    return longer + shorter / layers


def check_link(
    cache_bytes: float,
    *,
    layers: int,
    ttft_s: float,
    tbt_s: float,
    link_bytes_per_s: float,
    prefill_devices: int = 1,
    decode_devices: int = 1,
    batches_per_s: float = 0.0,
) -> KvTransfer:
    """Check the link of a pair of workers for one batch's cache of `cache_bytes`.

    Every device has one link of `link_bytes_per_s` per direction; the side with fewer devices
    limits a transfer. Raises ConfigError for sizes that are not positive.
    """
    _positive(link_bytes_per_s=link_bytes_per_s)
    narrow = link_bytes_per_s * min(prefill_devices, decode_devices)
    egress = peak_egress_bytes_per_s(cache_bytes, ttft_s, prefill_devices)
    ingress = peak_ingress_bytes_per_s(cache_bytes, tbt_s, decode_devices)
    moved_s = cache_bytes / narrow
    return KvTransfer(
        kv_bytes=cache_bytes,
        transfer_s=moved_s,
        serial_second_token_s=moved_s + tbt_s,
        second_token_s=second_token_s(moved_s, tbt_s, layers),
        peak_egress_bytes_per_s=egress,
        peak_ingress_bytes_per_s=ingress,
        amortised_egress_bytes_per_s=amortised_bytes_per_s(
            cache_bytes, batches_per_s, prefill_devices
        ),
        amortised_ingress_bytes_per_s=amortised_bytes_per_s(
            cache_bytes, batches_per_s, decode_devices
        ),
        link_bytes_per_s=link_bytes_per_s,
    )


def _positive(**sizes: float) -> None:
    for name, value in sizes.items():
        if not 0.0 < value < float("inf"):
            raise _bad(name, value)


def _bad(name: str, value: float) -> ConfigError:
    return ConfigError(
        f"{name} = {value!r} is not a size a transfer can have",
        where=name,
        next_step=f"Give {name} as a finite number greater than 0.",
    )
