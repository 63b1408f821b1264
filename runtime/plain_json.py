"""JSON that can be stored: no NaN or infinity, no lone surrogates, no nesting without end.

Text that a model wrote is untrusted. What Python's reader takes beyond JSON (`NaN`, `1e999`,
`"\\ud800"`) would be refused only when the event that holds it is stored, and then the job could
neither go on nor fail.
"""

from __future__ import annotations

import json
from typing import Any


def parse(text: str) -> Any:
    """Read JSON text; ValueError if it is none, or holds what cannot be stored."""
    try:
        return storable(json.loads(text))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def storable(value: Any) -> Any:
    """Give a value back; ValueError if it cannot be stored as JSON."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return value
