"""A real platform, and the command line run against it in this process."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stoker.cli import main, texts
from tests.api.platform import Site, open_site


@dataclass(frozen=True)
class Said:
    """How a command line ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Stoker = Callable[..., Said]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("home")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """No test reads or writes the config of whoever runs it, and all speak English unless they say otherwise."""
    folder = tmp_path / "config"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    monkeypatch.setenv("STOKER_HOME", str(tmp_path / "home"))
    for name in ("STOKER_URL", "STOKER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STOKER_LANG", "en")
    yield folder
    texts.use("en")


@pytest.fixture
def alone(capfd: pytest.CaptureFixture[str]) -> Stoker:
    """The command line without any server."""

    def run(*arguments: str) -> Said:
        code = main(arguments)
        out, err = capfd.readouterr()
        return Said(code, out, err)

    return run


@pytest.fixture
def stoker(site: Site, alone: Stoker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stoker:
    """The command line as the platform's admin, in an empty folder."""
    monkeypatch.setenv("STOKER_URL", site.url)
    monkeypatch.setenv("STOKER_API_KEY", site.admin_key)
    monkeypatch.chdir(tmp_path)
    return alone


@pytest.fixture
def base(tmp_path: Path) -> str:
    """Enough of a base model for the platform to take it; what loads it says what is wrong with it."""
    folder = tmp_path / "tiny-base"
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps(
            {
                "model_type": "llama", "num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2,
                "intermediate_size": 16, "vocab_size": 32, "max_position_embeddings": 64,
            }
        )
    )  # fmt: skip
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
    (folder / "tokenizer.json").write_text("{}")
    return str(folder)
