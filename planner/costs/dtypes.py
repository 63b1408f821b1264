"""Number formats: what a weight or KV element takes, and which peak its products run at."""

from __future__ import annotations

from dataclasses import dataclass

from gangline.ir.specs.device import DeviceSpec


@dataclass(frozen=True, slots=True)
class Format:
    """One number format of a GEMM.

    Attributes:
        weight_bytes: bytes of one weight, scales counted.
        activation_bytes: bytes of one activation as the kernel reads it.
        rate: key of `DeviceSpec.flops` whose peak the products run at.
        family: kernels whose fitted constants the format shares.
        quantises: the activations are turned into the format before the product.
    """

    weight_bytes: float
    activation_bytes: float
    rate: str
    family: str = "bf16"
    quantises: bool = False


FORMATS = {
    "fp32": Format(4.0, 4.0, "fp32"),
    "bf16": Format(2.0, 2.0, "bf16"),
    "fp16": Format(2.0, 2.0, "fp16"),
    "fp8": Format(1.0, 1.0, "fp8", "fp8", True),
    # One float32 scale per 128 x 128 weights and per 128 activations.
    "fp8_block": Format(1.0 + 4 / 16384, 1.0 + 4 / 128, "fp8", "fp8_block", True),
    # One 8-bit scale per 16 values.
    "nvfp4": Format(0.5 + 1 / 16, 0.5 + 1 / 16, "fp4", "nvfp4", True),
    "int8": Format(1.0, 1.0, "int8", "fp8", True),
    # Weight-only quantisation: products run in 16 bits.
    "w8a16": Format(1.0, 2.0, "bf16"),
    "w4a16": Format(0.5 + 2 / 64, 2.0, "bf16"),
}

MEASURED = frozenset(("bf16", "fp16", "fp8", "fp8_block", "nvfp4"))
"""Formats whose own kernels were measured; the others borrow the constants of their family."""

EQUAL_RATES = {"bf16": "fp16", "fp16": "bf16"}
"""16-bit formats that run at one peak wherever a row states only the other."""


def peak(spec: DeviceSpec, dtype: str) -> float | None:
    """Dense operations per second of a format on a device; None where it cannot run."""
    rate = FORMATS[dtype].rate
    found = spec.flops.get(rate) or (
        spec.flops.get(EQUAL_RATES.get(rate, ""), 0.0) if spec.kind != "cpu" else 0.0
    )
    return found or None
