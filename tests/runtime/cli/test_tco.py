"""`gangline tco` as users call it, over a small catalogue of their own."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gangline.runtime.cli.app import run

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"
TYPES = """
[[device]]
type = "L4"
[[device]]
type = "A100-SXM-80"
"""
MODEL = "llama-3.1-8b"
USUAL = ("text_to_sql", "--rate", "20", "--slo", "p95=8s", "--model", MODEL)
CONTRACT = ("fleet", "usd_per_hour", "usd_per_1k_jobs", "p95_s", "gap", "break_even", "baselines")

Call = Callable[..., Any]
Validate = Callable[[str, Any], None]


@pytest.fixture
def types(tmp_path: Path) -> str:
    path = tmp_path / "types.toml"
    path.write_text(TYPES)
    return str(path)


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], validate: Validate) -> Call:
    """Run `gangline tco`; give its document, checked against its schema, and its stderr."""

    def go(*arguments: str, code: int = 0) -> tuple[Any, str]:
        assert run(["tco", *arguments, "--json"]) == code
        out, err = capfd.readouterr()
        document = json.loads(out)
        validate("failure" if code else "tco", document)
        return document, err

    return go


def test_the_contract_and_the_simulators_verdict(call: Call, types: str) -> None:
    document, err = call(*USUAL, "--catalogue", types)
    assert set(CONTRACT) <= set(document)
    rows = document["fleet"]
    assert {"device", "count", "role", "tp"} <= set(rows[0])
    assert document["usd_per_hour"] == pytest.approx(sum(row["usd_per_hour"] for row in rows))
    assert document["usd_per_1k_jobs"] == pytest.approx(document["usd_per_hour"] / 3.6 / 20.0)
    simulated = document["simulated"]
    assert document["p95_s"] == simulated["p95_s"] <= 8.0
    assert simulated["num_jobs"] >= 200
    low, high = simulated["reached_interval_s"]
    assert low <= simulated["reached_s"] <= high
    assert all(0.0 < row["busy"] <= 1.0 for row in rows)
    for name in ("best_single_type", "greedy"):
        assert document["baselines"][name]["usd_per_hour"] >= document["usd_per_hour"] * 0.999
    lines = [line for line in err.splitlines() if "first answer after" in line]
    assert len(lines) == 1 and f"{document['usd_per_hour']:.2f} USD an hour" in lines[0]


def test_the_same_seed_gives_the_same_document(call: Call, types: str) -> None:
    options = (*USUAL, "--catalogue", types, "--without", "L4", "--quick")
    first, again, other = (call(*options, "--seed", seed)[0] for seed in ("3", "3", "4"))
    assert first == again
    assert other["predicted"]["p95_s"] != first["predicted"]["p95_s"]


def test_without_a_chosen_type_the_fleet_is_another(call: Call, types: str) -> None:
    usual, _ = call(*USUAL, "--catalogue", types, "--quick")
    assert usual["simulated"] is None and usual["p95_s"] == usual["predicted"]["p95_s"]
    chosen = next(row["device"] for row in usual["fleet"] if row["role"] != "cpu")
    other, _ = call(*USUAL, "--catalogue", types, "--quick", "--without", chosen)
    assert chosen not in {row["device"] for row in other["fleet"]}
    assert other["usd_per_hour"] >= usual["usd_per_hour"] * (1 - 1e-9)
    (row,) = other["what_if"]
    assert row["changes"] == [f"without {chosen}"]
    assert row["unchanged"]["usd_per_hour"] == pytest.approx(usual["usd_per_hour"])
    assert row["usd_per_hour_saved"] <= 1e-9


def test_stock_is_used_and_counted(call: Call, types: str) -> None:
    usual, _ = call(*USUAL, "--catalogue", types, "--quick")
    owned, _ = call(*USUAL, "--catalogue", types, "--quick", "--add", "A100-SXM-80=4")
    assert owned["usd_per_hour"] < usual["usd_per_hour"]
    bought = {row["device"]: row["count"] for row in owned["fleet"]}
    assert bought.get("A100-SXM-80", 0) >= 1
    few = ("--stock", "A100-SXM-80=1", "--without", "L4", "--rate", "60")
    limited, _ = call(*USUAL, "--catalogue", types, "--quick", *few)
    free, _ = call(*USUAL, "--catalogue", types, "--quick", *few[2:])
    assert [row["count"] for row in limited["fleet"] if row["device"] == "A100-SXM-80"] == [1]
    assert sum(row["count"] for row in free["fleet"] if row["device"] == "A100-SXM-80") > 1


def test_a_price_file_and_its_tiers(call: Call, types: str, tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(
        '[[price]]\ndevice = "A100-SXM-80"\nusd_per_hour = 0.5\nsource = "quote 7"\n'
        'date = "2026-05"\n[[price]]\ndevice = "A100-SXM-80"\nusd_per_hour = 0.25\ntier = "spot"\n'
    )
    options = (*USUAL, "--catalogue", types, "--quick", "--prices", str(prices))
    for tier, price in (("spot", 0.25), ("reserved", 0.35)):
        document, _ = call(*options, "--tier", tier)
        rows = [row for row in document["fleet"] if row["device"] == "A100-SXM-80"]
        assert rows
        assert all(row["usd_per_hour"] == pytest.approx(row["count"] * price) for row in rows)
        source = document["sources"]["prices"]["A100-SXM-80"]
        assert source["confidence"] == "quoted"
    assert document["sources"]["prices"]["A100-SXM-80"]["source"] == "quote 7"


def test_what_cannot_be_kept_is_an_answer(
    call: Call, types: str, capfd: pytest.CaptureFixture[str]
) -> None:
    hopeless = ("text_to_sql", "--rate", "20", "--slo", "p95=50ms", "--model", MODEL)
    document, _ = call(*hopeless, "--catalogue", types, code=1)
    error = document["error"]
    assert error["code"] == "infeasible"
    advice = error["advice"]
    assert advice["nearest_slo_s"] > 0.05 and advice["usd_per_hour_per_ms"] > 0.0
    assert advice["device"]
    assert error["where"] == f"stage {advice['binding_stage']}"
    # The nearest objective is one that is kept indeed.
    nearest = f"p95={advice['nearest_slo_s'] + 0.001}s"
    found, _ = call(*USUAL[:3], "--slo", nearest, *USUAL[5:], "--catalogue", types, "--quick")
    assert found["p95_s"] <= advice["nearest_slo_s"] + 0.001
    assert run(["tco", *hopeless, "--catalogue", types]) == 1
    out, err = capfd.readouterr()
    assert out == "" and "Ask for p95 <=" in err and "further millisecond" in err.replace("\n", " ")


def test_a_budget_below_the_cheapest_fleet(call: Call, types: str) -> None:
    options = (*USUAL, "--catalogue", types, "--quick")
    document, _ = call(*options, "--budget-usd-per-hour", "0.1", code=1)
    assert document["error"]["where"] == "budget"
    document, _ = call(*options, "--power-limit-w", "10", code=1)
    assert "inf" not in document["error"]["detail"].split()


BAD = {
    "rate zero": (("--rate", "0"), "--rate"),
    "rate below zero": (("--rate", "-3"), "--rate"),
    "rate nan": (("--rate", "nan"), "--rate"),
    "rate inf": (("--rate", "inf"), "--rate"),
    "unit of time": (("--slo", "p95=20 parsecs"), "--slo"),
    "percentile": (("--slo", "p0=2s"), "--slo"),
    "no objective": (("--slo", "quick"), "--slo"),
    "unknown type out": (("--without", "A1O0"), "--without"),
    "unknown type in": (("--add", "L40=2"), "--add"),
    "stock at a negative price": (("--add", "L4=2@-1"), "--add"),
    "stock of nothing": (("--add", "L4=0"), "--add"),
    "format": (("--dtype", "fp7"), "--dtype"),
    "financing": (("--financing", "lease"), "--financing"),
    "term of another form": (("--pue", "1.2"), "--pue"),
    "negative term": (("--financing", "own", "--years", "-1"), "--years"),
    "term nan": (("--financing", "own", "--load", "nan"), "--load"),
    "unit of energy": (("--financing", "own", "--usd-per-kwh", "3 EUR/day"), "--usd-per-kwh"),
    "tier": (("--tier", "gold"), "--tier"),
    "objective": (("--objective", "fun"), "--objective"),
    "budget": (("--budget-usd-per-hour", "-1"), "--budget-usd-per-hour"),
    "power": (("--power-limit-w", "nan"), "--power-limit-w"),
    "age": (("--age-discount", "1"), "--age-discount"),
    "form of report": (("--out", "report.pdf"), "--out"),
    "folder of report": (("--out", "/no/such/folder/report.html"), "--out"),
    "price file": (("--prices", "no.toml"), "no.toml"),
    "catalogue file": (("--catalogue", "no.toml"), "no.toml"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_located(name: str, call: Call) -> None:
    arguments, where = BAD[name]
    document, err = call(*USUAL, *arguments, code=2)
    assert document["error"]["where"] == where
    assert document["error"]["next_step"]
    assert err == ""


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('[[device]]\ntype = "acme"\nflops = { bf16 = 1e14 }\nmemory_bytes_per_s = 1e12\n', 1,
         "no memory_bytes"),
        ('[[device]]\ntype = "L4"\nusd_per_hour = -1\n', 3, "`usd_per_hour` is -1"),
        ('[[device]]\ntype = "L4"\ncolour = "red"\n', 3, "colour"),
        ('[[device]]\ntype = "L5"\n', 2, "No device type"),
        ('[[device]]\ntype = "L4"\n[[device]]\ntype = "L4"\n', 4, "twice"),
        ('[[device]]\ntype = "L4"\nmemory_bytes = "lots"\n', 3, "memory_bytes"),
    ],
)  # fmt: skip
def test_a_bad_catalogue_is_located(
    text: str, line: int, says: str, call: Call, tmp_path: Path
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    document, _ = call(*USUAL, "--catalogue", str(path), code=2)
    assert document["error"]["where"] == f"{path}:{line}"
    assert says in document["error"]["detail"]


def test_a_negative_price_of_a_cloud_is_located(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text("AcceleratorName,AcceleratorCount,Price\nL4,1,0.7\nL4,1,-0.7\n")
    document, _ = call(*USUAL, "--prices", str(path), code=2)
    assert document["error"]["where"] == f"{path}:3"


def stage(name: str, **more: Any) -> dict[str, Any]:
    amount = {"mean": 200.0, "low": 100.0, "high": 400.0}
    none = {"mean": 0.0, "low": 0.0, "high": 0.0}
    return {"op": "decode", "visits": 1.0, "prompt_tokens": amount, "cached_tokens": none,
            "output_tokens": amount, "seconds": None, "source": "measured", "samples": [], **more}  # fmt: skip


def write_profile(path: Path, **parents: list[str]) -> None:
    rows = {
        name: stage(name, parents=[f"{parent}.decode" for parent in given])
        for name, given in ((f"{key}.decode", value) for key, value in parents.items())
    }
    document = {"version": 1, "stages": rows, "factors": {}, "num_jobs": 9, "jobs_in_flight": 1.0}
    path.write_text(json.dumps(document, indent=1))


def test_a_profile_alone_is_enough(call: Call, types: str, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    write_profile(path, second=["first"], first=[])
    options = ("--profile", str(path), "--rate", "5", "--slo", "p95=60s", "--catalogue", types)
    document, _ = call(*options, "--model", MODEL, "--quick")
    # Both calls are alike, so they are one class of two calls a job.
    calls = [row for row in document["demand"]["classes"] if row["kind"] == "llm"]
    assert math.fsum(row["calls_per_job"] for row in calls) == pytest.approx(2.0)
    assert document["p95_s"] <= 60.0
    failed, _ = call(*options, code=2)
    assert failed["error"]["where"] == "--profile" and "model" in failed["error"]["detail"]


@pytest.mark.parametrize(
    ("parents", "says"),
    [
        ({"a": ["b"], "b": ["c"], "c": ["a"]}, "a.decode -> b.decode -> c.decode -> a.decode"),
        ({"a": ["a"]}, "a.decode -> a.decode"),
        ({"a": ["z"]}, "no stage of the profile"),
    ],
)
def test_a_profile_whose_stages_form_a_ring_is_refused(
    parents: dict[str, list[str]], says: str, call: Call, tmp_path: Path
) -> None:
    path = tmp_path / "ring.json"
    write_profile(path, **parents)
    document, _ = call("--profile", str(path), "--rate", "5", "--model", MODEL, code=2)
    assert says in document["error"]["detail"]
    line = path.read_text().splitlines().index('  "a.decode": {') + 1
    assert document["error"]["where"] == f"{path}:{line}"


def test_a_report_is_written_whole_or_not_at_all(
    types: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.html"
    out.write_text("an earlier report")
    usual = [*USUAL, "--catalogue", types, "--quick", "--out", str(out)]
    assert run(["tco", *usual, "--budget-usd-per-hour", "0.01"]) == 1
    assert out.read_text() == "an earlier report"
    assert run(["tco", *usual]) == 0
    page = out.read_text()
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "types.toml"]
    text, err = capfd.readouterr()
    assert f"written: {out}" in err.replace("\n", "")
    assert "USD per 1,000 jobs" in " ".join(text.split())


def test_names_in_a_page_are_escaped(types: str, tmp_path: Path) -> None:
    hostile = "<script>alert('x')</script>/0"
    path, out = tmp_path / "types.toml", tmp_path / "report.html"
    path.write_text(
        f"[[device]]\ntype = {json.dumps(hostile)}\nflops = {{ bf16 = 4e14 }}\n"
        "memory_bytes = 90_000_000_000\nmemory_bytes_per_s = 3e12\ntdp_w = 500\n"
        'usd_per_hour = 1.0\n[device.sources]\nusd_per_hour = "<img src=x onerror=alert(1)>"\n'
    )
    assert run(["tco", *USUAL, "--catalogue", str(path), "--out", str(out)]) == 0
    page = out.read_text()
    assert "<script" not in page and "<img" not in page
    assert "&lt;script&gt;" in page and "&lt;img" in page


def test_help_does_not_load_the_planner() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from gangline.runtime.cli.app import run; run(['tco', '--help']);"
        "print([m for m in ('numpy', 'scipy', 'gangline.planner.tco.plan') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "--power-limit-w" in done.stdout
