"""Units and what they are worth: factors to the first unit of each kind (SI and NIST SP 811)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from gangline.ir.errors import InputError

# fmt: off
Unit = Literal[
    "m", "km", "cm", "mm", "mi", "yd", "ft", "in", "nmi",
    "kg", "g", "mg", "t", "lb", "oz", "l", "ml", "gal",
    "pint", "cup", "s", "min", "h", "day", "week", "m2", "km2",
    "ha", "acre", "ft2", "m/s", "km/h", "mph", "knot", "J", "kJ",
    "kWh", "kcal", "B", "kB", "MB", "GB", "TB", "C", "F",
    "K",
]
# fmt: on

KINDS: Mapping[str, Mapping[str, float]] = {
    "length": {
        "m": 1.0,
        "km": 1000.0,
        "cm": 0.01,
        "mm": 0.001,
        "mi": 1609.344,
        "yd": 0.9144,
        "ft": 0.3048,
        "in": 0.0254,
        "nmi": 1852.0,
    },
    "mass": {"kg": 1.0, "g": 1e-3, "mg": 1e-6, "t": 1000.0, "lb": 0.45359237, "oz": 0.028349523125},
    "volume": {"l": 1.0, "ml": 1e-3, "gal": 3.785411784, "pint": 0.473176473, "cup": 0.2365882365},
    "time": {"s": 1.0, "min": 60.0, "h": 3600.0, "day": 86400.0, "week": 604800.0},
    "area": {"m2": 1.0, "km2": 1e6, "ha": 1e4, "acre": 4046.8564224, "ft2": 0.09290304},
    "speed": {"m/s": 1.0, "km/h": 1 / 3.6, "mph": 0.44704, "knot": 1852 / 3600},
    "energy": {"J": 1.0, "kJ": 1000.0, "kWh": 3.6e6, "kcal": 4184.0},
    "data": {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12},
}
_DIGITS = 12


def converted(value: float, unit_from: str, unit_to: str) -> float:
    """Give a value in another unit of its kind; InputError where the two do not fit."""
    first, second = _kind(unit_from), _kind(unit_to)
    if first != second:
        raise InputError(
            f"{unit_from} is a {first} and {unit_to} is a {second}",
            where="unit_to",
            next_step="Convert between units of one kind.",
        )
    if first == "temperature":
        return _tidy(_from_kelvin(_to_kelvin(value, unit_from), unit_to))
    return _tidy(value * KINDS[first][unit_from] / KINDS[first][unit_to])


def _kind(unit: str) -> str:
    return next((kind for kind, units in KINDS.items() if unit in units), "temperature")


def _to_kelvin(value: float, unit: str) -> float:
    return {"K": value, "C": value + 273.15, "F": (value - 32) / 1.8 + 273.15}[unit]


def _from_kelvin(value: float, unit: str) -> float:
    return {"K": value, "C": value - 273.15, "F": (value - 273.15) * 1.8 + 32}[unit]


def _tidy(value: float) -> float:
    """Leave out digits that only rounding made: 26.219999999999995 is 26.22."""
    return float(f"{value:.{_DIGITS}g}")
