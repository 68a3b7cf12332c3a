"""Where the platform is and which key to show: arguments, environment, `stoker login`'s file, a server at home."""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from stoker.errors import BadInput
from stoker.home import Home, default_home

DEFAULT_URL = "http://127.0.0.1:8700"


@dataclass(frozen=True)
class Login:
    """A platform's address, and the key to show it; the key may be unknown."""

    url: str
    api_key: str = ""

    def __repr__(self) -> str:  # the key stays out of logs and tracebacks
        return f"Login(url={self.url!r})"


def config_path() -> Path:
    """``$XDG_CONFIG_HOME/stoker/config.toml``, else below ``~/.config``."""
    given = os.environ.get("XDG_CONFIG_HOME")
    return (Path(given) if given else Path.home() / ".config") / "stoker" / "config.toml"


def find_login(url: str | None = None, api_key: str | None = None) -> Login:
    """The login to use; what is given comes first. A key is only ever shown to the address it was stored for."""
    stored = stored_login()
    found = url or os.environ.get("STOKER_URL") or (stored.url if stored else "") or _local_url() or DEFAULT_URL
    found = _checked(found)
    key = api_key or os.environ.get("STOKER_API_KEY") or _key_in_file()
    if not key and stored and stored.url == found:
        key = stored.api_key
    return Login(found, key)


def _key_in_file() -> str:
    """The key that a notebook's kernel finds in STOKER_KEY_FILE; empty without one."""
    file = os.environ.get("STOKER_KEY_FILE")
    try:
        return Path(file).read_text().strip() if file else ""
    except OSError as error:
        raise BadInput(f"cannot read the key in STOKER_KEY_FILE: {file}: {error.strerror}") from None


def stored_login() -> Login | None:
    """What `stoker login` stored; raises BadInput when the file cannot be read."""
    path = config_path()
    try:
        data = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read {path}: {error}; run stoker login again") from None
    url, key = data.get("url"), data.get("api_key")
    if not isinstance(url, str) or not isinstance(key, str):
        raise BadInput(f"{path} needs url and api_key as texts; run stoker login again")
    return Login(_checked(url), key)


def store_login(login: Login) -> Path:
    """Keep `login` for later, readable by its owner alone."""
    path = config_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:  # JSON's texts are TOML's
        file.write(f"url = {json.dumps(_checked(login.url))}\napi_key = {json.dumps(login.api_key)}\n")
    partial.replace(path)
    return path


def _local_url() -> str:
    """Where the server of this user's own home listens, empty when none has said so."""
    try:
        return str(json.loads(Home(default_home()).lock.read_text())["address"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _checked(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise BadInput(f'"{url}" is no address of a platform; write for example https://stoker.example:8700')
    return url.rstrip("/").removesuffix("/v1")
