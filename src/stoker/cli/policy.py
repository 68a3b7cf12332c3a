"""``stoker policy``: by which settings jobs are scheduled."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from stoker.cli.render import AsJson, columns, print_json, say
from stoker.cli.session import connect
from stoker.cli.texts import t
from stoker.errors import BadInput
from stoker.schedule.policy import Policy, parse
from stoker.typed import dump, read

app = typer.Typer(
    help="Show and set the scheduling policy.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command()
def show(json: AsJson = False) -> None:
    """Show the policy in force, and what differs from the default."""
    _print(connect().policy.get(), json=json)


@app.command("set")
def set_(
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="NAME=VALUE...", help="What to change; the rest stays.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="YAML of settings; those it does not name are the default.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Change settings of the policy. It holds at once and survives restarts."""
    if not settings and file is None:
        raise BadInput("nothing to change; give NAME=VALUE or --file")
    client = connect()
    base = _load(file) if file else client.policy.get()
    _print(client.policy.set(parse(",".join(settings or ()), base)), json=json)


@app.command()
def reset(json: AsJson = False) -> None:
    """Go back to the default policy."""
    _print(connect().policy.set(Policy()), json=json)


def _print(policy: Policy, *, json: bool) -> None:
    if json:
        print_json(policy)
        return
    default = Policy()
    rows = [
        (one.name, _value(getattr(policy, one.name)), _value(getattr(default, one.name)))
        for one in dataclasses.fields(Policy)
    ]
    marked = [(name, now, "" if now == usual else t("default: {value}", value=usual)) for name, now, usual in rows]
    say(columns(("SETTING", "VALUE", ""), marked))


def _value(value: Any) -> str:
    """A setting as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _load(file: Path) -> Policy:
    try:
        given = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"{file} cannot be read: {' '.join(str(error).split())}") from None
    return read(Policy, given or {}, what=str(file))


def as_yaml(policy: Policy) -> str:
    """What differs from the default, as --file takes it."""
    default = dump(Policy())
    return yaml.safe_dump({name: value for name, value in dump(policy).items() if value != default[name]})
