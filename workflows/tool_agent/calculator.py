"""Work out an arithmetic expression: a small parser, bounded in every way, and no eval.

sum      product (("+" | "-") product)*
product  signed (("*" | "/" | "//" | "%") signed)*
signed   ("+" | "-") signed | power
power    atom (("**" | "^") signed)?
atom     number | name | name "(" sum ("," sum)* ")" | "(" sum ")"
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from gangline.ir.errors import InputError

from . import settings

Number = int | float

_TOKEN = re.compile(
    r"\s*(?:(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)|([A-Za-z]\w*)|(\*\*|//|[-+*/%^(),]))"
)
_CONSTANTS: Mapping[str, Number] = {"pi": math.pi, "e": math.e}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "exp": math.exp,
    "floor": math.floor,
    "log": math.log,
    "log10": math.log10,
    "max": max,
    "min": min,
    "round": round,
    "sin": math.sin,
    "sqrt": math.sqrt,
    "tan": math.tan,
}
_LAST = ""


def evaluate(expression: str) -> Number:
    """Give the value of an expression; whole numbers stay exact where they can.

    Raises:
        InputError: it is no expression, has no value, or is too large.
    """
    if len(expression) > settings.MAX_EXPRESSION_CHARS:
        raise _error("The expression is too long")
    return _Parser(expression).result()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text, self._at, self._depth = text, 0, 0
        self._token: str | Number = _LAST
        self._next()

    def result(self) -> Number:
        value = self._sum()
        if self._token != _LAST or self._at < len(self._text):
            self._fail()
        return value

    def _next(self) -> None:
        found = _TOKEN.match(self._text, self._at)
        if found is None:
            if self._text[self._at :].strip():
                self._fail()
            self._at, self._token = len(self._text), _LAST
            return
        self._at = found.end()
        if found[1] is not None:
            self._token = _checked(int(found[1]) if found[1].isdigit() else float(found[1]))
        else:
            self._token = found[2] or found[3]

    def _took(self, *marks: str) -> str:
        token = self._token
        if isinstance(token, str) and token in marks and token:
            self._next()
            return token
        return _LAST

    def _sum(self) -> Number:
        value = self._product()
        while mark := self._took("+", "-"):
            other = self._product()
            value = _checked(value + other if mark == "+" else value - other)
        return value

    def _product(self) -> Number:
        value = self._signed()
        while mark := self._took("*", "/", "//", "%"):
            value = _multiplied(mark, value, self._signed())
        return value

    def _signed(self) -> Number:
        self._depth += 1
        if self._depth > settings.MAX_EXPRESSION_DEPTH:
            raise _error("The expression is nested too deeply")
        mark = self._took("+", "-")
        value = self._signed() if mark else self._power()
        self._depth -= 1
        return -value if mark == "-" else value

    def _power(self) -> Number:
        value = self._atom()
        return _power(value, self._signed()) if self._took("**", "^") else value

    def _atom(self) -> Number:
        token = self._token
        if isinstance(token, int | float):
            self._next()
            return token
        if self._took("("):
            return self._closed(self._sum())
        if token in _CONSTANTS or token in _FUNCTIONS:
            self._next()
            return self._named(token)
        self._fail()

    def _named(self, name: str) -> Number:
        if name not in _FUNCTIONS:
            return _CONSTANTS[name]
        if not self._took("("):
            self._fail()
        arguments = [self._sum()]
        while self._took(","):
            arguments.append(self._sum())
        return self._closed(_called(name, arguments))

    def _closed(self, value: Number) -> Number:
        if not self._took(")"):
            self._fail()
        return value

    def _fail(self) -> NoReturn:
        shown = self._text[: self._at][-20:] or self._text[:20]
        raise _error(f"The expression cannot be read near {shown!r}")


def _multiplied(mark: str, left: Number, right: Number) -> Number:
    try:
        if mark == "/" and isinstance(left, int) and isinstance(right, int) and left % right == 0:
            return left // right
        known = {"*": operator.mul, "/": operator.truediv}
        known.update({"//": operator.floordiv, "%": operator.mod})
        return _checked(known[mark](left, right))
    except ZeroDivisionError:
        raise _error("The expression divides by zero") from None
    except OverflowError:
        raise _error("A number of the expression is too large") from None


def _power(base: Number, exponent: Number) -> Number:
    whole = isinstance(base, int) and isinstance(exponent, int) and exponent >= 0
    # Looked at before it is computed: 9 ** 9 ** 9 would take all memory.
    if whole and max(int(base).bit_length(), 1) * exponent > 2 * settings.MAX_INTEGER_BITS:
        if abs(base) > 1:
            raise _error("A number of the expression is too large")
        exponent = 2 + exponent % 2
    try:
        return _checked(base**exponent if whole else math.pow(base, exponent))
    except (OverflowError, ValueError):
        raise _error("A power in the expression has no value, or is too large") from None


def _called(name: str, arguments: list[Number]) -> Number:
    try:
        return _checked(_FUNCTIONS[name](*arguments))
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        shown = ", ".join(map(str, arguments))[:60]
        raise _error(f"{name}({shown}) has no value") from None


def _checked(value: Any) -> Number:
    too_wide = isinstance(value, int) and value.bit_length() > settings.MAX_INTEGER_BITS
    if too_wide or (isinstance(value, float) and not math.isfinite(value)):
        raise _error("A number of the expression is too large")
    if not isinstance(value, int | float):
        raise _error("The expression has no single value")
    return value


def _error(detail: str) -> InputError:
    return InputError(
        detail,
        where="expression",
        next_step="Write numbers, + - * / // % ** and parentheses, or sqrt, round, max, min, log.",
    )
