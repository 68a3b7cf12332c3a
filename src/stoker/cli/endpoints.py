"""``stoker endpoints``: names that answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from stoker.cli.render import AsJson, columns, facts, moment, print_json, say
from stoker.cli.session import connect
from stoker.cli.texts import t
from stoker.endpoint import Endpoint, ReplicaState, Scaling
from stoker.units import format_duration, parse_duration

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
        (e.name, e.tenant, str(e.version or "-"), _replicas(e), str(e.candidate or "-"), e.message) for e in found
    ]
    say(columns(("ENDPOINT", "TENANT", "VERSION", "READY", "CANDIDATE", ""), rows))


def _ready(endpoint: Endpoint) -> int:
    return sum(replica.state is ReplicaState.READY for replica in endpoint.replicas)


def _replicas(endpoint: Endpoint) -> str:
    """``2/3``: ready of wanted; with its bounds where it follows the load: ``2/3 [1-8]``."""
    bounds = endpoint.scaling
    span = f" [{bounds.floor}-{bounds.ceiling}]" if endpoint.follows else ""
    return f"{_ready(endpoint)}/{endpoint.wanted}{span}"


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
                (t("replicas"), _replicas(found)),
                *_scaling(found),
                (t("created"), moment(found.created_at)),
                ("", found.message),
            ]
        )
    )
    if found.replicas:
        say()
        rows = [(str(r.job), str(r.version), str(r.state), r.url) for r in found.replicas]
        say(columns(("JOBID", "VERSION", "STATE", "URL"), rows))


def _scaling(endpoint: Endpoint) -> list[tuple[str, str]]:
    if not endpoint.follows:
        return []
    wish = endpoint.scaling
    objective = [t("{load:g} requests at once for each replica", load=wish.target)]
    if wish.ttft is not None:
        objective.append(t("first token within {span}", span=format_duration(wish.ttft)))
    if wish.tpot is not None:
        objective.append(t("each further one within {span}", span=f"{1000 * wish.tpot:g} ms"))
    return [
        (t("follows"), _CAUSES[endpoint.cause]() if endpoint.cause in _CAUSES else ""),
        (t("objective"), ", ".join(objective)),
    ]


_CAUSES: Mapping[str, Callable[[], str]] = {
    "floor": lambda: t("the load needs no more than the floor"),
    "ceiling": lambda: t("the load needs more than the ceiling"),
    "load": lambda: t("what is in flight"),
    "latency": lambda: t("answers are slower than they should be"),
    "forecast": lambda: t("what is about to come"),
    "recent": lambda: t("what was in flight a moment ago"),
}


@app.command()
def deploy(
    name: Name,
    version: Annotated[int, typer.Argument(help="Version of the model of that name.")],
    replicas: Annotated[int, typer.Option(min=1, help="How many should serve it.")] = 1,
    least: Annotated[
        int | None, typer.Option("--min", min=1, help="Follow the load; so many stay whatever it is.")
    ] = None,
    most: Annotated[int | None, typer.Option("--max", min=1, help="Follow the load, up to so many.")] = None,
    target: Annotated[float, typer.Option(help="Requests in flight that one replica answers well.")] = 8.0,
    ttft: Annotated[str, typer.Option(help="Wanted until the first token, for 95 in 100: 2s.")] = "",
    tpot: Annotated[float | None, typer.Option(help="Wanted for each further token, milliseconds.")] = None,
    reserve: Annotated[int, typer.Option(min=0, help="Ready replicas kept above what is needed.")] = 0,
    window: Annotated[str, typer.Option(help="The load is low for so long before a replica goes.")] = "5m",
    queue: Annotated[str, typer.Option(help="Queue of its replicas.")] = "",
    json: AsJson = False,
) -> None:
    """Bring up a version; requests go over once it is ready.

    With --min and --max it has as many replicas as its load asks for. What it does not need, preemptible jobs use.
    """
    scaling = None
    if least is not None or most is not None:
        floor = least or 1
        scaling = Scaling(
            floor,
            most or max(floor, replicas),
            target,
            parse_duration(ttft) if ttft else None,
            None if tpot is None else tpot / 1000,
            reserve,
            parse_duration(window),
        )
    found = connect().endpoints.deploy(name, version, replicas=replicas, scaling=scaling, queue=queue)
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
