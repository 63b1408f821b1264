"""Looking whether keys changed: cheap, at once for changes made here, soon for all others."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from gangline.runtime.store import KeyRow, Store, key_changes


def key(name: str) -> KeyRow:
    return KeyRow(name, f"hash-{name}", "a", ("read",), {}, 1.0, None, "")


def test_a_change_made_here_shows_at_once(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(key_changes, "LOOK_S", 3600.0)
    with Store(tmp_path / "jobs.sqlite") as store:
        seen = [store.key_changes()]
        store.add_key(key("one")).result()
        seen.append(store.key_changes())
        store.add_key(key("two")).result()
        seen.append(store.key_changes())
        store.revoke_key("one", 2.0).result()
        seen.append(store.key_changes())
        assert len(set(seen)) == 4


def test_a_busy_server_does_not_read_for_every_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    with Store(tmp_path / "jobs.sqlite") as store, Store(tmp_path / "jobs.sqlite") as other:
        before = store.key_changes()
        other.add_key(key("one")).result()
        now_s += key_changes.LOOK_S / 2
        assert store.key_changes() == before
        now_s += key_changes.LOOK_S
        assert store.key_changes() != before
        assert key_changes.LOOK_S <= 0.05  # a command that revokes a key takes longer to end
