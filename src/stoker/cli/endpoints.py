"""``stoker endpoints``: names that answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from stoker.cli.options import spread
from stoker.cli.render import AsJson, columns, facts, moment, print_json, say
from stoker.cli.scaling import Bounds
from stoker.cli.session import connect
from stoker.cli.texts import t
from stoker.endpoint import Endpoint, ReplicaState, Scaling
from stoker.reclaim import Reclaim
from stoker.units import format_duration

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
    client = connect()
    found = client.endpoints.get(name)
    if json:
        print_json(found)
        return
    back = _take_back(client.endpoints.reclaim(name)) if found.follows else []
    say(
        facts(
            [
                (t("endpoint"), found.name),
                (t("version"), str(found.version or "-")),
                (t("candidate"), str(found.candidate or "")),
                (t("replicas"), _replicas(found)),
                *_scaling(found),
                *back,
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
    if wish.reserve:
        objective.append(t("{count} ready above the need", count=wish.reserve))
    if wish.sleep:
        objective.append(t("{count} sleep instead of going", count=wish.sleep))
    asleep = []
    if wish.floor == 0:
        asleep = [(t("to none"), t("after {idle} without a request; the next waits up to {hold}",
                                   idle=format_duration(wish.idle), hold=format_duration(wish.hold)))]  # fmt: skip
    return [
        (t("follows"), _CAUSES[endpoint.cause]() if endpoint.cause in _CAUSES else ""),
        (t("objective"), ", ".join(objective)),
        *asleep,
    ]


def _take_back(told: Reclaim) -> list[tuple[str, str]]:
    """What it could have beyond what it has, and how long that took."""
    span = format_duration(told.within)
    if told.devices:
        could = t("{devices} devices for {replicas} more replicas within {span}; {free} of these are free now",
                  devices=told.devices, replicas=told.replicas, span=span, free=told.free)  # fmt: skip
    elif told.replicas:
        could = t("{replicas} more replicas within {span}; {free} of these need nobody to go",
                  replicas=told.replicas, span=span, free=told.free)  # fmt: skip
    else:
        could = t("nothing more now")
    known = told.measured
    if known is None:
        return [(t("can take back"), could), ("", t("not measured yet: nobody had to go for it"))]
    figures = (known.device_p50, known.device_p95, known.answer_p50, known.answer_p95)
    spans = dict(zip(("a", "b", "c", "d"), map(format_duration, figures), strict=True))
    took = t("measured, {count} times (p50 / p95): devices after {a} / {b}, answers after {c} / {d}",
             count=known.count, **spans)  # fmt: skip
    return [(t("can take back"), could), ("", took)]


_CAUSES: Mapping[str, Callable[[], str]] = {
    "floor": lambda: t("the load needs no more than the floor"),
    "ceiling": lambda: t("the load needs more than the ceiling"),
    "load": lambda: t("what is in flight"),
    "latency": lambda: t("answers are slower than they should be"),
    "forecast": lambda: t("what is about to come"),
    "recent": lambda: t("what was in flight a moment ago"),
}


@app.command()
@spread
def deploy(
    name: Name,
    version: Annotated[int, typer.Argument(help="Version of the model of that name.")],
    bounds: Bounds,
    json: AsJson = False,
) -> None:
    """Bring up a version; requests go over once it is ready.

    With --min and --max it has as many replicas as its load asks for. What it does not need, preemptible jobs use.
    Without any of these it is served as it was so far, at first by one replica.
    """
    settings = bounds.settings(Scaling)
    said = bounds.file or bounds.replicas or settings.scaling != Scaling()
    scaling = settings.scaling if said else None
    found = connect().endpoints.deploy(name, version, scaling=scaling, queue=settings.queue)
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
@spread
def scale(name: Name, bounds: Bounds, json: AsJson = False) -> None:
    """Change how many replicas serve it; what is not given stays as it is."""
    client = connect()
    settings = bounds.settings(lambda: client.endpoints.get(name).scaling)
    found = client.endpoints.scale(name, settings.scaling, queue=settings.queue)
    if json:
        print_json(found)
    else:
        say(f"{name}: {_replicas(found)}")


@app.command()
def stop(name: Name) -> None:
    """Stop serving; the registered versions stay."""
    connect().endpoints.stop(name)
    say(t("{name} does not answer any more", name=name))
