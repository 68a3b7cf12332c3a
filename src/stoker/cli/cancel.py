"""``stoker cancel``: end jobs."""

from __future__ import annotations

from typing import Annotated

import typer

from stoker.cli.pick import some_jobs
from stoker.cli.render import AsJson, print_json, say
from stoker.cli.session import connect
from stoker.cli.shipments import SHIP
from stoker.cli.texts import t


def cancel(
    labels: Annotated[
        list[str], typer.Argument(metavar="JOB...", help="17, 17_3, 17_[1-5], 20-25, a name, a ship id.")
    ],
    json: AsJson = False,
) -> None:
    """Cancel jobs, arrays or a shipment.

    A running job gets SIGTERM, its grace, then SIGKILL. What has ended stays as it is.
    """
    client = connect()
    ships = [client.shipments.cancel(label) for label in labels if label.startswith(SHIP)]
    meant = some_jobs(client, (label for label in labels if not label.startswith(SHIP)))
    open_ = [job.id for job in meant if not job.state.final]
    after = client.jobs.cancel(*open_) if open_ else []
    if json:
        print_json([*ships, *after])
        return
    for ship in ships:
        say(t("cancelled {id}; to go on with it: stoker ship --resume {id}", id=ship.id))
    if after:
        say(t("cancelled: {jobs}", jobs=" ".join(job.label for job in after)))
    if ended := [job for job in meant if job.state.final]:
        say(t("had ended before: {jobs}", jobs=" ".join(f"{job.label} ({job.state.code})" for job in ended)))
