"""``stoker files``: uploaded data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stoker.cli.render import AsJson, columns, moment, print_json, say
from stoker.cli.session import connect
from stoker.cli.texts import t
from stoker.units import format_bytes

app = typer.Typer(
    help="Upload, list and delete files.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


@app.command("list")
def list_(json: AsJson = False) -> None:
    """List uploaded files."""
    found = connect().files.list()
    if json:
        print_json(found)
        return
    rows = [
        (file.id, file.filename, format_bytes(file.bytes), file.purpose, moment(file.created_at)) for file in found
    ]
    say(columns(("ID", "NAME", "SIZE", "PURPOSE", "CREATED"), rows, right=("SIZE",)))


@app.command()
def upload(
    path: Annotated[Path, typer.Argument(help="A data file.")],
    purpose: Annotated[str, typer.Option(help="What for, in OpenAI's words.")] = "fine-tune",
    json: AsJson = False,
) -> None:
    """Upload a file; prints its id."""
    file = connect().files.upload(path, purpose=purpose)
    if json:
        print_json(file)
    else:
        say(file.id)


@app.command()
def delete(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="file-..., from: stoker files list")],
) -> None:
    """Delete uploaded files."""
    client = connect()
    for file_id in ids:
        client.files.delete(file_id)
        say(t("deleted {id}", id=file_id))
