"""Memory as all parts know it: its limits, names of spaces, and embeddings as JSON."""

from __future__ import annotations

import base64
import re
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from gangline.ir.errors import InputError

MAX_VALUE_BYTES = 256 << 10
"""Most bytes of one entry as JSON: a prompt could not hold more of it anyway."""
MAX_KEY_CHARS = 512
MAX_QUERY_CHARS = 64 << 10
MAX_ENTRIES = 100_000
"""Most entries of one space; lookups by text and by vector look at every one that may fit."""
MAX_LIMIT = 1000
"""Most entries one lookup gives."""
MAX_DIMENSIONS = 65_536

_SPACE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
SPACE_RULE = "lower-case letters, digits, `_`, `.` and `-`, at most 63 of them"


def is_space(name: object) -> bool:
    """Tell whether a text can be the name of a memory space."""
    return isinstance(name, str) and _SPACE.fullmatch(name) is not None


def vector_to_json(model: str, values: Sequence[float]) -> dict[str, Any]:
    """Write an embedding down: its model, and float32 numbers, little-endian, in base64.

    A step's value is kept in the log; as numbers in decimal it would be four times as long.
    """
    numbers = array("f", values)
    if sys.byteorder == "big":
        numbers.byteswap()
    coded = base64.b64encode(numbers.tobytes()).decode()
    return {"model": model, "dimensions": len(numbers), "float32": coded}


def vector_from_json(value: Any) -> tuple[str, bytes]:
    """Give the model and the float32 bytes of `vector_to_json`; InputError for anything else."""
    try:
        model, coded = value["model"], value["float32"]
        data = base64.b64decode(coded, validate=True)
    except (TypeError, KeyError, ValueError):
        raise _no_vector("it is no object of model, dimensions and float32") from None
    if not isinstance(model, str) or len(data) != 4 * _dimensions(value):
        raise _no_vector("its parts do not fit together")
    return model, data


def _dimensions(value: Mapping[str, Any]) -> int:
    size = value.get("dimensions")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= MAX_DIMENSIONS:
        raise _no_vector(f"it has {size!r} dimensions")
    return size


def _no_vector(problem: str) -> InputError:
    return InputError(
        f"This is no embedding: {problem}",
        next_step="Use what a stage.embed gave.",
    )
