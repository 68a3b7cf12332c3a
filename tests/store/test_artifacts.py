from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from stoker.depot import Depot
from stoker.errors import NotFound
from stoker.store.artifacts import Artifacts


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(str(tmp_path), Depot(), tmp_path / "fetched")


def test_a_digest_is_of_names_and_contents_and_nothing_else(artifacts: Artifacts, tmp_path: Path) -> None:
    for name in ("a", "b"):
        folder = tmp_path / name
        (folder / "inner").mkdir(parents=True)
        (folder / "inner" / "x.jsonl").write_text("one")
        (folder / ".hidden").write_text(name)
    assert artifacts.digest(tmp_path / "a") == artifacts.digest(tmp_path / "b")
    (tmp_path / "b" / "inner" / "x.jsonl").write_text("two")
    assert artifacts.digest(tmp_path / "a") != artifacts.digest(tmp_path / "b")
    (tmp_path / "b" / "inner" / "x.jsonl").write_text("one")
    (tmp_path / "b" / "inner" / "x.jsonl").rename(tmp_path / "b" / "inner" / "y.jsonl")
    assert artifacts.digest(tmp_path / "a") != artifacts.digest(tmp_path / "b")


def test_a_change_of_the_same_size_is_seen(artifacts: Artifacts, tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text("one")
    before = artifacts.digest(file)
    file.write_text("two")
    os.utime(file, ns=(1, 1))
    assert artifacts.digest(file) != before


def test_odd_file_names_are_only_data(artifacts: Artifacts, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "$(reboot)\n'; drop table.txt").write_text("x")
    (folder / os.fsdecode(b"latin-\xe9.txt")).write_text("x")
    assert len(artifacts.digest(folder)) == 64


def test_what_is_not_there_is_named(artifacts: Artifacts, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing at"):
        artifacts.digest(tmp_path / "no")


def test_only_a_finished_folder_has_a_result(artifacts: Artifacts) -> None:
    folder = artifacts.here("k")
    folder.mkdir(parents=True)
    assert artifacts.result("k") is None
    (folder / "result.json").write_text(json.dumps({"kept": 3}))
    assert artifacts.finished(["k", "other", ""]) == {"k": {"kept": 3}}


def test_a_result_that_was_removed_to_make_room_is_not_there_any_more(artifacts: Artifacts, tmp_path: Path) -> None:
    result = tmp_path / "artifacts" / "key" / "result.json"
    result.parent.mkdir(parents=True)
    result.write_text('{"kept": 1}')
    assert artifacts.finished(["key"]) == {"key": {"kept": 1}}
    result.unlink()
    assert artifacts.finished(["key"]) == {}
