from __future__ import annotations

from pathlib import Path

import pytest

from stoker.errors import BadInput, NotFound
from stoker.sources.catalogue import catalogue, resolve


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "qwen2.5-7b-instruct"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (tmp_path / "models" / "notes.txt").write_text("no model")
    return tmp_path


def test_a_name_means_a_folder_below_models(home: Path) -> None:
    assert resolve("Qwen2.5-7B-Instruct", home).path == home / "models" / "qwen2.5-7b-instruct"
    assert "notes" not in catalogue(home)


def test_the_sites_list_wins(home: Path, tmp_path: Path) -> None:
    (home / "models.yaml").write_text("qwen2.5-7b-instruct: /elsewhere\n")
    assert resolve("qwen2.5-7b-instruct", home).path == Path("/elsewhere")


def test_an_unknown_name_offers_near_ones(home: Path) -> None:
    with pytest.raises(NotFound, match=r"near names: qwen2\.5-7b-instruct"):
        resolve("qwen2.5-7b-instrct", home)


@pytest.mark.parametrize("text", ["[broken", "a: {folder: x}", "- a"])
def test_a_broken_list_is_told_in_one_line(home: Path, text: str) -> None:
    (home / "models.yaml").write_text(text)
    with pytest.raises(BadInput, match=r"models\.yaml"):
        resolve("qwen2.5-7b-instruct", home)


def test_a_path_must_be_a_model(home: Path) -> None:
    with pytest.raises(NotFound):
        resolve(str(home / "nothing"), home)
    with pytest.raises(BadInput, match=r"config\.json"):
        resolve(str(home), home)


def test_folders_of_the_environment_are_looked_into(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "nfs"
    other.mkdir()
    (other / "tiny.gguf").write_bytes(b"GGUF")
    monkeypatch.setenv("STOKER_MODELS", str(other))
    assert resolve("tiny", home).path == other / "tiny.gguf"
