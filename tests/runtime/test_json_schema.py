"""The checker agrees with the reference implementation on what it knows."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gangline.ir.errors import InputError
from gangline.runtime.dispatch.answers import read_answer
from gangline.runtime.json_schema import problem

LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, "", "a", "bb"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)
TYPES = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    members = st.dictionaries(st.sampled_from("abc"), inner, max_size=2)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=2, unique=True),
            "enum": st.lists(VALUES, min_size=1, max_size=3),
            "const": VALUES,
            "properties": members,
            "patternProperties": st.dictionaries(st.sampled_from(["a", "^b"]), inner, max_size=1),
            "additionalProperties": inner,
            "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
            "minProperties": st.integers(0, 2),
            "maxProperties": st.integers(0, 2),
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "minItems": st.integers(0, 2),
            "maxItems": st.integers(0, 2),
            "uniqueItems": st.booleans(),
            "minimum": st.integers(-2, 2),
            "maximum": st.integers(-2, 2),
            "exclusiveMinimum": st.integers(-2, 2),
            "exclusiveMaximum": st.integers(-2, 2),
            "multipleOf": st.sampled_from([1, 2, 0.5]),
            "minLength": st.integers(0, 2),
            "maxLength": st.integers(0, 2),
            "pattern": st.sampled_from(["^a$", "b"]),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
        },
    )


SCHEMAS = st.recursive(st.booleans() | schemas(st.booleans()), schemas, max_leaves=4)


@settings(max_examples=600, deadline=None)
@given(value=VALUES, schema=SCHEMAS)
def test_it_agrees_with_jsonschema(value: Any, schema: Any) -> None:
    fits = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert (problem(value, schema) == "") == fits, problem(value, schema)


def test_references_are_followed_and_depth_is_bounded() -> None:
    tree = {"$defs": {"node": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}
    schema = {**tree, "$ref": "#/$defs/node"}
    assert problem([[], [[]]], schema) == ""
    assert "no array" in problem([[], [[7]]], schema)
    deep: Any = []
    for _ in range(500):
        deep = [deep]
    assert "too deeply" in problem(deep, schema)


def test_a_value_sent_to_do_harm_is_given_up() -> None:
    node = {"type": "object", "properties": {"n": {"$ref": "#"}}}
    deep: Any = 7
    for _ in range(30):
        deep = {"n": deep}
    assert "too large" in problem(deep, {"anyOf": [node, {**node, "title": "other"}]})
    wide = {"type": "array", "uniqueItems": True}
    assert problem([[n] for n in range(50_000)], wide) == ""


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [("date", "2026-11-23", "tomorrow"), ("uuid", "0" * 32, "x"), ("time", "09:00", "9 o'clock")],
)
def test_formats_of_pydantic(form: str, good: str, bad: str) -> None:
    schema = {"type": "string", "format": form}
    assert problem(good, schema) == "" and form in problem(bad, schema)


def test_the_place_is_named() -> None:
    schema = {"properties": {"a": {"items": {"properties": {"b": {"type": "string"}}}}}}
    assert problem({"a": [{"b": "x"}, {"b": 1}]}, schema) == "a[1].b is no string"


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("3", {"type": "integer"}, 3),
        ("3", {"type": "string"}, "3"),
        ("yes", {"type": "string"}, "yes"),
        ('"yes"', {"enum": ["yes"]}, "yes"),
        ("yes", {"enum": ["yes"]}, "yes"),
        ('{"a": 1}', {"type": "object"}, {"a": 1}),
        ("null", {"anyOf": [{"type": "string"}, {"type": "null"}]}, None),
        ("true", {"type": "boolean"}, True),
    ],
)
def test_what_a_person_types(text: str, schema: Any, value: Any) -> None:
    assert read_answer(text, schema) == value
    assert json.dumps(value)


def test_what_a_person_types_may_not_fit() -> None:
    with pytest.raises(InputError):
        read_answer("many", {"type": "integer"})
