"""From Python values to symbols: constants, symbols, and containers of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from gangline.ir.errors import TraceError

from . import hints
from .hints import adapter, describe
from .prompt_cache import PromptCache
from .signature import near
from .sources import author_line
from .symbols import Symbol, kind_of

if TYPE_CHECKING:
    from .tracing import Tracer


class Lifter:
    """Turns Python values into symbols of one trace."""

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer

    def lift(self, value: Any, annotation: Any) -> Symbol:
        """Give the symbol of a value wanted as `annotation`; TraceError where it cannot be."""
        if isinstance(value, Symbol):
            return value
        if isinstance(value, PromptCache):
            value.refuse()
        if not holds_symbol(value):
            return self._constant(value, annotation)
        if isinstance(value, Mapping):
            return self._mapping(value, annotation)
        return self._sequence(value, annotation)

    def _constant(self, value: Any, annotation: Any) -> Symbol:
        if hints.strip(annotation) in (Any, object):
            annotation = _type_of_constant(value)
        try:
            checked = adapter(annotation).validate_python(value, strict=not _is_container(value))
            plain = adapter(annotation).dump_python(checked, mode="json")
        except (ValidationError, ValueError) as error:
            raise TraceError(
                f"{value!r} is no {describe(annotation)}: {_first(error)}",
                where=author_line(),
                next_step=f"Give a value of type {describe(annotation)}.",
            ) from None
        return self.tracer.constant(plain, annotation)

    def _sequence(self, items: Sequence[Any], annotation: Any) -> Symbol:
        wanted = Any
        if hints.type_name(annotation) == "list":
            wanted = hints.element(annotation)
        symbols = [self.tracer.checked(item, wanted, "an element is") for item in items]
        kinds = [kind_of(symbol) for symbol in symbols]
        same = all(kind == kinds[0] for kind in kinds[1:])
        return self.tracer.compute("list", symbols, hints.list_of(kinds[0] if same else Any))

    def _mapping(self, items: Mapping[str, Any], annotation: Any) -> Symbol:
        known = hints.fields(annotation)
        if known is not None:
            return self.record(annotation, items)
        inner = hints.member(annotation)
        symbols = [self.tracer.checked(item, inner, f"{key!r} is") for key, item in items.items()]
        kind = hints.strip(annotation)
        found = kind if hints.type_name(kind) == "json" and kind is not Any else dict
        return self.tracer.compute("dict", symbols, found, keys=list(items))

    def record(self, model: Any, items: Mapping[str, Any]) -> Symbol:
        """Build a pydantic model of symbols; fields left out take their constant default."""
        known = hints.fields(model) or {}
        for name in items:
            if name not in known:
                raise TraceError(
                    f"{describe(model)} has no field {name!r}",
                    where=author_line(),
                    next_step=near(name, known) or f"Its fields are {', '.join(known)}.",
                )
        given = {**_defaults(model, items), **items}
        missing = [name for name in known if name not in given]
        if missing:
            raise TraceError(
                f"{describe(model)} needs a value for {missing[0]!r}",
                where=author_line(),
                next_step=f"Add {missing[0]}=...",
            )
        symbols = [
            self.tracer.checked(given[name], known[name], f"field {name!r} is") for name in known
        ]
        return self.tracer.compute("dict", symbols, hints.strip(model), keys=list(known))


def _defaults(model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: field.get_default(call_default_factory=True, validated_data={})
        for name, field in model.model_fields.items()
        if name not in given and not field.is_required()
    }


def holds_symbol(value: Any) -> bool:
    """Tell whether a list, tuple or dict holds a symbol at any depth."""
    if isinstance(value, Symbol | PromptCache):
        return True
    if isinstance(value, Mapping):
        return any(holds_symbol(item) for item in value.values())
    return isinstance(value, list | tuple) and any(holds_symbol(item) for item in value)


def _is_container(value: Any) -> bool:
    # JSON knows no tuples: inside containers the lax rules of pydantic are the useful ones.
    return isinstance(value, list | tuple | dict | range)


def _type_of_constant(value: Any) -> Any:
    if isinstance(value, list | tuple | range):
        kinds = {type(item) for item in value}
        return hints.list_of(kinds.pop() if len(kinds) == 1 else Any)
    return type(value)


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False)[0]
        at = ".".join(str(part) for part in found["loc"])
        return f"{at}: {found['msg']}" if at else found["msg"]
    return str(error)
