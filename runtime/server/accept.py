"""Whether a caller takes what an operation answers with (the Accept header)."""

from __future__ import annotations

from functools import lru_cache

from gangline.ir.errors import RequestError

from .operation import Operation
from .problem import Refused


def acceptable(accept: str, operation: Operation) -> None:
    """Raise Refused with 406 where a caller takes none of an operation's media types."""
    if not accept or "*/*" in accept:
        return
    if not _takes(accept, tuple(answer.media_type for answer in operation.answers)):
        made = sorted({answer.media_type for answer in operation.answers if answer.schema})
        raise Refused(
            RequestError(
                "The answer has none of the types that are accepted",
                where="accept",
                next_step=f"This operation makes {' or '.join(made)}.",
            ),
            406,
        )


@lru_cache(512)
def _takes(accept: str, made: tuple[str, ...]) -> bool:
    for part in accept.split(","):
        wanted, _, parameters = part.strip().lower().partition(";")
        if parameters.replace(" ", "").split(";")[0] in ("q=0", "q=0.0"):
            continue
        kind, _, subtype = wanted.strip().partition("/")
        for media_type in made:
            has_kind, _, has_subtype = media_type.partition("/")
            if kind in (has_kind, "*") and subtype in (has_subtype, "*"):
                return True
    return False
