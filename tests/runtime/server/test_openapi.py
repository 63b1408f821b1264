"""The OpenAPI document says what the server does: all of it, and nothing else."""

from __future__ import annotations

from typing import Any

import httpx
import jsonschema

from gangline.runtime.server.operation import PROBLEMS
from gangline.runtime.server.table import OPERATIONS

PEERS_D = {
    *("POST /v1/jobs", "GET /v1/jobs", "POST /v1/jobs:batch", "POST /v1/jobs:plan"),
    *("GET /v1/jobs/{id}", "GET /v1/jobs/{id}/steps", "GET /v1/jobs/{id}/events"),
    *("GET /v1/jobs/{id}/plan", "GET /v1/jobs/{id}/graph", "GET /v1/jobs/{id}/artifacts"),
    *("POST /v1/jobs/{id}:cancel", "POST /v1/jobs/{id}:resume", "POST /v1/jobs/{id}:retry"),
    *("POST /v1/jobs/{id}:fork", "GET /v1/workflows", "GET /v1/workflows/{name}"),
    *("GET /v1/devices", "GET /v1/capacity", "GET /healthz", "GET /readyz"),
}


def document(client: httpx.Client) -> Any:
    return client.get("/openapi.json").json()


def test_every_operation_of_the_table_is_described(client: httpx.Client) -> None:
    paths = document(client)["paths"]
    described = {f"{method.upper()} {path}" for path, found in paths.items() for method in found}
    shown = {f"{row.method} {row.path}" for row in OPERATIONS if not row.hidden}
    assert described >= shown >= PEERS_D
    ids = [found["operationId"] for methods in paths.values() for found in methods.values()]
    assert len(ids) == len(set(ids))


def test_every_operation_tells_its_problems(client: httpx.Client) -> None:
    for path, methods in document(client)["paths"].items():
        for method, found in methods.items():
            told = {int(status) for status in found["responses"]}
            assert told >= {*PROBLEMS, 405}, path
            assert 415 in told or "requestBody" not in found, path
            for status in (429, 503):
                assert "Retry-After" in found["responses"][str(status)]["headers"], (path, method)


def test_references_lead_somewhere(client: httpx.Client) -> None:
    whole = document(client)

    def look(part: Any) -> None:
        if isinstance(part, dict):
            if "$ref" in part:
                name = part["$ref"].removeprefix("#/components/schemas/")
                assert name in whole["components"]["schemas"]
            for value in part.values():
                look(value)
        elif isinstance(part, list):
            for value in part:
                look(value)

    look(whole["paths"])
    for schema in whole["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_keys_are_asked_for_where_the_document_says_so(locked: Any) -> None:
    with locked.client() as client:
        for path, methods in document(client)["paths"].items():
            for method, found in methods.items():
                answer = client.request(method, path, json={} if method == "post" else None)
                assert (answer.status_code == 401) == bool(found["security"]), path


def test_a_server_without_keys_asks_for_none_in_its_document_either(client: httpx.Client) -> None:
    for methods in document(client)["paths"].values():
        assert all(found["security"] == [] for found in methods.values())


def test_examples_name_workflows_to_those_with_a_key_only(locked: Any, keys: Any) -> None:
    with locked.client() as stranger, locked.client(keys["anna"].key) as anna:
        assert "five_steps" not in stranger.get("/openapi.json").text
        body = document(anna)["paths"]["/v1/jobs"]["post"]["requestBody"]
        examples = body["content"]["application/json"]["examples"]
        assert examples["five_steps"]["value"] == {
            "workflow": "five_steps",
            "input": {"number": 1},
        }
        for example in examples.values():
            assert anna.post("/v1/jobs", json=example["value"]).status_code == 202
