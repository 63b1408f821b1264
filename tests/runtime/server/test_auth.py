"""Keys: who may come in, as whom, to do what."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gangline.runtime.server.auth import KeyRing
from gangline.runtime.server.problem import Refused
from gangline.runtime.server.settings import ServerSettings
from gangline.runtime.service.keys import hash_key
from gangline.runtime.store import KeyRow

BODY = {"workflow": "five_steps", "input": {"number": 1}}


def test_without_keys_everybody_is_local(client: Any) -> None:
    job = client.post("/v1/jobs", json=BODY).json()
    assert job["tenant"] == "local"


@pytest.mark.parametrize(
    "authorization",
    [
        *("", "Bearer", "Bearer gl-nobody", "gl-anna-00000000000000000000", "Bearer gl-old"),
        *("Basic gl-anna-00000000000000000000", "Bearer gl-anna-0000000000000000000"),
    ],
)
def test_a_stranger_learns_nothing(serve: Any, key: Any, keys: Any, authorization: str) -> None:
    rows = [*keys.values(), key("gl-old", "anna", revoked_s=1.0)]
    with serve(keys=rows) as served, served.client() as client:
        head = {"authorization": authorization}
        paths = ("/v1/jobs", "/v1/jobs/x", "/v1/workflows", "/v1/devices", "/v1/jobs/x/events")
        for path in paths:
            answer = client.get(path, headers=head)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert "gl-anna" not in answer.text
        # Faults of a body or a query are not told either before the key is known.
        assert client.post("/v1/jobs", content=b"{", headers=head).status_code in (401, 415)
        assert client.get("/v1/jobs?no=1", headers=head).status_code == 401
        for path in ("/healthz", "/readyz", "/openapi.json"):
            assert client.get(path, headers=head).status_code == 200


def test_scopes(locked: Any, keys: Any) -> None:
    with locked.client(keys["reader"].key) as reader, locked.client(keys["anna"].key) as anna:
        assert reader.get("/v1/jobs").status_code == 200
        refused = reader.post("/v1/jobs", json=BODY)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        made = anna.post("/v1/jobs", json=BODY)
        assert made.json()["tenant"] == "anna"
        assert reader.get(made.headers["location"]).status_code == 200
        for action in ("cancel", "retry", "resume", "fork"):
            answer = reader.post(made.headers["location"] + f":{action}", json={})
            assert answer.status_code == 403, action


def test_another_tenants_job_does_not_exist(locked: Any, keys: Any) -> None:
    """Whatever is asked, somebody else's job answers as one that was never made."""
    with locked.client(keys["anna"].key) as anna, locked.client(keys["bert"].key) as bert:
        made = anna.post("/v1/jobs", json=BODY).json()["id"]
        never = made[:-4] + ("0000" if made[-4:] != "0000" else "1111")
        fork = {"from_step": "x"}
        asked: list[tuple[str, str, Any]] = [
            *(("GET", path, None) for path in ("", "/steps", "/events", "/plan", "/graph")),
            *[("POST", ":cancel", None), ("POST", ":retry", {}), ("POST", ":fork", fork)],
            ("POST", ":resume", {"interrupt": "i", "value": 1}),
        ]
        for method, path, body in asked:
            told = []
            for job in (made, never):
                answer = bert.request(method, f"/v1/jobs/{job}{path}", json=body)
                assert answer.status_code == 404, (method, path)
                document = answer.json()
                del document["trace_id"]
                told.append(repr(document).replace(job, "ID").replace(job[:64], "ID"))
            assert told[0] == told[1], path
        assert bert.get("/v1/jobs").json()["data"] == []
        assert anna.get(f"/v1/jobs/{made}").status_code == 200


def test_root_sees_all(locked: Any, keys: Any) -> None:
    with locked.client(keys["anna"].key) as anna, locked.client(keys["root"].key) as root:
        path = anna.post("/v1/jobs", json=BODY).headers["location"]
        assert root.get(path).status_code == 200


