"""A row of the route table: what makes both the route and its part of the OpenAPI document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from .call import Call
from .problem import Refused

Asgi = Callable[[Any, Any, Any], Awaitable[None]]
Handler = Callable[[Call], Awaitable[Asgi]]
Schema = type[BaseModel] | Mapping[str, Any]
ShowError = Callable[[Refused, Call], Asgi]

PROBLEMS = (400, 401, 403, 404, 406, 413, 422, 429, 500, 503)


@dataclass(frozen=True, slots=True)
class Header:
    """A request header that an operation reads."""

    name: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """One way an operation may answer; `headers` maps names to what they tell."""

    status: int
    description: str
    schema: Schema | None = None
    media_type: str = "application/json"
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    Attributes:
        path: an OpenAPI template such as `/v1/jobs/{id}:cancel`; a parameter matches anything
            but `/` and `:`, or with `path_patterns` what is given there (a regular expression).
        scope: `submit`, `read` or `admin`; None lets everybody in, without a key too.
        body: the model the body is checked against; None for an operation without a body.
        body_optional: an empty body then stands for `{}`.
        query: a model with one field per query parameter; others are refused.
        problems: statuses it may answer with problem+json, beside those every operation has.
        show_error: writes errors in another form than problem+json.
        hidden: keep it out of the OpenAPI document.
        makes: name of a path parameter that the `id` of its answer is a value of.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    id: str
    summary: str
    handler: Handler
    answers: tuple[Answer, ...]
    scope: str | None = "read"
    tag: str = "jobs"
    body: type[BaseModel] | None = None
    body_optional: bool = False
    query: type[BaseModel] | None = None
    headers: tuple[Header, ...] = ()
    problems: tuple[int, ...] = ()
    path_patterns: Mapping[str, str] | None = None
    show_error: ShowError | None = None
    hidden: bool = False
    description: str = ""
    makes: str = ""
