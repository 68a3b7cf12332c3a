"""What goes along from here, and what a server on another machine is not told."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.cli.session import is_loopback
from stoker.cli.wish import Here, folder, read_wish
from stoker.client import Client


def test_a_server_elsewhere_is_told_neither_folder_nor_environment(tmp_path: Path) -> None:
    with Client("http://gpu-login01:8700", "sk-stk-x") as client:
        here = Here.seen_by(client)
    assert here == Here()
    script = tmp_path / "train.sh"
    script.write_text("#!/bin/bash\n#SBATCH --chdir=work\nhostname\n")
    wish = read_wish(script, (), None, here, {}, False)
    assert wish.spec.envs == {}
    assert folder(wish.spec.workdir, here) == "work"


def test_a_server_here_gets_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Client("http://127.0.0.1:8700", "sk-stk-x") as client:
        here = Here.seen_by(client)
    assert folder("", here) == str(tmp_path)
    assert folder("sub/../work", here) == str(tmp_path / "work")
    assert folder("/data", here) == "/data"
    assert "PATH" in here.envs


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8700", True),
        ("http://127.1.2.3:8700", True),
        ("http://localhost", True),
        ("http://[::1]:8700", True),
        ("https://stoker.example", False),
        ("http://localhost.example", False),
        ("http://10.0.0.1:8700", False),
    ],
)
def test_which_addresses_are_this_machine(url: str, local: bool) -> None:
    assert is_loopback(url) is local


def test_commands_are_named_after_their_program() -> None:
    assert read_wish(None, (), ("/usr/bin/python3", "train.py"), Here(), {}, False).spec.name == "python3"
    assert read_wish(None, (), ("it's $weird",), Here(), {}, False).spec.name == "its weird"
    assert read_wish(None, (), ("$'",), Here(), {}, False).spec.name == "job"
