"""The cache of a node: many jobs share it."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stoker.recipes import cache


def test_room_is_made_while_other_jobs_fetch_and_remove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOKER_CACHE_SIZE", "1G")

    def fetch() -> None:
        for number in range(400):
            half, whole = tmp_path / f".{number}.part", tmp_path / str(number)
            half.mkdir()
            (half / "model.gguf").touch()
            half.rename(whole)
            shutil.rmtree(whole)

    (tmp_path / "kept").mkdir()
    with ThreadPoolExecutor(1) as others:
        fetching = others.submit(fetch)
        while not fetching.done():
            cache._make_room(tmp_path)
        fetching.result()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_what_was_not_used_for_longest_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOKER_CACHE_SIZE", "2K")
    for age, name in ((3, "new"), (1, "old"), (2, "used")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.gguf").write_bytes(b"x" * 1024)
        os.utime(tmp_path / name, (age, age))
    cache._make_room(tmp_path)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"new", "used"}
