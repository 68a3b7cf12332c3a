"""Where the client finds the platform and the key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stoker.client.config import Login, config_path, find_login, store_login, stored_login
from stoker.errors import BadInput


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STOKER_URL", "STOKER_API_KEY", "STOKER_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("STOKER_HOME", str(tmp_path / "home"))


def test_what_is_given_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    store_login(Login("http://stored:1", "sk-stored"))
    monkeypatch.setenv("STOKER_URL", "http://environment:1/")
    monkeypatch.setenv("STOKER_API_KEY", "sk-environment")
    assert find_login("http://given:1", "sk-given") == Login("http://given:1", "sk-given")
    assert find_login() == Login("http://environment:1", "sk-environment")


def test_the_stored_login_is_its_owners_alone() -> None:
    login = Login("https://stoker.example:8700", 'sk-"odd"\\')
    path = store_login(login)
    assert path == config_path()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert stored_login() == find_login() == login
    store_login(Login("http://other:1"))
    assert find_login() == Login("http://other:1")
    path.unlink()
    assert stored_login() is None


def test_a_stored_key_is_shown_to_no_other_address(monkeypatch: pytest.MonkeyPatch) -> None:
    store_login(Login("http://stored:1", "sk-stored"))
    assert find_login("http://other:1").api_key == ""
    monkeypatch.setenv("STOKER_URL", "http://third:1")
    assert find_login().api_key == ""
    assert find_login("http://stored:1/").api_key == "sk-stored"


def test_a_server_at_home_is_found(tmp_path: Path) -> None:
    assert find_login() == Login("http://127.0.0.1:8700")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "lock").write_text(json.dumps({"pid": 1, "host": "h", "address": "http://127.0.0.1:9"}))
    assert find_login() == Login("http://127.0.0.1:9")
    (tmp_path / "home" / "lock").write_text("")
    assert find_login() == Login("http://127.0.0.1:8700")


@pytest.mark.parametrize("text", ["url = 1", 'url = "http://x"', "url =", "\x00"])
def test_a_broken_file_is_told(text: str) -> None:
    config_path().parent.mkdir(parents=True)
    config_path().write_text(text)
    with pytest.raises(BadInput, match="stoker login"):
        find_login()


def test_an_address_must_be_one() -> None:
    with pytest.raises(BadInput, match="no address"):
        find_login("stoker.example")


def test_the_key_is_not_printed() -> None:
    assert "sk-secret" not in repr(Login("http://x", "sk-secret"))
