"""Folders on a real S3 server: there whole or not at all, verified, resumed, and never with a key in sight."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("s3fs")
pytest.importorskip("moto")

from stoker import depot as module
from stoker.depot import Depot, read_credentials
from stoker.errors import Away, BadInput, Broken, Denied
from tests.store.s3 import BUCKET, S3, serving


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with serving(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def depot(s3: S3) -> Depot:
    return Depot(s3.credentials)


@pytest.fixture
def place(s3: S3, request: pytest.FixtureRequest) -> str:
    return s3.url(f"depot/{request.node.name}")


def made(folder: Path, **files: str) -> Path:
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "模型.bin").write_bytes(b"x" * 100_000)
    for name, text in {"result": '{"steps": 3}', **files}.items():
        (folder / f"{name}.json").write_text(text)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_was_put_is_fetched_and_its_result_known(depot: Depot, place: str, tmp_path: Path) -> None:
    folder = made(tmp_path / "made")
    assert depot.result(place) is None
    depot.put(folder, place)
    assert depot.result(place) == {"steps": 3}
    depot.fetch(place, tmp_path / "fetched")
    assert content(tmp_path / "fetched") == content(folder)
    depot.remove(place)
    assert depot.result(place) is None
    assert depot.names(place) == []


class Interrupted(Exception):
    pass


def test_an_interrupted_upload_is_not_there_and_the_next_sends_only_what_is_missing(
    depot: Depot, s3: S3, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(tmp_path / "made", a="1", b="2")
    sent: list[str] = []
    fs, _ = depot._open(place)
    put_file = fs.put_file

    def counted(here: str, there: str) -> None:
        if len(sent) == 2 and "again" not in sent:
            raise Interrupted
        sent.append(there)
        put_file(here, there)

    monkeypatch.setattr(fs, "put_file", counted)
    monkeypatch.setattr(module, "_PARALLEL", 1)
    with pytest.raises(Interrupted):
        depot.put(folder, place)
    assert depot.result(place) is None
    assert len(s3.fs().find(f"{BUCKET}/depot")) >= 2
    sent.append("again")
    depot.put(folder, place)
    assert len(sent) - 1 == 4
    assert depot.result(place) == {"steps": 3}


def test_two_writers_never_mix(depot: Depot, place: str, tmp_path: Path) -> None:
    first, second = made(tmp_path / "first", part="1"), made(tmp_path / "second", part="2")
    depot.put(first, place)
    depot.put(second, place)
    depot.fetch(place, tmp_path / "fetched")
    assert content(tmp_path / "fetched") == content(second)


def test_what_was_changed_over_there_is_refused(depot: Depot, s3: S3, place: str, tmp_path: Path) -> None:
    depot.put(made(tmp_path / "made"), place)
    (found,) = (name for name in s3.fs().find(place.removeprefix("s3://")) if name.endswith(".bin"))
    s3.fs().pipe_file(found, b"y" * 100_000)
    with pytest.raises(Broken, match="its digest differs"):
        depot.fetch(place, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()
    s3.fs().pipe_file(f"{place.removeprefix('s3://')}/whole.json", b'{"tree": "x", "files": {}, "result": {}}')
    with pytest.raises(Broken, match=r"whole\.json is not what was written there"):
        depot.result(place)


def test_a_name_that_leads_out_is_no_file_of_a_folder(depot: Depot, s3: S3, place: str, tmp_path: Path) -> None:
    files = {"../out": module._Entry(1, "0" * 64)}
    told = {"tree": module._tree(files), "files": {"../out": [1, "0" * 64]}, "result": {}}
    s3.fs().pipe_file(f"{place.removeprefix('s3://')}/whole.json", json.dumps(told).encode())
    with pytest.raises(Broken):
        depot.fetch(place, tmp_path / "fetched")


def test_an_interrupted_fetch_goes_on(depot: Depot, place: str, tmp_path: Path) -> None:
    folder = made(tmp_path / "made")
    depot.put(folder, place)
    half = tmp_path / ".fetched.part"
    (half / "inner").mkdir(parents=True)
    (half / "inner" / "模型.bin").write_bytes(b"x" * 100_000)
    (half / "result.json").write_text("cut")
    (half / "stale").write_text("of another writer")
    depot.fetch(place, tmp_path / "fetched")
    assert content(tmp_path / "fetched") == content(folder)


def test_a_server_that_does_not_answer_is_away(
    depot: Depot, s3: S3, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.01)
    gone = Depot({**s3.credentials, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    with pytest.raises(Away, match=r"does not answer") as told:
        gone.result(place)
    assert "s3cr3t" not in str(told.value)


def test_a_bucket_that_is_not_there_and_missing_credentials_are_told(
    depot: Depot, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Broken, match="does the bucket exist"):
        depot.put(made(tmp_path / "made"), "s3://no-such-bucket/x")
    for name in ("HOME", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    bare = Depot({"AWS_ENDPOINT_URL": s3.endpoint})
    with pytest.raises(Denied, match="give credentials"):
        bare.result(s3.url("x"))


@pytest.mark.parametrize("url", ["s3://key:secret@bucket/x", "s3://bucket/x?key=1", "s3://", "nosuch://bucket/x"])
def test_urls_that_cannot_be_are_refused(depot: Depot, url: str) -> None:
    with pytest.raises(BadInput) as told:
        depot.check(url)
    assert "secret" not in str(told.value)


def test_credentials_are_read_by_the_names_that_tools_use(tmp_path: Path) -> None:
    file = tmp_path / "s3.env"
    file.write_text("# of the site\nexport AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY='b'\n\nAWS_REGION=r\n")
    assert read_credentials(file) == {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "r"}
    file.write_text("AWS_SECRET_KEY=hush\n")
    with pytest.raises(BadInput, match="line 1 is not understood") as told:
        read_credentials(file)
    assert "hush" not in str(told.value)
