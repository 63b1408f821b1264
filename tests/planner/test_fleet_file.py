"""Fleet files: what is accepted, and what is refused with a file, a line and a way out."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gangline.ir.errors import ConfigError
from gangline.ir.specs.device import DeviceSpec
from gangline.planner.fleet_file import (
    USD_PER_CORE_HOUR,
    default_fleet,
    fleet_from_json,
    fleet_to_json,
    load_fleet,
    parse_fleet,
)

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "schemas" / "fleet.json").read_text(encoding="utf-8"))
EXAMPLES = sorted((ROOT / "examples").glob("*.toml"))

GOOD = """\
[[device]]
name = "old"
type = "A100-SXM-80"
count = 2
usd_per_hour = 1.1

[[device]]
name = "host"
type = "cpu"
usd_per_hour = 0.2

[[link]]
from = "host"
to = "old"
bytes_per_s = 1e9
"""


def test_a_good_file(cpu: DeviceSpec) -> None:
    fleet = parse_fleet(GOOD, file="lab.toml", cpu=cpu)
    assert fleet.name == "lab"
    assert fleet.device("old/1").ids == ("old/0", "old/1")
    assert fleet.device("old").spec.memory_bytes == 81920 * 2**20
    assert fleet.device("host").spec is cpu
    link = fleet.link("host", "old")
    assert link is not None
    assert (link.bytes_per_s, link.latency_s) == (1e9, 0.0)
    assert fleet.link("old", "host") is None


BAD = {
    # what is replaced: (by what, message, line)
    'type = "A100-SXM-80"': [
        ('type = "A100-SXM"', r"'A100-SXM'.*Did you mean A100-SXM-80.*gangline devices", 3),
        ("type = 3", "`type` is not a text", 3),
        ("", "no `type`", 1),
    ],
    "count = 2": [
        ("count = 0", "`count` is 0", 4),
        ("count = -1", "`count` is -1", 4),
        ("count = 2.5", "not a whole number", 4),
        ("count = true", "not a whole number", 4),
        ("cuont = 2", "'cuont'.*Did you mean count", 4),
        ('url = "ftp://x"', "not an http address", 4),
        ('url = "https://me:secret@x"', "password", 4),
        ('backend = "../x"', "is not a backend", 4),
    ],
    "usd_per_hour = 1.1": [
        ("usd_per_hour = -1.1", "`usd_per_hour` is -1.1", 5),
        ("usd_per_hour = nan", "`usd_per_hour` is nan", 5),
        ("usd_per_hour = inf", "`usd_per_hour` is inf", 5),
        ('usd_per_hour = "1"', "not a number", 5),
        ("", "'old' has no price.*1.5", 1),
        ("usd_per_mtok_in = 1", "'old' has no price", 1),
    ],
    'name = "host"': [
        ('name = "old"', "Two devices are called 'old'", 8),
        ('name = "a/b"', "'a/b' is not a name", 8),
        ('name = ""', "'' is not a name", 8),
    ],
    'from = "host"': [
        ('from = "hots"', "'hots', which is no device.*old, host", 13),
        ('from = "old"', "with itself", 14),
        ("", "no `from`", 12),
    ],
    "bytes_per_s = 1e9": [
        ("bytes_per_s = 0", "`bytes_per_s` is 0", 15),
        ("bits_per_s = 1e9", "'bits_per_s'.*bytes_per_s", 15),
    ],
}
CASES = [(old, *case) for old, cases in BAD.items() for case in cases]


@pytest.mark.parametrize(("old", "new", "message", "line"), CASES)
def test_a_bad_line_is_refused_with_its_place(old: str, new: str, message: str, line: int) -> None:
    assert GOOD.count(old) == 1
    with pytest.raises(ConfigError, match=rf"(?s){message}") as caught:
        parse_fleet(GOOD.replace(old, new), file="lab.toml")
    assert caught.value.where == f"lab.toml:{line}"
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no device"),
        ("device = 3", "not an array"),
        ("device = [3]", "not an array"),
        ("[[device]", "not valid TOML.*line 1"),
        ("[[devices]]\nname='a'", "'devices'.*Did you mean device"),
        ("a = " + "[" * 3000, "not valid TOML"),
        (GOOD + GOOD[GOOD.index("[[link]]") :], "Two links"),
    ],
)
def test_a_file_that_is_no_fleet(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"(?s){message}"):
        parse_fleet(text)


def test_a_pasted_key_is_not_repeated() -> None:
    secret = "sk-very-secret"
    text = GOOD.replace("count = 2", f'api_key_env = "{secret}"')
    with pytest.raises(ConfigError) as caught:
        parse_fleet(text)
    assert secret not in json.dumps(caught.value.to_json())


def test_a_missing_file_and_a_binary_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_fleet(tmp_path / "none.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_fleet(binary)
    with pytest.raises(ConfigError):
        load_fleet(tmp_path)


@given(st.text(max_size=60))
def test_any_text_is_a_fleet_or_a_config_error(text: str) -> None:
    try:
        parse_fleet(text)
    except ConfigError as error:
        assert error.where


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_parse_match_the_schema_and_survive_json(path: Path) -> None:
    fleet = load_fleet(path)
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(document, SCHEMA)
    as_json = json.loads(json.dumps(fleet_to_json(fleet)))
    jsonschema.validate(as_json, SCHEMA)
    assert fleet_from_json(as_json) == fleet


def test_the_schema_refuses_what_the_parser_refuses() -> None:
    for change in ({"cuont": 2}, {"count": 0}, {"usd_per_hour": -1}, {"name": "a/b"}):
        device = {"name": "a", "type": "cpu", "usd_per_hour": 1, **change}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"device": [device]}, SCHEMA)


def test_an_incomplete_own_row_is_refused() -> None:
    text = '[[device]]\nname = "x"\ntype = "mine"\nusd_per_hour = 1\n[device.spec]\nkind = "gpu"\n'
    with pytest.raises(ConfigError, match="incomplete"):
        parse_fleet(text)
    with pytest.raises(ConfigError, match="`kind` is 'npu'"):
        parse_fleet(text.replace('"gpu"', '"npu"'))


def test_the_default_fleet_is_the_cpu_at_a_stated_price(cpu: DeviceSpec) -> None:
    fleet = default_fleet(cpu)
    assert fleet.device("cpu/0").usd_per_hour == pytest.approx(8 * USD_PER_CORE_HOUR)
    assert default_fleet(cpu, 0.5).device("cpu").usd_per_hour == 0.5


def test_a_type_without_a_known_price_says_so() -> None:
    with pytest.raises(ConfigError, match="knows no price of a B60"):
        parse_fleet('[[device]]\nname = "a"\ntype = "B60"\n')
    assert parse_fleet('[[device]]\nname = "a"\ntype = "B60"\nusd_per_hour = 0.3\n').devices
