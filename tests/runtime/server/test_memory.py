"""`/v1/memory`: a tenant sees and forgets what its own workflows remember."""

from __future__ import annotations

from typing import Any

import pytest

from gangline.runtime.store.memory_rows import Write


def fill(served: Any) -> None:
    memory = served.service.store.memory
    for tenant, key, value in (
        ("anna", "a/b:c d", "blue sky"),
        ("anna", "k", {"n": 1}),
        ("bert", "k", "of bert"),
    ):
        write = Write(f"{tenant}/{key}", "job")
        memory.remember(tenant, "notes", value, write, 5.0, key=key).result(10)
    memory.observe("anna", "log", "began", None, Write("anna/o", "job"), 5.0).result(10)


def test_spaces_and_entries(locked: Any, keys: Any) -> None:
    fill(locked)
    with locked.client(keys["anna"].key) as anna:
        spaces = anna.get("/v1/memory").json()["data"]
        assert [(row["space"], row["kind"], row["entries"]) for row in spaces] == [
            ("log", "log", 1),
            ("notes", "entries", 2),
        ]
        assert "tenant" not in spaces[0]
        page = anna.get("/v1/memory/notes", params={"limit": 1}).json()
        assert [row["key"] for row in page["data"]] == ["a/b:c d"] and page["next"] == "a/b:c d"
        rest = anna.get("/v1/memory/notes", params={"after": page["next"]}).json()
        assert [row["value"] for row in rest["data"]] == [{"n": 1}] and rest["next"] is None
        found = anna.get("/v1/memory/notes", params={"find": 'sky" OR *'}).json()["data"]
        assert [row["key"] for row in found] == ["a/b:c d"] and found[0]["score"] > 0
        assert anna.get("/v1/memory/notes/a%2Fb:c%20d").json()["value"] == "blue sky"
        assert anna.get("/v1/memory/log/1").json()["value"]["event"] == "began"


def test_another_tenant_s_memory_does_not_exist(locked: Any, keys: Any) -> None:
    fill(locked)
    with locked.client(keys["bert"].key) as bert:
        assert [row["entries"] for row in bert.get("/v1/memory").json()["data"]] == [1]
        assert bert.get("/v1/memory/notes/k").json()["value"] == "of bert"
        assert bert.get("/v1/memory/notes", params={"find": "sky"}).json()["data"] == []
        for path in ("/v1/memory/log", "/v1/memory/log/1", "/v1/memory/notes/a%2Fb:c%20d"):
            for method in ("GET", "DELETE"):
                answer = bert.request(method, path)
                assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert bert.delete("/v1/memory/notes").json() == {"forgotten": 1}
    with locked.client(keys["anna"].key) as anna:
        assert len(anna.get("/v1/memory/notes").json()["data"]) == 2


def test_forgetting_needs_the_scope_submit(locked: Any, keys: Any) -> None:
    fill(locked)
    with locked.client(keys["reader"].key) as reader:
        assert reader.delete("/v1/memory/notes").status_code == 403
        assert reader.delete("/v1/memory/notes/k").status_code == 403
    with locked.client() as stranger:
        assert stranger.get("/v1/memory").status_code == 401
    with locked.client(keys["anna"].key) as anna:
        assert anna.delete("/v1/memory/notes/k").json() == {"forgotten": 1}
        assert anna.get("/v1/memory/notes/k").status_code == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/memory/notes?limit=0", 422),
        ("/v1/memory/notes?limit=9999", 422),
        ("/v1/memory/notes?colour=red", 422),
        ("/v1/memory/nothing?after=%00", 404),
        ("/v1/memory/notes?find=", 422),
        ("/v1/memory/No%20Space", 404),
        ("/v1/memory/..%2Fjobs", 404),
        ("/v1/memory/notes/%00", 404),
        ("/v1/memory/nothing", 404),
    ],
)
def test_what_is_wrong(locked: Any, keys: Any, path: str, status: int) -> None:
    fill(locked)
    with locked.client(keys["anna"].key) as anna:
        answer = anna.get(path)
        assert answer.status_code == status
        assert answer.headers["content-type"].startswith("application/problem+json")
