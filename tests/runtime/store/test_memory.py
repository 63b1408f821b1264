"""Memory in both databases: what is kept, found, refused, forgotten, and whose it is."""

from __future__ import annotations

import json
import math
from itertools import count
from typing import Any

import pytest

from gangline.ir.errors import (
    ConflictError,
    GanglineError,
    InputError,
    LeaseLost,
    NotFoundError,
    TooLargeError,
)
from gangline.ir.specs.event import Event
from gangline.ir.specs.memory import MAX_VALUE_BYTES, vector_to_json
from gangline.runtime.store import Store, memory_writes, open_store
from gangline.runtime.store.memory_rows import Write
from gangline.runtime.store.memory_words import ranked, words_in, words_of

IDS = count()


def write() -> Write:
    """Another step every time."""
    number = next(IDS)
    return Write(f"job/{number}", "job")


def keep(store: Store, value: Any, key: str | None = None, **more: Any) -> str:
    options: dict[str, Any] = {"tenant": "a", "space": "notes", **more}
    tenant, space = options.pop("tenant"), options.pop("space")
    by = options.pop("by", None) or write()
    return store.memory.remember(tenant, space, value, by, 5.0, key=key, **options).result()


def find(store: Store, query: str, by: str = "text", **more: Any) -> list[str]:
    options: dict[str, Any] = {"tenant": "a", "space": "notes", "limit": 5, **more}
    tenant, space, limit = (options.pop(name) for name in ("tenant", "space", "limit"))
    found = store.memory.lookup(tenant, space, by, query, limit, **options)
    return [entry.key for entry in found]


def test_an_entry_comes_back_as_it_was(store: Store) -> None:
    value = {"text": "Zoë's dogs \u0000 \U0001f415", "n": [1, 2.5, None, True]}
    assert keep(store, value, "zoë") == "zoë"
    (entry,) = store.memory.lookup("a", "notes", "key", "zoë", 1)
    assert (entry.value, entry.score, entry.created_s) == (value, 1.0, 5.0)
    assert find(store, "zoe") == find(store, "ZOË DOGS") == ["zoë"]
    assert find(store, "cats") == [] and find(store, "zo", "key") == []


def test_an_entry_replaces_the_one_with_its_key(store: Store) -> None:
    keep(store, "red sledge", "k")
    store.memory.remember("a", "notes", "blue", write(), 9.0, key="k").result()
    assert find(store, "red") == [] and find(store, "blue") == ["k"]
    (entry,) = store.memory.entries("a", "notes")
    assert (entry.value, entry.created_s, entry.updated_s) == ("blue", 5.0, 9.0)
    (space,) = store.memory.spaces()
    assert (space.entries, space.words) == (1, 2)  # its key counts as a word


def test_without_a_key_each_step_has_its_own(store: Store) -> None:
    first = keep(store, "one", by=Write("job/a", "job"))
    second = keep(store, "one", by=Write("job/b", "job"))
    assert first != second and sorted(find(store, "one")) == sorted([first, second])


def test_a_step_writes_once(store: Store) -> None:
    step = Write("job/step", "job")
    assert keep(store, "mine", "k", by=step) == "k"
    keep(store, "later", "k")
    # The step runs again after a crash: what came later must stand.
    assert keep(store, "mine", "k", by=step) == "k"
    assert store.memory.entry("a", "notes", "k").value == "later"
    log = Write("job/log", "job")
    numbers = [store.memory.observe("a", "log", "x", None, log, 1.0).result() for _ in range(2)]
    assert numbers == [1, 1]
    assert store.memory.observe("a", "log", "y", None, write(), 1.0).result() == 2


def test_only_the_owner_of_a_job_writes_for_it(store: Store) -> None:
    store.create(Event("j", 1, "job.queued", 1.0), "w", "me").result()
    keep(store, "one", "k", by=Write("j/a", "j", 1))
    with pytest.raises(LeaseLost):
        keep(store, "two", "k", by=Write("j/b", "j", 2))
    with pytest.raises(LeaseLost):
        keep(store, "two", "k", by=Write("x/b", "x", 1))
    assert store.memory.entry("a", "notes", "k").value == "one"


