"""``stoker ships``: shipments and where they stand."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from stoker.cli.render import AsJson, columns, moment, print_json, say
from stoker.cli.session import connect
from stoker.shipment import Shipment, StageState
from stoker.units import format_clock

HEADER = ("SHIPMENT", "NAME", "USER", "STATE", "STAGE", "TIME", "VERSION", "STARTED")


def ships(
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, max=10_000, help="At most so many.")] = 30,
    json: AsJson = False,
) -> None:
    """List shipments.

    The newest first, with the stage they are at.
    """
    found = connect().shipments.list(limit=limit)
    if json:
        print_json(found)
    else:
        say(columns(HEADER, [_row(shipment) for shipment in found], right=("TIME", "VERSION")))


def _row(shipment: Shipment) -> tuple[str, ...]:
    end = time.time() if shipment.ended_at is None else shipment.ended_at
    return (
        shipment.id,
        shipment.request.name,
        shipment.owner,
        str(shipment.state),
        _stage(shipment),
        format_clock(max(0.0, end - shipment.created_at)),
        str(shipment.version or "-"),
        moment(shipment.created_at),
    )


def _stage(shipment: Shipment) -> str:
    """The stages it is at, or failed at; of a finished one none."""
    at = [run.stage.value for run in shipment.stages if run.state in (StageState.RUNNING, StageState.FAILED)]
    return ",".join(at) or "-"