def ring(rows: list[Any], *, open_access: bool, now: list[float]) -> KeyRing:
    return KeyRing(
        lambda: [key.row for key in rows], open_access=open_access, fresh_s=2.0, now=lambda: now[0]
    )


def come_in(keys: KeyRing, key: str) -> str:
    return asyncio.run(keys.tenant(f"Bearer {key}")).name


def test_a_revoked_key_stops_working_and_never_opens_the_door(key: Any) -> None:
    now, rows = [0.0], [key("gl-a", "anna")]
    keys = ring(rows, open_access=True, now=now)
    assert come_in(keys, "gl-a") == "anna"
    rows[0] = key("gl-a", "anna", revoked_s=1.0)
    assert come_in(keys, "gl-a") == "anna"  # the copy is fresh
    now[0] = 2.1
    for sent in ("gl-a", ""):
        with pytest.raises(Refused):
            come_in(keys, sent)


def test_a_first_key_closes_the_door(key: Any) -> None:
    now, rows = [0.0], list[Any]()
    keys = ring(rows, open_access=True, now=now)
    assert come_in(keys, "") == "local"
    rows.append(key("gl-a", "anna"))
    now[0] = 2.1
    with pytest.raises(Refused):
        come_in(keys, "")


def test_without_open_access_nobody_comes_in_without_a_key() -> None:
    keys = ring([], open_access=False, now=[0.0])
    with pytest.raises(Refused):
        come_in(keys, "")


def test_a_store_that_is_away_lets_nobody_in(key: Any) -> None:
    now, rows = [0.0], [key("gl-a", "anna")]

    def read() -> list[Any]:
        if now[0] > 2.0:
            raise OSError("away")
        return [key.row for key in rows]

    keys = KeyRing(read, open_access=True, fresh_s=2.0, now=lambda: now[0])
    assert come_in(keys, "gl-a") == "anna"
    now[0] = 2.1
    with pytest.raises(OSError):
        come_in(keys, "gl-a")


def test_a_network_server_without_keys_lets_nobody_in(serve: Any) -> None:
    with serve(ServerSettings(open_access=False)) as served, served.client() as client:
        assert client.get("/v1/jobs").status_code == 401


def test_a_change_of_the_keys_is_seen_by_the_next_request(key: Any) -> None:
    rows = [key("gl-a", "anna")]
    keys = KeyRing(lambda: [row.row for row in rows], open_access=True, changes=lambda: list(rows))
    assert come_in(keys, "gl-a") == "anna"
    rows[0] = key("gl-a", "anna", revoked_s=1.0)
    with pytest.raises(Refused):
        come_in(keys, "gl-a")


def test_a_key_revoked_in_the_store_opens_nothing_any_more(fresh_server: Any) -> None:
    store = fresh_server.service.store
    for name in ("one", "two"):
        row = KeyRow(name, hash_key(name), "anna", ("submit", "read"), {}, 1.0)
        store.add_key(row).result()
        with fresh_server.client(name) as client:
            assert client.get("/v1/jobs").status_code == 200
    store.revoke_key("one", 2.0).result()
    with fresh_server.client("one") as one, fresh_server.client("two") as two:
        assert [one.get("/v1/jobs").status_code, two.get("/v1/jobs").status_code] == [401, 200]


def test_a_stream_ends_when_its_key_is_revoked(fresh_server: Any, entrance: Any) -> None:
    store = fresh_server.service.store
    row = KeyRow("one", hash_key("one"), "anna", ("submit", "read"), {}, 1.0)
    store.add_key(row).result()
    entrance.close()
    with fresh_server.client("one") as client:
        asked = {"workflow": "gated", "input": {"number": 1}, "mode": "stream"}
        with client.stream("POST", "/v1/jobs", json=asked) as stream:
            lines = stream.iter_lines()
            assert next(lines) == "id: 1"
            store.revoke_key("one", 2.0).result()
            assert "event: job.completed" not in list(lines)
    entrance.open()
