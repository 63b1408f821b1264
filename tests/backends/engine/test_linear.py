"""Each kernel computes x W^T + b; the integer one keeps rows apart and survives outliers."""

from __future__ import annotations

import pytest
import torch

from gangline.backends.engine import linear
from gangline.backends.engine.linear import DenseLinear, Int8Linear, build, fine_part, quantise_rows

needs_int8 = pytest.mark.skipif(not linear.int8_works(), reason="no integer kernel on this CPU")


def _layer(rows: int = 48, columns: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(rows, columns, generator=draw), torch.randn(rows, generator=draw)


def _relative(y: torch.Tensor, exact: torch.Tensor) -> float:
    return float((y.float() - exact).norm() / exact.norm())


@needs_int8
def test_small_channels_survive_beside_a_huge_one() -> None:
    """In a single 8-bit number the large channel would leave two steps for the others."""
    weight, bias = _layer()
    weight[:, 3] = 0  # what the large channel itself adds would hide the error
    quantised, scale = quantise_rows(weight)
    x = torch.randn(5, 64)
    x[:, 3] = 300
    exact = x @ (quantised.float() * scale[:, None]).T + bias
    assert _relative(Int8Linear(quantised, scale, bias)(x), exact) < 1e-2


@needs_int8
def test_fine_weights_are_nearly_exact() -> None:
    weight, _ = _layer()
    quantised, scale = quantise_rows(weight)
    x = torch.randn(3, 64)
    plain = Int8Linear(quantised, scale)
    fine = Int8Linear(quantised, scale, fine=fine_part(weight, quantised, scale))
    assert _relative(fine(x), x @ weight.T) < 1e-4
    assert _relative(plain(x), x @ weight.T) > 1e-3
    assert "fine" in fine.kernel


@needs_int8
def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    layer = Int8Linear(*quantise_rows(_layer()[0]))
    x = torch.randn(7, 64)
    x[4] *= 1000
    alone = torch.cat([layer(row[None]) for row in x])
    assert torch.equal(layer(x), alone)


@needs_int8
def test_zero_rows_stay_zero() -> None:
    layer = Int8Linear(*quantise_rows(_layer()[0]))
    assert torch.equal(layer(torch.zeros(2, 64)), torch.zeros(2, 48))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dense_layers_compute_the_product(dtype: torch.dtype) -> None:
    weight, bias = _layer()
    x = torch.randn(4, 64)
    layer = build({"w": weight.to(dtype), "w.bias": bias}, "w")
    tolerance = 1e-6 if dtype == torch.float32 else 2e-2
    assert _relative(layer(x), x @ weight.T + bias) < tolerance


def test_without_the_integer_kernel_weights_are_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, _ = _layer()
    quantised, scale = quantise_rows(weight)
    tensors = {"w": quantised, "w.scale": scale, "w.fine": fine_part(weight, quantised, scale)}
    monkeypatch.setattr(linear, "int8_works", lambda: False)
    layer = build(tensors, "w")
    x = torch.randn(4, 64)
    assert isinstance(layer, DenseLinear)
    assert _relative(layer(x), x @ weight.T) < 1e-4


def test_precision_follows_device_width_and_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(linear, "int8_works", lambda: True)
    monkeypatch.setattr(linear, "bf16_works", lambda: True)
    assert linear.default_precision(cpu, 1536) == "int8"
    assert linear.default_precision(cpu, 576) == "bf16"
    assert linear.default_precision(torch.device("cuda")) == "bf16"
    monkeypatch.setattr(linear, "int8_works", lambda: False)
    assert linear.default_precision(cpu, 1536) == "fp32"
