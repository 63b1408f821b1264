"""Detecting and probing this machine: rows that are kept, private, and priced as measured."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.model import ModelSpec
from gangline.planner.catalogue import spec_to_json
from gangline.planner.roofline import roofline
from gangline.runtime.machine import probe
from gangline.runtime.machine.probe_measure import PREFILL_TOKENS, Measured, num_weights, shape

CPUINFO = """processor\t: 0
model name\t: Test CPU
stepping\t: 1
flags\t\t: fpu avx2 {flags}

processor\t: 1
"""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A made-up machine of 2 cores with 8 GB, and a cache of its own."""
    monkeypatch.setenv("GANGLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(probe, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(probe, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(probe, "MEMORY_LIMIT", tmp_path / "memory.max")
    monkeypatch.setattr(probe, "num_cores", lambda: 2)
    (tmp_path / "cpuinfo").write_text(CPUINFO.format(flags="avx512f amx_bf16"))
    (tmp_path / "meminfo").write_text("MemTotal:        8000000 kB\nMemFree: 1 kB\n")
    yield tmp_path


MEASURED = Measured(
    precision="int8",
    flops={"fp32": 1e11, "int8": 6e11},
    read_bytes_per_s=2e10,
    step_s=1e-3,
    layer_s=5e-4,
    prefill_s=0.3,
    decode_s=0.04,
    wide_params=270_000_000,
    wide_layers=24,
    num_rounds=5,
)


def test_an_unprobed_cpu_is_guessed_from_its_features() -> None:
    spec = probe.detect()
    assert spec.source.startswith("detected: Test CPU")
    assert (spec.cores, spec.memory_bytes) == (2, 8_192_000_000)
    assert spec.flops["bf16"] == 2 * probe.CORE_FLOPS["bf16"]["amx_bf16"]
    assert spec.flops["int8"] == 2 * probe.CORE_FLOPS["int8"][""]


def test_a_container_limit_lowers_the_memory(machine: Path) -> None:
    (machine / "memory.max").write_text("1000000000\n")
    assert probe.detect().memory_bytes == 1_000_000_000
    (machine / "memory.max").write_text("max\n")
    assert probe.detect().memory_bytes == 8_192_000_000


def test_a_machine_without_proc_is_still_described(machine: Path) -> None:
    for name in ("cpuinfo", "meminfo"):
        (machine / name).unlink()
    spec = probe.detect()
    assert spec.memory_bytes > 0
    assert spec.flops["fp32"] > 0


def test_the_row_gives_the_measured_steps_back() -> None:
    """The roofline of a probed row predicts the very steps it was made from."""
    spec = probe._measured_spec(probe._guess(), MEASURED, "Test CPU")
    model = replace(MODEL, params=MEASURED.wide_params)
    line = roofline(spec, model)
    assert line.decode_s(0.0, 2.0, 1.0) == pytest.approx(MEASURED.decode_s, rel=0.02)
    assert line.prefill_s(float(PREFILL_TOKENS), 0.0) == pytest.approx(MEASURED.prefill_s, rel=0.02)
    assert 0 < spec.efficiency["mfu"] <= 1
    assert 0 < spec.efficiency["mbu"] <= 1


MODEL = ModelSpec(
    name="wide",
    sources=(),
    sha256="",
    file_bytes=0,
    licence="",
    family="llama",
    num_layers=MEASURED.wide_layers,
    hidden_size=1,
    num_heads=1,
    num_kv_heads=1,
    head_dim=1,
    ffn_size=1,
    vocab_size=1,
    context=1,
    tied_embedding=True,
    params=1,
)


def test_a_probed_row_is_kept_privately_and_found_again(machine: Path) -> None:
    spec = probe._measured_spec(probe._guess(), MEASURED, "Test CPU")
    probe._store(probe._key("cpu"), spec)
    assert probe.detect() == spec
    folder = machine / "cache" / "probe"
    (kept,) = folder.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert json.loads(kept.read_text()) == spec_to_json(spec)


def test_another_cpu_or_core_count_is_probed_anew(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe._store(probe._key("cpu"), probe._measured_spec(probe._guess(), MEASURED, "Test CPU"))
    (machine / "cpuinfo").write_text(CPUINFO.format(flags=""))
    assert probe.detect().source.startswith("detected")
    (machine / "cpuinfo").write_text(CPUINFO.format(flags="avx512f amx_bf16"))
    assert probe.detect().source.startswith("probed")
    monkeypatch.setattr(probe, "num_cores", lambda: 4)
    assert probe.detect().source.startswith("detected")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"type": 1}', '{"flops": 3, "type": "x"}'])
def test_a_damaged_file_is_ignored(machine: Path, text: str) -> None:
    spec = probe.detect()
    probe._store(probe._key("cpu"), spec)
    (kept,) = (machine / "cache" / "probe").iterdir()
    kept.write_text(text)
    assert probe.detect() == spec


def test_detecting_needs_no_torch() -> None:
    code = "import sys, gangline.runtime.machine.probe as p; p.detect(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_probe_model_is_larger_than_it_looks() -> None:
    assert num_weights(shape(24, 1024)) == pytest.approx(2.7e8, rel=0.05)


def test_probing_measures_this_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from gangline.runtime.machine import probe_measure

    monkeypatch.setattr(probe_measure, "WIDE_LAYERS", {"cpu": 2})
    monkeypatch.setattr(probe_measure, "STREAM_BYTES", {"cpu": 1 << 20})
    spec = probe._probe_cpu(0.1)
    assert spec.source.startswith("probed: Test CPU, 2 cores")
    assert spec.flops["fp32"] > 1e8
    assert spec.memory_bytes_per_s > 1e8
    assert isinstance(probe.detect(), DeviceSpec)
    assert probe.detect() == spec
