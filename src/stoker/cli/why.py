"""``stoker why``: the cause, and what to do."""

from __future__ import annotations

from typing import Annotated

import typer

from stoker.cli.pick import one_job
from stoker.cli.render import AsJson, clean, print_json, say, width
from stoker.cli.session import connect
from stoker.cli.shipments import SHIP
from stoker.cli.texts import language, t
from stoker.cli.waiting import waiting
from stoker.client import Client
from stoker.errors import NotFound
from stoker.finding import Finding, Verdict
from stoker.shipment import Shipment, ShipmentState, StageState

_MARGIN = 10  # cells of the words on the left


def why(
    thing: Annotated[str, typer.Argument(metavar="THING", help="A job, a shipment, or the name of one.")],
    nodes: Annotated[bool, typer.Option("--nodes", help="What each node lacks for a waiting job.")] = False,
    json: AsJson = False,
) -> None:
    """Why a job waits or failed, and what to do.

    Of a shipment, the stage that waits or failed. Of a waiting job: the one cause, when it will start, what would
    start it now (each was tried), who holds what it waits for, and its place in line.
    """
    client = connect()
    found = _answer(client, thing, nodes=nodes)
    if json:
        print_json(found)
    else:
        say(waiting(found.waiting, nodes=nodes) if found.waiting else explain(found))


def _answer(client: Client, thing: str, *, nodes: bool) -> Finding:
    shipment = _shipment(client, thing)
    if shipment is not None:
        return _of_shipment(client, shipment, nodes=nodes)
    return _of_job(client, one_job(client, thing).id, nodes=nodes)


def _of_job(client: Client, job_id: int, *, nodes: bool) -> Finding:
    return client.jobs.why(job_id, nodes=nodes, language=language())


def _of_shipment(client: Client, shipment: Shipment, *, nodes: bool) -> Finding:
    run = next((r for r in shipment.stages if r.state in (StageState.FAILED, StageState.RUNNING)), None)
    if run is not None and run.job is not None:
        return _of_job(client, run.job, nodes=nodes)
    if shipment.state is ShipmentState.FAILED:
        stage = str(run.stage) if run is not None else ""
        again = f"stoker ship --resume {shipment.id}"
        return Finding(
            f"{shipment.id} {stage}".strip(), Verdict.FAILED, shipment.message, (shipment.message,), again
        )
    return Finding(shipment.id, Verdict.OK, f"{shipment.id} ({shipment.request.name}): {shipment.state}")


def _shipment(client: Client, thing: str) -> Shipment | None:
    """The shipment of that id; or the newest one of that name, when no job has the name."""
    if thing.startswith(SHIP):
        return client.shipments.get(thing)
    if thing.replace("_", "").isdigit():
        return None
    try:
        one_job(client, thing)
    except NotFound:
        return next((ship for ship in client.shipments.list() if ship.request.name == thing), None)
    return None


def explain(finding: Finding) -> str:
    """The claim, what it rests on, and the remedy, each under its word."""
    lines = [clean(finding.claim)]
    told = [(t("Cause"), finding.evidence), (t("Remedy"), (finding.remedy,) if finding.remedy else ())]
    for word, texts in told:
        margin = " " * max(1, _MARGIN - width(word))
        lines += [f"  {word if n == 0 else ' ' * width(word)}{margin}{clean(text)}" for n, text in enumerate(texts)]
    return "\n".join(lines)
