"""The KV cache of a prompt's beginning, as a value of a workflow: what `draft.cache(...)` gives."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from gangline.ir.errors import TraceError

from .signature import near
from .sources import author_line

if TYPE_CHECKING:
    from .symbols import Symbol

Template = Sequence[Mapping[str, str]]
_FIELD = re.compile(r"\{\{|\}\}|\{(\w+)\}")


@dataclass(frozen=True, slots=True, eq=False)
class PromptCache:
    """What a prompt begins with: computed once, as soon as its fields are known.

    Calls continue it with `draft(question=..., cache=kv)`. It lives inside one workflow: no tool
    and no other workflow can take it.

    Attributes:
        made_by: the name of the llm whose prompt it begins.
        template: the messages it holds; the last of them goes on.
        values: its fields by name.
    """

    made_by: str
    model: str
    template: Template
    values: Mapping[str, Symbol]
    symbol: Symbol

    def __iter__(self) -> NoReturn:
        self.refuse()

    def refuse(self) -> NoReturn:
        """Raise the TraceError of a cache that is used as a value of a step."""
        raise TraceError(
            f"the cache of {self.made_by}() is no value that a step can read or a workflow return",
            where=author_line(),
            next_step=f"Give it to a model call of this workflow: {self.made_by}(..., cache=kv).",
        )


def head_of(name: str, template: Template, given: Collection[str]) -> list[dict[str, str]]:
    """Give the messages of a template up to its first field that is not given.

    Raises:
        TraceError: a given field comes later, or nothing comes before.
    """
    message, end, missing = _first_missing(template, given)
    head = [
        *map(dict, template[:message]),
        {**template[message], "text": template[message]["text"][:end]},
    ]
    held = fields_of(head)
    for field in given:
        if field not in held:
            raise TraceError(
                f"{field!r} is given to {name}.cache(), but {{{missing}}} stands before it in the "
                "prompt",
                where=author_line(),
                next_step=f"Give {missing} as well, leave {field} to the calls, or write "
                f"{{{field}}} before {{{missing}}} in the prompt.",
            )
    if not any(row["text"] for row in head):
        raise TraceError(
            f"{name}.cache() holds nothing: the prompt begins with {{{missing}}}",
            where=author_line(),
            next_step=f"Give {missing}, or write what all calls share in front of it.",
        )
    return head


def rest_of(name: str, model: str, template: Template, cache: PromptCache) -> list[dict[str, str]]:
    """Give what is left of a template behind a cache; its first message goes on with the cache's.

    Raises:
        TraceError: the prompt does not begin with what the cache holds, or is another model's.
    """
    if cache.model != model:
        raise TraceError(
            f"the cache of {cache.made_by}() is of the model {cache.model!r}, and {name}() asks "
            f"{model!r}",
            where=author_line(),
            next_step=f"Make one with {name}.cache(...), or let both ask the same model.",
        )
    head, last = list(map(dict, cache.template)), len(cache.template) - 1
    same = last < len(template) and list(map(dict, template[:last])) == head[:last]
    if not same or template[last]["role"] != head[last]["role"]:
        _refuse_other(name, cache)
    text, begun = template[last]["text"], head[last]["text"]
    if not text.startswith(begun):
        _refuse_other(name, cache)
    return [{**template[last], "text": text[len(begun) :]}, *map(dict, template[last + 1 :])]


def fields_of(template: Template) -> list[str]:
    """Give the fields of some messages, in order of first use."""
    found = (m[1] for row in template for m in _FIELD.finditer(row["text"]) if m[1])
    return list(dict.fromkeys(found))


def check_fields(name: str, given: Collection[str], used: Collection[str]) -> None:
    """Raise TraceError where something else than a field of the prompt is to be kept."""
    for field in given:
        if field not in used:
            raise TraceError(
                f"{field!r} is no field of the prompt of {name}()",
                where=author_line(),
                next_step=near(field, used)
                or f"Its fields are {', '.join(used)}; give anything else to the call.",
            )


def check_apart(name: str, given: Collection[str], cache: PromptCache) -> None:
    """Raise TraceError where a call gives what its cache holds already."""
    for field in given:
        if field in cache.values:
            raise TraceError(
                f"{field!r} is in the cache that {name}() continues, and is given again",
                where=author_line(),
                next_step=f"Leave {field} out of this call, or call {name}() without cache=.",
            )


def _first_missing(template: Template, given: Collection[str]) -> tuple[int, int, str]:
    """Find the first field that is not given: its message, where it begins there, its name."""
    for at, row in enumerate(template):
        for match in _FIELD.finditer(row["text"]):
            if match[1] is not None and match[1] not in given:
                return at, match.start(), match[1]
    return len(template) - 1, len(template[-1]["text"]), ""


def _refuse_other(name: str, cache: PromptCache) -> NoReturn:
    raise TraceError(
        f"the prompt of {name}() does not begin with what the cache of {cache.made_by}() holds",
        where=author_line(),
        next_step=f"Make the cache with {name}.cache(...), or let both prompts begin alike.",
    )
