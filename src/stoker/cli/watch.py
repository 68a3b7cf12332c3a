"""Watching a shipment: redrawn in place on a terminal, line by line anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from stoker.cli.live import redrawing
from stoker.cli.render import say
from stoker.cli.shipments import shipment_lines, stage_lines
from stoker.client import Client
from stoker.job import JobState
from stoker.shipment import Shipment, Stage, StageState
from stoker.telemetry import Telemetry

_EVERY_S = 1.0
_TOLD_EVERY_S = 20.0  # progress of a running stage, where lines cannot be redrawn


@dataclass(frozen=True)
class View:
    """A shipment, and what its running stages tell."""

    shipment: Shipment
    telemetry: dict[Stage, Telemetry] = field(default_factory=dict)
    waits: dict[Stage, str] = field(default_factory=dict)  # why a stage's job has not begun


def watch(client: Client, shipment_id: str) -> Shipment:
    """Show the shipment until it has ended; returns it as it ended."""
    views = _views(client, shipment_id)
    return _redrawn(views) if sys.stdout.isatty() else _told(views)


def _views(client: Client, shipment_id: str) -> Iterator[View]:
    for shipment in client.shipments.watch(shipment_id, every=_EVERY_S):
        view = View(shipment)
        for run in shipment.stages:
            if run.state is StageState.RUNNING and run.job is not None:
                view.telemetry[run.stage] = client.shipments.telemetry(shipment.id, run.stage)
                job = client.jobs.get(run.job)
                if job.state is JobState.PENDING:
                    view.waits[run.stage] = job.message or job.reason
        yield view


def _redrawn(views: Iterator[View]) -> Shipment:
    from rich.text import Text

    with redrawing() as live:
        for view in views:
            lines = shipment_lines(view.shipment, time.time(), view.telemetry, view.waits)
            live.update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)
    return view.shipment


def _told(views: Iterator[View]) -> Shipment:
    """Each stage once when it has ended, and every now and then how a running one goes."""
    done: set[Stage] = set()
    told_at = time.monotonic()
    for view in views:
        for run in view.shipment.stages:
            ended = run.state not in (StageState.WAITING, StageState.RUNNING)
            running = run.state is StageState.RUNNING and time.monotonic() - told_at > _TOLD_EVERY_S
            if (ended and run.stage not in done) or running:
                told_at = time.monotonic()
                waits = view.waits.get(run.stage, "")
                say("\n".join(stage_lines(run, time.time(), view.telemetry.get(run.stage), waits)))
            if ended:
                done.add(run.stage)
    return view.shipment
