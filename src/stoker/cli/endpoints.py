"""``stoker endpoints``: names that answer."""

from __future__ import annotations

from typing import Annotated

import typer

from stoker.cli.render import AsJson, columns, facts, moment, print_json, say
from stoker.cli.session import connect
from stoker.cli.texts import t
from stoker.endpoint import Endpoint, ReplicaState

app = typer.Typer(
    help="List, deploy and stop endpoints.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)

Name = Annotated[str, typer.Argument(metavar="ENDPOINT", help='What callers put in "model".')]


@app.command("list")
def list_(json: AsJson = False) -> None:
    """List endpoints."""
    found = connect().endpoints.list()
    if json:
        print_json(found)
        return
    rows = [
        (e.name, e.tenant, str(e.version or "-"), f"{_ready(e)}/{e.wanted}", str(e.candidate or "-"), e.message)
        for e in found
    ]
    say(columns(("ENDPOINT", "TENANT", "VERSION", "READY", "CANDIDATE", ""), rows))


def _ready(endpoint: Endpoint) -> int:
    return sum(replica.state is ReplicaState.READY for replica in endpoint.replicas)


@app.command()
def show(name: Name, json: AsJson = False) -> None:
    """Show an endpoint and its replicas."""
    found = connect().endpoints.get(name)
    if json:
        print_json(found)
        return
    say(
        facts(
            [
                (t("endpoint"), found.name),
                (t("version"), str(found.version or "-")),
                (t("candidate"), str(found.candidate or "")),
                (t("replicas"), f"{_ready(found)}/{found.wanted}"),
                (t("created"), moment(found.created_at)),
                ("", found.message),
            ]
        )
    )
    if found.replicas:
        say()
        rows = [(str(r.job), str(r.version), str(r.state), r.url) for r in found.replicas]
        say(columns(("JOBID", "VERSION", "STATE", "URL"), rows))


@app.command()
def deploy(
    name: Name,
    version: Annotated[int, typer.Argument(help="Version of the model of that name.")],
    replicas: Annotated[int, typer.Option(min=1, help="How many should serve it.")] = 1,
    json: AsJson = False,
) -> None:
    """Bring up a version; requests go over once it is ready."""
    found = connect().endpoints.deploy(name, version, replicas=replicas)
    if json:
        print_json(found)
    else:
        say(
            t(
                "{name}: version {version} is being brought up; see: stoker endpoints show {name}",
                name=name,
                version=version,
            )
        )


@app.command()
def stop(name: Name) -> None:
    """Stop serving; the registered versions stay."""
    connect().endpoints.stop(name)
    say(t("{name} does not answer any more", name=name))