def test_what_steps_wrote_is_forgotten_with_their_jobs(store: Store) -> None:
    store.create(Event("j", 1, "job.queued", 1.0), "w", "me").result()
    keep(store, "one", "k", by=Write("j/a", "j", 1))
    store.append("j", [Event("j", 2, "job.completed", 2.0)], 1).result()
    assert store.prune(10.0) == 1
    assert store.database.read("SELECT count(*) FROM memory_writes") == [(0,)]
    assert find(store, "one") == ["k"]


def test_tenants_see_their_own_entries_only(store: Store) -> None:
    vector = vector_to_json("m", [1.0, 0.0])
    keep(store, "secret plan", "k", vector=vector)
    keep(store, "other", "o", tenant="b", vector=vector)
    for by, query in (("text", "secret plan"), ("key", "k"), ("vector", "secret")):
        more = {"vector": vector} if by == "vector" else {}
        assert "k" not in find(store, query, by, tenant="b", **more)
        assert find(store, query, by, tenant="a", **more) == ["k"]
    assert [row.space for row in store.memory.spaces("b")] == ["notes"]
    assert [json.loads(line)["key"] for line in store.memory.export("b")] == ["o"]
    with pytest.raises(NotFoundError):
        store.memory.forget("b", "notes", "k").result()
    assert store.memory.forget("b", "notes").result() == 1
    assert find(store, "secret") == ["k"]
    with pytest.raises(NotFoundError):
        store.memory.entries("b", "notes")


def test_equal_keys_of_two_tenants_do_not_meet(store: Store) -> None:
    """Not in what is found, and not in how it is ranked."""
    near, far = vector_to_json("m", [1.0, 0.0]), vector_to_json("m", [0.0, 1.0])
    keep(store, "secret plan", "k", vector=near)
    keep(store, "weather", "k", tenant="b", vector=far)
    assert find(store, "secret plan", tenant="b") == []
    found = store.memory.lookup("b", "notes", "vector", "?", 5, near)
    assert [(row.value, row.score) for row in found] == [("weather", 0.0)]


@pytest.mark.parametrize(
    "query",
    [
        '"',
        "'; DROP TABLE memory_entries; --",
        "dogs OR cats NOT *",
        "NEAR(dogs cats, 5)",
        "dogs:* & !cats | (",
        "{key}: ^dogs -cats",
        "%_?$1 \\",
        "\u0000",
        "",
        " ".join(["dogs"] * 5000),
    ],
)
def test_a_query_is_words_and_never_operators(store: Store, query: str) -> None:
    keep(store, "dogs and cats", "both")
    keep(store, "birds", "other")
    expected = ["both"] if words_of("dogs cats") and set(words_of(query)) & {"dogs", "cats"} else []
    assert find(store, query) == expected
    assert find(store, query, "key") == []
    assert len(store.memory.entries("a", "notes")) == 2


def test_the_rarer_word_counts_more_and_ties_go_by_key(store: Store) -> None:
    for name in ("c", "a", "b"):
        keep(store, "the dogs", name)
    keep(store, "the sledge", "d")
    assert find(store, "the sledge") == ["d", "a", "b", "c"]
    assert find(store, "the sledge", limit=2) == ["d", "a"]


