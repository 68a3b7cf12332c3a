"""The frame of the command line: help, errors, exit codes, and what is imported for them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import stoker.cli
from stoker import __version__
from stoker.cli.commands import COMMANDS, SECTIONS, load
from tests.cli.conftest import Stoker

SOURCE = Path(stoker.cli.__file__).parent
HEAVY = (
    "pydantic",
    "httpx",
    "fastapi",
    "sqlalchemy",
    "uvicorn",
    "yaml",
    "rich",
    "stoker.client",
    "stoker.job",
    "torch",
)


def test_help_names_every_command_once(alone: Stoker) -> None:
    said = alone("--help")
    assert (said.code, said.err) == (0, "")
    for command in COMMANDS:
        assert said.out.count(f"\n  {command.name} ") == 1
    for section in SECTIONS:
        assert f"{section}:" in said.out
    assert alone().out == said.out


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_line_in_help_is_the_first_of_the_commands_own(command: stoker.cli.commands.Command) -> None:
    assert load(command.name).help.splitlines()[0] == command.line


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from stoker.cli import main; main(['--help']); "
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr.strip() == "[]"


def test_version(alone: Stoker) -> None:
    assert alone("--version").out == f"stoker {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["jbos"], 'no command "jbos"; near names: jobs'),
        (["--bogus"], "no such option: --bogus; see: stoker --help"),
        (["jobs", "--bogus"], "see: stoker jobs --help"),
        (["logs"], "missing argument 'JOB'; see: stoker logs --help"),
        (["--lang", "fr", "jobs"], '--lang "fr" was given; allowed are en, zh'),
        (["jobs", "--limit", "0"], "see: stoker jobs --help"),
        (["run", "--nodes", "two", "--", "true"], "must be a valid integer; see: stoker run --help"),
        (["keys", "create", "x", "--role", "boss"], "'--role': 'boss' is not one of 'viewer', 'user', 'admin'"),
        (["--url", "gpu-login01", "jobs"], "is no address of a platform"),
    ],
)
def test_wrong_words_are_one_line_and_exit_2(alone: Stoker, arguments: list[str], says: str) -> None:
    said = alone(*arguments)
    assert said.code == 2
    assert says in said.err
    assert said.err.startswith("stoker: ")
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_a_server_that_is_not_there_is_one_line_and_exit_3(alone: Stoker) -> None:
    said = alone("--url", "http://127.0.0.1:9", "jobs")
    assert said.code == 3
    assert said.err.startswith("stoker: no answer from http://127.0.0.1:9")
    assert said.err.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error() -> None:
    code = "import sys; from stoker.cli import main; sys.exit(main(['--help']))"
    run = subprocess.run(
        ["bash", "-c", f'set -o pipefail; "{sys.executable}" -c "{code}" | true'], capture_output=True, text=True
    )
    assert run.stderr == ""
    assert run.returncode in (0, 141)  # 0 when all was written before the reader went


def test_no_command_reads_a_secret_from_its_arguments() -> None:
    for command in COMMANDS:
        loaded = load(command.name)
        for inner in [loaded, *getattr(loaded, "commands", {}).values()]:
            names = {name for parameter in inner.params for name in parameter.opts}
            # Tokens in the plural are counted, not kept secret, and the name of a file is none.
            hidden = {name.replace("tokens", "") for name in names if not name.endswith("-file")}
            assert not {name for name in hidden if any(w in name for w in ("key", "secret", "password", "token"))}


def test_only_up_imports_the_server() -> None:
    allowed = {"up.py"}
    for path in SOURCE.glob("*.py"):
        modules = {
            node.module
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and node.module
        }
        inner = {m for m in modules if m.startswith(("stoker.app", "stoker.api", "stoker.store", "stoker.control"))}
        assert not inner or path.name in allowed, (path.name, inner)
