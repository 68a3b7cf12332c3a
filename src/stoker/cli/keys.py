"""``stoker keys``: who may do what."""

from __future__ import annotations

from typing import Annotated

import typer

from stoker.account import Role
from stoker.cli.render import AsJson, columns, moment, print_json, say
from stoker.cli.session import connect
from stoker.cli.texts import t

app = typer.Typer(
    help="Create, list and revoke keys.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


@app.command("list")
def list_(json: AsJson = False) -> None:
    """List keys, without their secrets."""
    found = connect().keys.list()
    if json:
        print_json(found)
        return
    rows = [
        (key.id, key.name, str(key.role), key.tenant, moment(key.created_at), t("revoked") if key.revoked else "")
        for key in found
    ]
    say(columns(("ID", "NAME", "ROLE", "TENANT", "CREATED", ""), rows))


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, or what for.")],
    role: Annotated[Role, typer.Option(help="viewer reads, user runs jobs, admin does everything.")] = Role.USER,
    tenant: Annotated[str, typer.Option(help="The team it acts for.")] = "default",
    json: AsJson = False,
) -> None:
    """Make a key; its secret is shown once."""
    made = connect().keys.create(name, role=role, tenant=tenant)
    if json:
        print_json(made)
        return
    say(
        t(
            "key {id} for {name} ({role}, tenant {tenant}); shown once:",
            id=made.key.id,
            name=name,
            role=role,
            tenant=tenant,
        )
    )
    say(made.secret)


@app.command()
def revoke(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="ak-..., from: stoker keys list")],
) -> None:
    """Take keys back; they are refused at once."""
    client = connect()
    for key_id in ids:
        client.keys.revoke(key_id)
        say(t("revoked {id}", id=key_id))