def test_both_databases_give_the_same_scores(store: Store) -> None:
    texts = ["red dog", "red red cat", "a long text about a dog and a red sledge", "blue"]
    for number, text in enumerate(texts):
        keep(store, text, f"k{number}")
    scores = {row.key: row.score for row in store.memory.lookup("a", "notes", "text", "red dog", 9)}
    # By hand, from the definition: k1 = 1.2, b = 0.75; each key is a word too.
    lengths = [len(words_of(text)) + 1 for text in texts]
    mean = sum(lengths) / 4

    def part(times: int, length: int, holds: int) -> float:
        idf = math.log(1 + (4 - holds + 0.5) / (holds + 0.5))
        return idf * times * 2.2 / (times + 1.2 * (0.25 + 0.75 * length / mean))

    expected = {
        "k0": part(1, lengths[0], 3) + part(1, lengths[0], 2),
        "k1": part(2, lengths[1], 3),
        "k2": part(1, lengths[2], 3) + part(1, lengths[2], 2),
    }
    assert scores == {key: pytest.approx(score, abs=1e-6) for key, score in expected.items()}


def test_the_nearest_embedding_comes_first(store: Store) -> None:
    near, far = [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]
    vectors = {"c": near, "a": near, "b": far, "long": [100.0, 0.0, 0.0], "zero": [0.0] * 3}
    for key, vector in vectors.items():
        keep(store, key, key, vector=vector_to_json("m", vector))
    keep(store, "without", "none")
    asked = vector_to_json("m", [1.0, 0.2, 0.0])
    found = store.memory.lookup("a", "notes", "vector", "?", 9, asked)
    assert [row.key for row in found] == ["long", "a", "c", "b", "zero"]
    assert found[0].score == pytest.approx(1 / math.hypot(1, 0.2), abs=1e-6)
    assert found[3].score == found[4].score == 0.0
    assert find(store, "?", "vector", vector=asked, limit=1) == ["long"]


