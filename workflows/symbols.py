"""Symbolic values: what an author's variables hold while a workflow is traced.

A symbol carries the Python type it will have. Reading a field, indexing, comparing and adding
record `compute` nodes; whatever needs the real value (`if`, `for`, `len`, f-strings) raises a
TraceError that names the line and says what to write instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from gangline.ir.errors import TraceError

from . import hints
from .hints import describe, is_assignable
from .signature import near
from .sources import author_line

if TYPE_CHECKING:
    from gangline.ir.graph import Value

    from .tracing import Scope

_NUMBERS = int | float


class Symbol:
    """A value that exists only when the workflow runs."""

    __slots__ = ("_gl_scope", "_gl_type", "_gl_value")

    def __init__(self, value: Value, annotation: Any, scope: Scope) -> None:
        for name, given in zip(Symbol.__slots__, (scope, annotation, value), strict=True):
            object.__setattr__(self, name, given)

    def __repr__(self) -> str:
        return f"<symbol of type {describe(self._gl_type)}>"

    # Reading parts ------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        # copy, pickle, pydantic and the like probe for dunder names: they are no fields.
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        known = hints.fields(self._gl_type)
        if known is None:
            _refuse_attribute(self, name)
        if name not in known:
            raise TraceError(
                f"{describe(self._gl_type)} has no field {name!r}",
                where=author_line(),
                next_step=near(name, known) or f"Its fields are {', '.join(known)}.",
            )
        return _compute("get", (self,), known[name], key=name)

    def __getitem__(self, key: Any) -> Any:
        kind = hints.type_name(self._gl_type)
        if isinstance(key, str) and kind == "json":
            known = hints.fields(self._gl_type)
            return getattr(self, key) if known else _get_member(self, key)
        if isinstance(key, bool) or not (
            isinstance(key, int) or (isinstance(key, Symbol) and _is_a(key, int))
        ):
            raise TraceError(
                f"a {describe(self._gl_type)} cannot be indexed by {_shown(key)} in a trace",
                where=author_line(),
                next_step="Index by a whole number or a constant key, or use a @gl.tool.",
            )
        if kind not in ("list", "json", "text"):
            _refuse(self, "indexing it", "Only lists, dicts and text have elements.")
        inner = hints.element(self._gl_type) if kind == "list" else Any
        return _compute("item", (self, key), str if kind == "text" else inner)

    # Comparing ----------------------------------------------------------------------------

    def __eq__(self, other: object) -> Any:
        return _compute("eq", (self, other), bool)

    def __ne__(self, other: object) -> Any:
        return _compute("ne", (self, other), bool)

    def __lt__(self, other: Any) -> Any:
        return _compare("lt", self, other)

    def __le__(self, other: Any) -> Any:
        return _compare("le", self, other)

    def __gt__(self, other: Any) -> Any:
        return _compare("gt", self, other)

    def __ge__(self, other: Any) -> Any:
        return _compare("ge", self, other)

    __hash__ = object.__hash__

    # Logic and arithmetic -------------------------------------------------------------------

    def __and__(self, other: Any) -> Any:
        return _logic("and", self, other)

    def __rand__(self, other: Any) -> Any:
        return _logic("and", other, self)

    def __or__(self, other: Any) -> Any:
        return _logic("or", self, other)

    def __ror__(self, other: Any) -> Any:
        return _logic("or", other, self)

    def __invert__(self) -> Any:
        return _logic("not", self)

    def __add__(self, other: Any) -> Any:
        return _arithmetic("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return _arithmetic("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return _arithmetic("sub", self, other)

    def __rsub__(self, other: Any) -> Any:
        return _arithmetic("sub", other, self)

    def __mul__(self, other: Any) -> Any:
        return _arithmetic("mul", self, other)

    def __rmul__(self, other: Any) -> Any:
        return _arithmetic("mul", other, self)

    # What needs the real value ----------------------------------------------------------------

    def __bool__(self) -> NoReturn:  # noqa: PLE0304 (it never returns)
        _refuse(
            self,
            "using it as a Python bool (if, while, and, or, not)",
            "Write gl.branch(condition, then, orelse), or & | ~ between conditions.",
        )

    def __iter__(self) -> NoReturn:
        _refuse(self, "iterating over it", "Write gl.map(fn, items), or read fields by name.")

    def __len__(self) -> NoReturn:  # noqa: PLE0303
        _refuse(self, "len() of it", "Write gl.length(items).")

    def __contains__(self, item: object) -> NoReturn:
        _refuse(
            self, "`in` on it", 'Do the test in a @gl.tool(effects="none") that returns a bool.'
        )

    def __str__(self) -> str:  # noqa: PLE0307
        _refuse(
            self,
            "writing it into a string (str, f-string, print)",
            "Make it a {field} of an @gl.llm prompt, add texts with +, or use a @gl.tool.",
        )

    def __format__(self, spec: str) -> str:
        return str(self)

    def __int__(self) -> int:
        _refuse(self, "int() of it", 'Convert it in a @gl.tool(effects="none").')

    def __index__(self) -> int:  # noqa: PLE0305
        _refuse(self, "using it as a Python index or count", "Write gl.map(fn, count).")

    def __float__(self) -> float:
        _refuse(self, "float() of it", 'Convert it in a @gl.tool(effects="none").')

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse(self, "calling it", 'Do that work in a @gl.tool(effects="none").')

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        _refuse(self, f"setting its field {name!r}", "Values never change: build a new one.")

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        _refuse(self, "setting an element", "Values never change: build a new one.")

    def __truediv__(self, other: Any) -> NoReturn:
        _refuse(self, "dividing it", 'Do that work in a @gl.tool(effects="none").')

    __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __truediv__
    __neg__ = __abs__ = __truediv__


def _refuse(symbol: Symbol, action: str, next_step: str) -> NoReturn:
    raise TraceError(
        f"a {describe(symbol._gl_type)} that is only known when the workflow runs does not "
        f"allow {action}",
        where=author_line(),
        next_step=next_step,
    )


def _refuse_attribute(symbol: Symbol, name: str) -> NoReturn:
    kind = describe(symbol._gl_type)
    raise TraceError(
        f"a {kind} has no field {name!r} in a trace",
        where=author_line(),
        next_step=f"Return a pydantic model with that field, or write a tool that uses .{name}.",
    )


def _get_member(symbol: Symbol, key: str) -> Any:
    return _compute("get", (symbol,), hints.member(symbol._gl_type), key=key)


def _shown(value: Any) -> str:
    return repr(value) if not isinstance(value, Symbol) else f"a {describe(value._gl_type)}"


def kind_of(value: Any) -> Any:
    """Give the annotation of a symbol, or the class of a constant."""
    return value._gl_type if isinstance(value, Symbol) else type(value)


def _is_a(value: Any, wanted: Any) -> bool:
    return is_assignable(kind_of(value), wanted)


def _require(values: tuple[Any, ...], wanted: Any, sign: str) -> None:
    for value in values:
        if not _is_a(value, wanted):
            raise TraceError(
                f"`{sign}` does not work on {describe(kind_of(value))}",
                where=author_line(),
                next_step='Do that work in a @gl.tool(effects="none").',
            )


def _compare(fn: str, left: Any, right: Any) -> Any:
    texts = _is_a(left, str) and _is_a(right, str)
    if not texts:
        _require((left, right), _NUMBERS, {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}[fn])
    return _compute(fn, (left, right), bool)


def _logic(fn: str, *values: Any) -> Any:
    _require(values, bool, {"and": "&", "or": "|", "not": "~"}[fn])
    return _compute(fn, values, bool)


def _arithmetic(fn: str, left: Any, right: Any) -> Any:
    if fn == "add" and _is_a(left, str) and _is_a(right, str):
        return _compute(fn, (left, right), str)
    if fn == "add" and _is_a(left, list) and _is_a(right, list):
        same = kind_of(left) == kind_of(right)
        return _compute(fn, (left, right), kind_of(left) if same else list)
    _require((left, right), _NUMBERS, {"add": "+", "sub": "-", "mul": "*"}[fn])
    whole = _is_a(left, int) and _is_a(right, int)
    return _compute(fn, (left, right), int if whole else float)


def _compute(fn: str, operands: tuple[Any, ...], annotation: Any, **attributes: Any) -> Any:
    from .tracing import current

    return current().compute(fn, operands, annotation, **attributes)
