"""``stoker job``: all about one job."""

from __future__ import annotations

import shlex
import time
from typing import Annotated

import typer

from stoker.cli import squeue
from stoker.cli.measured import measured
from stoker.cli.pick import one_job
from stoker.cli.render import AsJson, columns, facts, moment, print_json, say
from stoker.cli.session import connect
from stoker.cli.texts import t, word
from stoker.job import Job, Resources
from stoker.units import format_bytes, format_clock, format_duration


def job(
    label: Annotated[str, typer.Argument(metavar="JOB", help="A job: 17, 17_3 or a name.")], json: AsJson = False
) -> None:
    """Show all about one job.

    What it asked for, where it ran, and its history.
    """
    client = connect()
    found = one_job(client, label)
    if json:
        print_json(found)
        return
    say(describe(found))
    told = facts(measured(client.jobs.telemetry(found.id)))
    if told:
        say(told)
    events = client.jobs.events(found.id)
    if events:
        say()
        rows = [(moment(e.at), e.state.code, str(e.attempt), e.reason, e.message) for e in events]
        say(columns((t("WHEN"), "ST", t("ATTEMPT"), t("REASON"), ""), rows))


def describe(found: Job) -> str:
    spec = found.spec
    return facts(
        [
            (t("job"), f'{found.label} "{spec.name}"'),
            (t("state"), word(found.state.value)),
            ("", found.message),
            (t("exit code"), "" if found.exit_code is None else str(found.exit_code)),
            (t("owner"), f"{found.owner} ({found.tenant})"),
            (t("runs"), shlex.join(spec.command) or f"{t('script')} {shlex.join(spec.arguments)}".strip()),
            (t("asks for"), _asks(found)),
            (t("on"), squeue.where(found)),
            (t("devices"), _devices(found)),
            (t("submitted"), moment(found.submitted_at)),
            (t("started"), moment(found.started_at)),
            (t("ended"), moment(found.ended_at)),
            (t("last saved"), moment(found.checkpointed_at)),
            (t("ran for"), format_clock(squeue.elapsed(found, time.time())) if found.started_at else ""),
            (t("time limit"), format_duration(spec.time_limit) if spec.time_limit else ""),
            (t("priority"), str(spec.priority)),
            (t("queue"), spec.queue),
            (t("depends on"), ",".join(f"{d.condition}:{d.job}" for d in spec.depends)),
            (t("folder"), spec.workdir),
            (t("shipment"), found.ship),
        ]
    )


def _asks(found: Job) -> str:
    spec = found.spec
    parts = [
        t("{count} nodes", count=spec.nodes) if spec.nodes > 1 else "",
        devices_asked(spec.resources),
        f"{spec.resources.cpus} CPU",
        format_bytes(spec.resources.memory) if spec.resources.memory else "",
    ]
    return ", ".join(part for part in parts if part)


def devices_asked(resources: Resources) -> str:
    """``8 × H100``, ``0.5 × T4``; empty for none."""
    if not resources.accelerators:
        return ""
    return f"{resources.accelerators * resources.milli / 1000:g} × {'|'.join(resources.models) or t('any device')}"


def _devices(found: Job) -> str:
    held = [f"{p.node}:{','.join(map(str, p.devices))}" for p in found.placements if p.devices]
    return " ".join(held)