def test_more_vectors_than_are_read_at_once(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gangline.runtime.store.memory.VECTORS_AT_ONCE", 3)
    for number in range(10):
        angle = number / 10
        vector = vector_to_json("m", [math.cos(angle), math.sin(angle)])
        keep(sqlite_store, number, f"k{number}", vector=vector)
    asked = vector_to_json("m", [math.cos(0.72), math.sin(0.72)])
    assert find(sqlite_store, "?", "vector", vector=asked, limit=3) == ["k7", "k8", "k6"]


def test_embeddings_of_two_models_do_not_mix(store: Store) -> None:
    keep(store, "x", "x", vector=vector_to_json("one", [1.0, 0.0]))
    with pytest.raises(ConflictError, match="one"):
        keep(store, "y", "y", vector=vector_to_json("two", [1.0, 0.0]))
    with pytest.raises(ConflictError, match="one"):
        keep(store, "y", "y", vector=vector_to_json("one", [1.0, 0.0, 0.0]))
    with pytest.raises(ConflictError, match="one"):
        find(store, "?", "vector", vector=vector_to_json("two", [1.0, 0.0]))
    assert find(store, "y") == []
    assert find(store, "?", "vector", space="empty", vector=vector_to_json("two", [1.0])) == []


def test_a_log_is_no_space_of_entries(store: Store) -> None:
    assert store.memory.observe("a", "log", "dogs ran", {"km": 12}, write(), 1.0).result() == 1
    assert store.memory.observe("a", "log", "dogs slept", None, write(), 2.0).result() == 2
    # The second is shorter, so its word weighs more.
    assert find(store, "dogs", space="log") == [f"{n:012}" for n in (2, 1)]
    assert find(store, "2", "key", space="log") == ["000000000002"]
    assert store.memory.entry("a", "log", "1").value == {"event": "dogs ran", "result": {"km": 12}}
    with pytest.raises(ConflictError, match="observations"):
        keep(store, "x", "000000000001", space="log")
    keep(store, "x", "k")
    with pytest.raises(ConflictError, match="entries"):
        store.memory.observe("a", "notes", "x", None, write(), 1.0).result()
    assert store.memory.forget("a", "log", "1").result() == 1
    assert store.memory.observe("a", "log", "again", None, write(), 3.0).result() == 3


@pytest.mark.parametrize(
    ("value", "key", "space", "error"),
    [
        ("x" * MAX_VALUE_BYTES, "k", "notes", TooLargeError),
        ("é" * (MAX_VALUE_BYTES // 2), "k", "notes", TooLargeError),
        ("x", "k" * 513, "notes", TooLargeError),
        (float("nan"), "k", "notes", InputError),
        ("\ud800", "k", "notes", InputError),
        (object(), "k", "notes", InputError),
        ("x", "", "notes", InputError),
        ("x", "a\u0000b", "notes", InputError),
        ("x", "a\nb", "notes", InputError),
        ("x", "k", "No Space", InputError),
        ("x", "k", "../jobs", InputError),
    ],
)
def test_what_cannot_be_kept(
    store: Store, value: Any, key: str, space: str, error: type[GanglineError]
) -> None:
    with pytest.raises(error) as caught:
        keep(store, value, key, space=space)
    assert caught.value.next_step
    assert store.memory.spaces() == []


def test_a_long_or_wrong_query_is_refused(store: Store) -> None:
    keep(store, "x", "k")
    with pytest.raises(TooLargeError):
        find(store, "x" * (64 * 1024 + 1))
    with pytest.raises(InputError):
        store.memory.lookup("a", "notes", "text", 7, 1)
    with pytest.raises(InputError, match="magic"):
        find(store, "x", "magic")
    with pytest.raises(InputError):
        find(store, "x", "vector", vector={"model": "m", "dimensions": 2, "float32": "AAAA"})


def test_a_full_space_takes_no_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_writes, "MAX_ENTRIES", 2)
    for key in ("a", "b"):
        keep(store, key, key)
    with pytest.raises(TooLargeError, match="notes"):
        keep(store, "c", "c")
    keep(store, "again", "a")
    store.memory.forget("a", "notes", "b").result()
    keep(store, "c", "c")
    (space,) = store.memory.spaces()
    assert (space.entries, space.words) == (2, 4)


def test_two_processes_write_one_space(url: str) -> None:
    with open_store(url) as one, open_store(url) as two:
        tickets = [
            store.memory.observe("a", "log", {"n": number}, None, write(), 1.0)
            for number in range(20)
            for store in (one, two)
        ]
        assert sorted(ticket.result() for ticket in tickets) == list(range(1, 41))
        assert len(one.memory.entries("a", "log")) == 40


def test_pages_and_export(store: Store) -> None:
    for key in ("b", "a", "c"):
        keep(store, {"is": key}, key)
    keep(store, 1, "z", space="other")
    pages = [store.memory.entries("a", "notes", 2), store.memory.entries("a", "notes", 2, "b")]
    assert [[row.key for row in page] for page in pages] == [["a", "b"], ["c"]]
    lines = [json.loads(line) for line in store.memory.export()]
    assert [(line["space"], line["key"]) for line in lines] == [
        ("notes", "a"),
        ("notes", "b"),
        ("notes", "c"),
        ("other", "z"),
    ]
    assert lines[0] == {
        "tenant": "a",
        "space": "notes",
        "key": "a",
        "value": {"is": "a"},
        "created_s": 5.0,
    }
    assert [json.loads(line)["key"] for line in store.memory.export("a", "other")] == ["z"]


def test_words() -> None:
    assert words_of("Don't RE-USE get_user, naïve 42!") == [
        *("don", "t", "re", "use", "get", "user", "naive", "42")
    ]
    assert words_of("東京都 ok") == ["東", "京", "都", "ok"]
    assert words_in({"skipped": ["red", {"x": "red blue"}], "n": 7, "b": True}) == {
        "red": 2,
        "blue": 1,
        "7": 1,
    }


def test_order_of_rows_does_not_matter() -> None:
    rows = [(word, key, 1, 3) for word in ("x", "y", "z") for key in ("a", "b", "c")]
    assert ranked(rows, 9, 27, 3) == ranked(rows[::-1], 9, 27, 3)
