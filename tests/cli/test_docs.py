"""The documents name every command, option, field and #SBATCH option."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from stoker.cli.commands import COMMANDS, load
from stoker.environment import CARRIED
from stoker.jobfile import ALIASES, FIELDS, RESOURCE_ALIASES, RESOURCE_FIELDS
from stoker.sbatch_directives import HONOURED, REFUSED, WITHOUT_EFFECT

ROOT = Path(__file__).parents[2]


def test_commands_are_documented_as_they_are() -> None:
    script = ROOT / "scripts" / "make-commands"
    run = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_job_files_are_documented() -> None:
    text = (ROOT / "docs" / "jobs.md").read_text()
    for name in (*FIELDS, *ALIASES, *RESOURCE_FIELDS, *RESOURCE_ALIASES):
        assert f"`{name}`" in text, name


@pytest.mark.parametrize(
    ("row", "table"),
    [("| honoured |", HONOURED), ("| named on stderr", WITHOUT_EFFECT), ("| refused", REFUSED)],
)
def test_every_sbatch_option_is_in_its_row(row: str, table: Mapping[str, str]) -> None:
    [line] = [line for line in (ROOT / "docs" / "jobs.md").read_text().splitlines() if line.startswith(row)]
    written = {word.strip("`,;|").removeprefix("--") for word in line.split() if word.startswith("`--")}
    assert written - {"lenient"} == {option.rstrip("=?") for option in table}


def test_what_is_carried_along_is_told() -> None:
    text = (ROOT / "docs" / "jobs.md").read_text()
    told = ("MODULE", "LOADEDMODULES", "_LMFILES_", "LANG", "LC_", "TZ", "CONDA_")  # in words
    assert all(f"`{name}`" in text or name.startswith(told) for name in CARRIED)


@pytest.mark.parametrize(
    "page", [*sorted(ROOT.glob("README*.md")), *sorted(ROOT.glob("docs/*.md"))], ids=lambda p: p.name
)
def test_pages_name_commands_that_exist(page: Path) -> None:
    known = {command.name: load(command.name) for command in COMMANDS}
    for name, inner in re.findall(
        r"(?:^ *|`)stoker ([a-z]+(?:-[a-z]+)*)(?: ([a-z]+))?", page.read_text(), re.MULTILINE
    ):
        assert name in known, f"stoker {name}"
        subcommands = getattr(known[name], "commands", None)
        if subcommands is not None and inner:
            assert inner in subcommands, f"stoker {name} {inner}"
