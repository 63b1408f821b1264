"""What a Python annotation means: its IR type, its JSON Schema, and what may be assigned to it."""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticUserError

from gangline.ir.errors import TraceError

from .sources import author_line
from .values import Database, DatabaseMark, FreeMark, SecretMark

_SCALARS: Mapping[Any, str] = {str: "text", bool: "bool", int: "int", float: "float"}
_LISTS = (list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Iterable)
_UNIONS = (Union, types.UnionType)
_ANYTHING = (Any, object, inspect.Parameter.empty)


def strip(annotation: Any) -> Any:
    """Drop `Annotated` metadata and aliases; `Database` stays, since it is a type of its own."""
    while True:
        if isinstance(annotation, typing.TypeVar):
            return Any
        if get_origin(annotation) is not Annotated:
            return None if annotation is type(None) else annotation
        inner, *marks = get_args(annotation)
        if any(isinstance(mark, DatabaseMark) for mark in marks):
            return Database
        annotation = inner


def is_free(annotation: Any) -> bool:
    """Tell whether an annotation is `Free[...]`."""
    return get_origin(annotation) is Annotated and any(
        isinstance(mark, FreeMark) for mark in get_args(annotation)[1:]
    )


def is_secret(annotation: Any) -> bool:
    """Tell whether an annotation is `Secret[...]`."""
    return get_origin(annotation) is Annotated and any(
        isinstance(mark, SecretMark) for mark in get_args(annotation)[1:]
    )


def type_name(annotation: Any) -> str:
    """Give the IR type of an annotation: text, int, float, bool, json, list or database."""
    kind = strip(annotation)
    if kind == Database:
        return "database"
    if _hashable(kind) and kind in _SCALARS:
        return _SCALARS[kind]
    if kind in _LISTS or get_origin(kind) in _LISTS:
        return "list"
    if get_origin(kind) is Literal:
        names = {_SCALARS.get(type(value), "json") for value in get_args(kind)}
        return names.pop() if len(names) == 1 else "json"
    return "json"


def element(annotation: Any) -> Any:
    """Give the annotation of the elements of a list annotation; Any where it is not known."""
    kind = strip(annotation)
    arguments = get_args(kind)
    if get_origin(kind) is tuple and arguments and arguments[-1] is not Ellipsis:
        return arguments[0] if len(set(arguments)) == 1 else Any
    return arguments[0] if arguments else Any


def list_of(annotation: Any) -> Any:
    """Give the annotation of a list of such elements."""
    return types.GenericAlias(list, (annotation,))


def member(annotation: Any) -> Any:
    """Give the annotation of the values of a dict annotation; Any where it is not known."""
    arguments = get_args(strip(annotation))
    return arguments[1] if len(arguments) == 2 else Any


def fields(annotation: Any) -> dict[str, Any] | None:
    """Give name and annotation of the fields of a pydantic model; None for any other type."""
    kind = strip(annotation)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: found.rebuild_annotation() for name, found in kind.model_fields.items()}
    return None


def describe(annotation: Any) -> str:
    """Give the name of a type as an author writes it."""
    kind = strip(annotation)
    if kind == Database:
        return "Database"
    if kind is inspect.Parameter.empty:
        return "anything"
    if get_origin(kind) is None and isinstance(kind, type):
        return kind.__name__
    return str(kind).replace("typing.", "")


def is_assignable(source: Any, target: Any) -> bool:
    """Tell whether a value of type `source` may be used where `target` is wanted.

    Anything goes to and from `Any`; a `Database` is a `str`, but a `str` is not a `Database`.
    """
    source, target = strip(source), strip(target)
    if source == target or source in _ANYTHING or target in _ANYTHING:
        return True
    if get_origin(source) in _UNIONS:
        return all(is_assignable(one, target) for one in get_args(source))
    if get_origin(target) in _UNIONS:
        return any(is_assignable(source, one) for one in get_args(target))
    if Database in (source, target):
        return target is str
    if get_origin(source) is Literal:
        return _literal_fits(get_args(source), target)
    if target is float and source is int:
        return True
    return _class_fits(source, target)


def _literal_fits(values: tuple[Any, ...], target: Any) -> bool:
    if get_origin(target) is Literal:
        return set(values) <= set(get_args(target))
    return all(is_assignable(type(value), target) for value in values)


def _class_fits(source: Any, target: Any) -> bool:
    source_class, target_class = get_origin(source) or source, get_origin(target) or target
    if not (isinstance(source_class, type) and isinstance(target_class, type)):
        return False
    # A tuple or list is written as a JSON list, so either serves for the other.
    both_lists = source_class in _LISTS and target_class in _LISTS
    if not both_lists and not issubclass(source_class, target_class):
        return False
    if source_class is bool and target_class is not bool:
        return False
    wanted, given = get_args(target), get_args(source)
    if not wanted or not given:
        return True
    if both_lists:
        return is_assignable(element(source), element(target))
    return len(wanted) == len(given) and all(map(is_assignable, given, wanted))


def _hashable(value: Any) -> bool:
    return isinstance(value, collections.abc.Hashable)


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


def adapter(annotation: Any) -> TypeAdapter[Any]:
    """Give the (cached) pydantic adapter of an annotation; TraceError where there is none."""
    try:
        return _adapter(annotation) if _hashable(annotation) else TypeAdapter(annotation)
    except PydanticUserError as error:
        raise TraceError(
            f"the type {describe(annotation)} cannot be written as JSON: "
            f"{str(error).splitlines()[0]}",
            where=author_line(),
            next_step="Use str, int, float, bool, list, dict or a pydantic model.",
        ) from None


def schema(annotation: Any) -> dict[str, Any]:
    """Give the JSON Schema of an annotation; TraceError where there is none."""
    try:
        return adapter(annotation).json_schema()
    except PydanticUserError as error:
        raise TraceError(
            f"the type {describe(annotation)} has no JSON Schema: {str(error).splitlines()[0]}",
            where=author_line(),
            next_step="Use str, int, float, bool, list, dict or a pydantic model.",
        ) from None


def shape(annotation: Any) -> Any:
    """Give the JSON Schema without titles and descriptions, which change nothing at run time."""
    return _bare(schema(annotation))


def _bare(node: Any, inside_properties: bool = False) -> Any:
    if isinstance(node, list):
        return [_bare(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _bare(value, key in ("properties", "$defs") and not inside_properties)
        for key, value in node.items()
        if inside_properties or key not in ("title", "description")
    }
