"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from stoker.cli.options import spread


@dataclass(frozen=True)
class Place:
    where: Annotated[str, typer.Argument()]
    floors: Annotated[list[int] | None, typer.Option("--floor")] = None
    loud: Annotated[bool, typer.Option("--loud/--quiet")] = False


@spread
def go(who: str, place: Place, times: int = 1) -> None:
    """Go there."""
    print(who, place, times)


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.command()(go)
    told = CliRunner().invoke(app, arguments)
    return told.exit_code, told.output


def test_each_field_is_an_option_in_its_place() -> None:
    code, told = run("ann", "here", "--floor", "1", "--floor", "2", "--loud", "--times", "3")
    assert (code, told.strip()) == (0, "ann Place(where='here', floors=[1, 2], loud=True) 3")


def test_what_is_not_said_is_as_the_field_says() -> None:
    assert run("ann", "here") == (0, "ann Place(where='here', floors=None, loud=False) 1\n")
    assert run("ann")[0] == 2


def test_the_help_names_the_options_of_the_group() -> None:
    told = run("--help")[1]
    assert all(word in told for word in ("where", "--floor", "--loud", "--times", "Go there."))
