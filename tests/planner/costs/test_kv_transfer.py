"""KV transfer: the worked numbers of the paper's equations, latents, and checks of a link."""

from __future__ import annotations

import pytest

from gangline.ir.errors import ConfigError
from gangline.planner.costs.kv_transfer import (
    GBIT,
    check_link,
    kv_bytes,
    peak_egress_bytes_per_s,
    peak_ingress_bytes_per_s,
    second_token_s,
)
from gangline.planner.costs.shape import find_shape

LLAMA_70B = {"layers": 80, "hidden": 8192, "heads": 64, "kv_heads": 8}
LLAMA_8B = {"layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 8}


@pytest.mark.parametrize(
    ("model", "tokens", "gigabytes", "gbit"),
    [
        (LLAMA_70B, 32768, 10.7, 344),
        (LLAMA_70B, 4096, 1.34, 43),
        (LLAMA_8B, 32768, 4.3, 137),
    ],
)
def test_worked_egress(model: dict[str, int], tokens: int, gigabytes: float, gbit: float) -> None:
    size = kv_bytes(**model, tokens=tokens)
    assert size / 1e9 == pytest.approx(gigabytes, rel=0.005)
    egress = peak_egress_bytes_per_s(size, 0.25) / GBIT
    assert egress == pytest.approx(gbit, rel=0.005)


def test_worked_ingress_needs_ten_times_what_links_give() -> None:
    size = kv_bytes(**LLAMA_70B, tokens=32768)
    assert peak_ingress_bytes_per_s(size, 0.02) / GBIT == pytest.approx(4295, rel=0.001)
    assert peak_ingress_bytes_per_s(size, 0.02, 8) / GBIT == pytest.approx(537, rel=0.001)


def test_equation_and_shape_agree_and_a_latent_is_small() -> None:
    size = kv_bytes(**LLAMA_70B, tokens=1000, batch=3)
    assert 3 * find_shape("llama-3.1-70b").kv_bytes(1000, "bf16") == pytest.approx(size)
    # DeepSeek-V3: 61 layers of one 512 + 64 latent, against 2 x 128 heads x 128 written out.
    latent = 61 * 576 * 1000 * 2.0
    assert find_shape("deepseek-v3").kv_bytes(1000, "bf16") == pytest.approx(latent)


def test_a_link_that_carries_the_traffic_but_not_the_peak() -> None:
    size = kv_bytes(**LLAMA_70B, tokens=32768)
    found = check_link(
        size, layers=80, ttft_s=0.25, tbt_s=0.02, link_bytes_per_s=5e10, batches_per_s=2.0
    )
    assert found.transfer_s == pytest.approx(0.2147, rel=0.001)
    assert found.meets_egress and found.meets_amortised and not found.meets_peak
    assert found.amortised_ingress_bytes_per_s == pytest.approx(2.0 * size)
    busy = check_link(
        size, layers=80, ttft_s=0.25, tbt_s=0.02, link_bytes_per_s=5e10, batches_per_s=5.0
    )
    assert not busy.meets_amortised


def test_transfer_adds_to_the_second_token_less_where_layers_overlap() -> None:
    found = check_link(1e9, layers=40, ttft_s=0.25, tbt_s=0.02, link_bytes_per_s=5e10)
    assert found.transfer_s == pytest.approx(0.02)
    assert found.serial_second_token_s == pytest.approx(0.04)
    assert found.second_token_s == pytest.approx(0.02 * (1 + 1 / 40))
    # One layer cannot overlap with itself; a transfer that takes no time costs nothing.
    assert second_token_s(0.03, 0.02, 1) == pytest.approx(0.05)
    assert second_token_s(0.0, 0.02, 40) == pytest.approx(0.02)


def test_the_side_with_fewer_devices_limits_a_transfer() -> None:
    wide = check_link(
        1e9, layers=40, ttft_s=0.25, tbt_s=0.02, link_bytes_per_s=1e10,
        prefill_devices=8, decode_devices=2,
    )  # fmt: skip
    assert wide.transfer_s == pytest.approx(1e9 / 2e10)
    assert wide.peak_egress_bytes_per_s == pytest.approx(1e9 / (0.25 * 8))


@pytest.mark.parametrize("field", ["ttft_s", "tbt_s", "link_bytes_per_s"])
def test_sizes_that_cannot_be_are_refused_by_name(field: str) -> None:
    sizes = {"ttft_s": 0.25, "tbt_s": 0.02, "link_bytes_per_s": 1e10, field: 0.0}
    ttft_s, tbt_s, link = sizes.values()
    with pytest.raises(ConfigError, match=field):
        check_link(1e9, layers=40, ttft_s=ttft_s, tbt_s=tbt_s, link_bytes_per_s=link)
    with pytest.raises(ConfigError, match="tokens"):
        kv_bytes(**LLAMA_8B, tokens=-1)
