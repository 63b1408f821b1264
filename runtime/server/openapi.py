"""The OpenAPI document, made from the route table and its models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gangline.runtime.service.job_request import JobRequest

from . import models
from .operation import PROBLEMS, Answer, Operation

_REFERENCE = "#/components/schemas/{model}"
_TITLES = {
    400: "The request cannot be read.",
    401: "No key, or one that is not known.",
    403: "The key, the host or the origin does not allow this.",
    404: "There is no such thing.",
    405: "The path has no such method.",
    406: "None of the accepted types is made.",
    409: "The job's state does not allow this now.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The request is read, and wrong.",
    429: "A quota is used up; see Retry-After.",
    500: "A fault of the server.",
    503: "No room, or the server is stopping; see Retry-After.",
}
_RETRY = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds."}}
_SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key made with `gangline keys create`. A server without keys asks for none.",
    }
}
_DESCRIPTION = (
    "Durable jobs of agent workflows. Times are seconds since the epoch, money is US dollars. "
    "Errors are problem+json with a stable `code` and a `next_step`."
)

Json = dict[str, Any]


def openapi_document(
    table: Iterable[Operation],
    version: str,
    jobs: Mapping[str, Any] | None = None,
    *,
    locked: bool = True,
) -> Json:
    """Describe a route table as OpenAPI 3.1.

    Args:
        jobs: examples of requests for one.
        locked: whether the server asks for keys; where it has none, it needs none.
    """
    rows = [row for row in table if not row.hidden]
    schemas, references = _schemas(rows)
    paths: dict[str, Json] = {}
    for row in rows:
        document = _operation(row, references, locked)
        paths.setdefault(row.path, {})[row.method.lower()] = document
        if row.makes:
            _link(document, [other for other in rows if f"{{{row.makes}}}" in other.path])
        if row.body is JobRequest and jobs:
            document["requestBody"]["content"]["application/json"]["examples"] = dict(jobs)
    return {
        "openapi": "3.1.0",
        "info": {"title": "gangline", "version": version, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _SECURITY},
    }


def _schemas(rows: Iterable[Operation]) -> tuple[Json, dict[tuple[type[BaseModel], str], Json]]:
    """Give all models as schemas, and what refers to each, by model and direction."""
    wanted: dict[tuple[type[BaseModel], str], None] = {(models.Problem, "serialization"): None}
    for row in rows:
        if row.body is not None:
            wanted[row.body, "validation"] = None
        for answer in row.answers:
            if isinstance(answer.schema, type):
                wanted[answer.schema, "serialization"] = None
    inputs: Any = list(wanted)
    references, definitions = models_json_schema(inputs, ref_template=_REFERENCE)
    return definitions.get("$defs", {}), dict(references)  # type: ignore[arg-type]


def _operation(row: Operation, references: Mapping[Any, Json], locked: bool) -> Json:
    document: Json = {
        "operationId": row.id,
        "summary": row.summary,
        "tags": [row.tag],
        "security": [{"bearer": []}] if locked and row.scope is not None else [],
        "responses": _responses(row, references),
    }
    if row.description:
        document["description"] = row.description
    if row.scope is not None:
        document["x-scope"] = row.scope
    parameters = [*_path_parameters(row), *_query_parameters(row), *_header_parameters(row)]
    if parameters:
        document["parameters"] = parameters
    if row.body is not None:
        schema = references[row.body, "validation"]
        content = {"application/json": {"schema": schema}}
        document["requestBody"] = {"required": not row.body_optional, "content": content}
    return document


def _link(document: Json, followers: Iterable[Operation]) -> None:
    """Say of every answer with an `id` which operations take it."""
    links = {
        row.id: {"operationId": row.id, "parameters": {"id": "$response.body#/id"}}
        for row in followers
    }
    for status, response in document["responses"].items():
        if status in ("200", "202"):
            response["links"] = links


def _path_parameters(row: Operation) -> list[Json]:
    names = re.findall(r"\{(\w+)\}", row.path)
    patterns = row.path_patterns or {}
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": f"^{patterns.get(name, '[^/:]+')}$"},
        }
        for name in names
    ]


def _query_parameters(row: Operation) -> list[Json]:
    if row.query is None:
        return []
    schema = row.query.model_json_schema()
    required = schema.get("required", ())
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": field.pop("description", ""),
            "schema": _not_null(field),
        }
        for name, field in schema["properties"].items()
    ]


def _not_null(field: Json) -> Json:
    """Leave null out of a parameter's schema: in a query, what is not given is left out."""
    kinds = [kind for kind in field.get("anyOf", ()) if kind.get("type") != "null"]
    kept = {name: value for name, value in field.items() if name not in ("anyOf", "title")}
    if kept.get("default", ...) is None:
        del kept["default"]
    return {**kept, **kinds[0]} if len(kinds) == 1 else field


def _header_parameters(row: Operation) -> list[Json]:
    return [
        {
            "name": header.name,
            "in": "header",
            "required": False,
            "description": header.description,
            "schema": dict(header.schema),
        }
        for header in row.headers
    ]


def _responses(row: Operation, references: Mapping[Any, Json]) -> Json:
    responses: dict[str, Json] = {}
    for answer in row.answers:
        _add(responses.setdefault(str(answer.status), {"description": ""}), answer, references)
    for status in sorted({*PROBLEMS, *row.problems, *_implied(row)}):
        response = responses.setdefault(str(status), {"description": _TITLES[status]})
        schema = references[models.Problem, "serialization"]
        response.setdefault("content", {})["application/problem+json"] = {"schema": schema}
        if status in (429, 503):
            response.setdefault("headers", {}).update(_RETRY)
    return dict(sorted(responses.items()))


def _implied(row: Operation) -> tuple[int, ...]:
    return (405, 415) if row.body is not None else (405,)


def _add(response: Json, answer: Answer, references: Mapping[Any, Json]) -> None:
    response["description"] = " ".join(filter(None, (response["description"], answer.description)))
    for name, description in (answer.headers or {}).items():
        header = {"schema": {"type": "string"}, "description": description}
        response.setdefault("headers", {})[name] = header
    if answer.schema is None and answer.media_type == "application/json":
        return  # no body
    schema: Any = {"type": "string"}
    if isinstance(answer.schema, type):
        schema = references[answer.schema, "serialization"]
    elif answer.schema is not None:
        schema = dict(answer.schema)
    response.setdefault("content", {})[answer.media_type] = {"schema": schema}
