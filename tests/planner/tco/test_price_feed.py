"""Price feeds: the catalogue's, a file of one's own, SkyPilot's form; bad input is located."""

from __future__ import annotations

from pathlib import Path

import pytest

from gangline.ir.errors import ConfigError
from gangline.planner.catalogue import catalogue
from gangline.planner.tco.price_feed import (
    PriceFeed,
    PriceQuote,
    parse_prices,
    read_prices,
)
from gangline.planner.tco.sky_prices import TYPES, device_type, parse_sky_prices

HEADER = (
    "InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Price,SpotPrice,"
    "Region,AvailabilityZone"
)
SKY = f"""{HEADER}
p5.48xlarge,192,2048,H100,8,"{{'Gpus': [{{'MemoryInfo': {{'SizeInMiB': 81920}}}}]}}",98.32,40,us-east-1,us-east-1a
p4d,96,1152,A100,8,"{{'Gpus': [{{'MemoryInfo': {{'SizeInMiB': 40960}}}}]}}",32.0,,us-east-1,
p4de,96,1152,A100,8,"{{'Gpus': [{{'MemoryInfo': {{'SizeInMiB': 81920}}}}]}}",40.0,,us-west-2,
nd96,96,900,A100-80GB,8,,27.2,13.6,eastus,
eu1,26,200,H100-SXM,1,,2.4,,eu-north1,
eu2,26,200,H100-SXM,1,,3.0,,eu-north1,
slice,224,400,tpu-v5litepod-8,1,,9.6,,us-west1,
p3dn,96,768,V100-32GB,8,,31.2,,us-east-1,
old,96,768,V100,8,"{{'Gpus': [{{'MemoryInfo': {{'SizeInMiB': 32768}}}}]}}",31.2,,us-east-1,
m7i,4,16,,,,0.2,0.1,us-east-1,
"""


def test_a_sky_catalogue_gives_prices_per_device() -> None:
    feed = parse_sky_prices(SKY)
    h100 = feed.quotes["H100-SXM-80"]
    assert [quote.usd_per_hour for quote in h100] == pytest.approx([12.29, 5.0, 2.4, 3.0])
    assert [quote.tier for quote in h100] == ["on_demand", "spot", "on_demand", "on_demand"]
    assert h100[0].region == "us-east-1a" and h100[0].source == "p5.48xlarge"
    assert feed.quotes["TPU-v5e"][0].usd_per_hour == pytest.approx(1.2)


def test_memory_tells_boards_of_one_name_apart() -> None:
    feed = parse_sky_prices(SKY)
    assert [quote.source for quote in feed.quotes["A100-SXM-40"]] == ["p4d"]
    assert [quote.source for quote in feed.quotes["A100-SXM-80"]] == ["p4de", "nd96", "nd96"]
    assert "V100-SXM2-16" not in feed.quotes
    assert feed.unmapped == {"V100-32GB": 1, "V100": 1, "(no accelerator)": 1}


def test_the_mapping_names_only_types_there_are() -> None:
    assert {name for names in TYPES.values() for name in names} <= set(catalogue())
    assert device_type("rtx_a6000") == ("RTX-A6000", 1)
    assert device_type("MI300X") == ("MI300X", 1)
    assert device_type("K80") is None


def test_choice_by_region_and_median() -> None:
    feed = parse_sky_prices(SKY)
    cheapest = feed.find("H100-SXM-80")
    assert cheapest is not None and cheapest.usd_per_hour == 2.4
    in_us = feed.find("H100-SXM-80", region="us")
    assert in_us is not None and in_us.usd_per_hour == pytest.approx(12.29)
    middle = feed.find("H100-SXM-80", choice="median")
    assert middle is not None and middle.usd_per_hour == 3.0
    assert feed.find("H100-SXM-80", region="ap") is None


OWN = """
[[price]]
device = "MI300X"
usd_per_hour = 1.2
tier = "reserved"
region = "eu"
date = "2026-05"
source = "quote 7"
stock = 16
[[price]]
device = "Gaudi3-128"
usd_per_hour = 0
tier = "owned"
"""


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(OWN, encoding="utf-8")
    feed = read_prices(path)
    assert feed.quotes["MI300X"] == (PriceQuote(1.2, "reserved", "eu", "quote 7", "2026-05", 16),)
    assert feed.quotes["Gaudi3"] == (PriceQuote(0.0, "owned"),)


def test_own_quotes_hide_the_bases_of_their_tier_only() -> None:
    base = PriceFeed({"T4": (PriceQuote(0.3), PriceQuote(0.1, "spot")), "L4": (PriceQuote(0.7),)})
    merged = PriceFeed({"T4": (PriceQuote(0.5),)}).over(base)
    assert merged.quotes["T4"] == (PriceQuote(0.5), PriceQuote(0.1, "spot"))
    assert merged.quotes["L4"] == base.quotes["L4"]


@pytest.mark.parametrize(
    ("old", "new", "message", "line"),
    [
        ("usd_per_hour = 1.2", "usd_per_hour = -1", "`usd_per_hour` is -1", 4),
        ("usd_per_hour = 1.2", "usd_per_hour = nan", "`usd_per_hour` is nan", 4),
        ("usd_per_hour = 1.2", 'usd_per_hour = "1"', "not a number", 4),
        ("usd_per_hour = 1.2", "usd_per_day = 1", "Unknown key 'usd_per_day'", 4),
        ("usd_per_hour = 1.2", "", "no `usd_per_hour`", 2),
        ('"MI300X"', '"MI300"', "Did you mean MI300X", 3),
        ('tier = "reserved"', 'tier = "free"', "No price tier", 5),
        ("stock = 16", "stock = 1.5", "not a whole number", 9),
    ],
)
def test_bad_toml_is_located(old: str, new: str, message: str, line: int) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_prices(OWN.replace(old, new, 1), file="p.toml")
    assert message in str(caught.value)
    assert caught.value.where == f"p.toml:{line}"


@pytest.mark.parametrize(
    ("old", "new", "message", "where"),
    [
        ("98.32", "-98.32", "`Price` is '-98.32'", "p.csv:2"),
        ("98.32", "nan", "`Price` is 'nan'", "p.csv:2"),
        (",40,", ",inf,", "`SpotPrice` is 'inf'", "p.csv:2"),
        ("2.4", "2.4 EUR", "`Price` is '2.4 EUR'", "p.csv:6"),
        ("H100-SXM,1,", "H100-SXM,0,", "AcceleratorCount", "p.csv:6"),
        ("SpotPrice", "PricePerMonth", "'PricePerMonth', of unknown unit", "p.csv:1"),
        ("AcceleratorName", "Gpu", "lacks AcceleratorName", "p.csv:1"),
        ("eu2,26,", "eu2,", "more or fewer cells", "p.csv:7"),
    ],
)
def test_a_bad_csv_is_located(old: str, new: str, message: str, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_sky_prices(SKY.replace(old, new, 1), file="p.csv")
    assert message in str(caught.value)
    assert caught.value.where == where


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.csv", b"", "lacks AcceleratorName"),
        ("p.csv", HEADER.encode(), "has no row"),
        ("p.csv", b"\xff\xfe\x00", "not UTF-8"),
        ("p.toml", b"", "has no price"),
        ("p.toml", b"price = 3", "not an array"),
        ("p.toml", b"[[price", "not valid TOML"),
        ("p.json", b"{}", "ends in .toml or .csv"),
    ],
)
def test_files_that_are_no_price_file(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_prices(path)
    assert name in caught.value.where
    with pytest.raises(ConfigError, match="cannot be read"):
        read_prices(tmp_path / "absent.csv")
