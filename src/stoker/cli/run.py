"""``stoker run``: a command, a job file or an unchanged sbatch script as a job."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from time import time as clock
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from stoker.cli.follow import exit_code, follow
from stoker.cli.render import AsJson, note, print_json, say
from stoker.cli.session import connect
from stoker.cli.usage import UsageError, explain, is_unknown_option
from stoker.cli.wish import Here, folder, read_wish
from stoker.client import Client
from stoker.errors import BadInput
from stoker.job import Job, JobSpec, Resources
from stoker.jobfile import parse_mounts
from stoker.spelling import (
    parse_accelerators,
    parse_array,
    parse_assignments,
    parse_dependencies,
    parse_moment,
    parse_signal,
)
from stoker.topology import parse_topology
from stoker.units import parse_bytes, parse_duration

_DASHES = "stoker.dashes"


class _WithCommand(TyperCommand):
    """Keeps what stands after ``--`` apart from the file and its arguments."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--" in args:
            place = args.index("--")
            ctx.meta[_DASHES] = tuple(args[place + 1 :])
            args = args[:place]
        try:
            rest: list[str] = super().parse_args(ctx, args)
        except UsageError as error:
            if is_unknown_option(error):
                raise BadInput(explain(error, " (those of the script or command stand after --)")) from None
            raise
        return rest


SETTINGS = {"cls": _WithCommand, "options_metavar": "[OPTIONS]"}


def run(
    ctx: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="Job file (.yaml), sbatch script, or - to read one of them.")
    ] = None,
    arguments: Annotated[list[str] | None, typer.Argument(help="Passed to the script.")] = None,
    name: Annotated[str, typer.Option("--name", "-J", help="Name of the job.")] = "",
    gpus: Annotated[str, typer.Option(help="Devices on each node: 2, H100:8, H100|H20:8 or T4:0.5.")] = "",
    cpus: Annotated[int | None, typer.Option("--cpus", "-c", help="CPUs on each node.")] = None,
    mem: Annotated[str, typer.Option(help="Memory on each node: 16G.")] = "",
    nodes: Annotated[int | None, typer.Option("--nodes", "-N", help="Number of nodes.")] = None,
    time: Annotated[str, typer.Option("--time", "-t", help="Time limit: 90 (minutes), 90s, 02:00:00, 1-12.")] = "",
    deadline: Annotated[str, typer.Option(help="When it should have ended: 2026-11-25T08:00, or in 8h.")] = "",
    grace: Annotated[str, typer.Option(help="Between SIGTERM and SIGKILL: 30s.")] = "",
    env: Annotated[list[str] | None, typer.Option("--env", "-e", help="NAME=value, or NAME as set here.")] = None,
    workdir: Annotated[str, typer.Option("--workdir", "-D", help="Working folder; else this one.")] = "",
    send: Annotated[str, typer.Option(help="Send this folder's files along; the job begins in a copy.")] = "",
    array: Annotated[str, typer.Option("--array", "-a", help="One job per index: 0-15, 1-10:2%3.")] = "",
    after: Annotated[str, typer.Option("--after", "-d", help="Dependencies: 12, afterany:12:13.")] = "",
    priority: Annotated[int | None, typer.Option(help="0 to 100.")] = None,
    retries: Annotated[int | None, typer.Option(help="Run again after a failure, at most so often.")] = None,
    requeue: Annotated[bool | None, typer.Option(help="Run again when the node fails.")] = None,
    preemptible: Annotated[
        bool | None, typer.Option(help="May be ended for what is more important, and runs again.")
    ] = None,
    min_runtime: Annotated[str, typer.Option(help="Once it runs, it is left alone for so long: 10m.")] = "",
    signal: Annotated[
        str, typer.Option(help="Sent so many seconds before it is preempted or out of time: USR1@120.")
    ] = "",
    checkpoint_every: Annotated[str, typer.Option(help="How often it saves itself: 30m.")] = "",
    min_nodes: Annotated[
        int | None, typer.Option(help="It does with so many nodes when there are no more.")
    ] = None,
    queue: Annotated[str, typer.Option("--queue", "-p", help="Queue.")] = "",
    account: Annotated[str, typer.Option("--account", "-A", help="Account.")] = "",
    engine: Annotated[str, typer.Option(help="Where to run: an engine's name.")] = "",
    qos: Annotated[str, typer.Option(help="Quality of service, on Slurm.")] = "",
    reservation: Annotated[str, typer.Option(help="Reservation, on Slurm.")] = "",
    site: Annotated[list[str] | None, typer.Option(help="Acceptable site of the engine: on-prem.")] = None,
    tolerate: Annotated[list[str] | None, typer.Option(help="A taint that does not keep it away.")] = None,
    topology: Annotated[
        str, typer.Option(help="How close together: required=leaf, preferred=pod, spread=leaf.")
    ] = "",
    image: Annotated[str, typer.Option(help="Container image.")] = "",
    mount: Annotated[list[str] | None, typer.Option(help="/on/node:/in/container, with :ro to only read.")] = None,
    exclusive: Annotated[bool | None, typer.Option("--exclusive", help="Whole nodes.")] = None,
    each_node: Annotated[
        bool | None,
        typer.Option("--each-node/--first-node", help="With several nodes: where it runs; commands on each."),
    ] = None,
    follow_it: Annotated[
        bool, typer.Option("--follow", "-f", help="Print its output; exit with its code.")
    ] = False,
    wait_it: Annotated[bool, typer.Option("--wait", "-W", help="Wait for its end; exit with its code.")] = False,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Run without the #SBATCH options that cannot be kept.")
    ] = False,
    json: AsJson = False,
) -> int:
    """Run a command, a job file or an sbatch script.

    stoker run -- CMD ARGS...     stoker run job.yaml     stoker run script.sh [ARGS...]

    Options win over what the file says. Prints "Submitted batch job N", as sbatch does.
    """
    client = connect()
    here = Here.seen_by(client)
    given = parse_assignments(env or (), environ=os.environ, what="--env")
    wish = read_wish(file, tuple(arguments or ()), ctx.meta.get(_DASHES), here, given, lenient)
    asked, tree = wish.spec, send or wish.send
    spec = _override(
        asked,
        name=name,
        nodes=nodes,
        priority=priority,
        retries=retries,
        requeue=requeue,
        preemptible=preemptible,
        min_runtime=parse_duration(min_runtime) if min_runtime else None,
        checkpoint_every=parse_duration(checkpoint_every) if checkpoint_every else None,
        min_nodes=min_nodes,
        **_signal(signal),
        queue=queue,
        account=account,
        engine=engine,
        qos=qos,
        reservation=reservation,
        sites=tuple(site or ()) or None,
        tolerations=tuple(tolerate or ()) or None,
        topology=parse_topology(topology) if topology else None,
        image=image,
        mounts=parse_mounts(mount, "--mount") if mount else None,
        exclusive=exclusive,
        each_node=_on_each_node(each_node, file, nodes),
        time_limit=parse_duration(time) if time else None,
        deadline=_deadline(deadline),
        grace=parse_duration(grace) if grace else None,
        depends=parse_dependencies(after) if after else None,
        resources=resources_of(asked.resources, gpus, cpus, mem),
        envs={**asked.envs, **given},
        **_array(array),
    )
    place = workdir or asked.workdir
    if tree:
        spec = replace(spec, package=client.files.send(tree).id, workdir=place)
    else:
        spec = replace(spec, workdir=place if spec.package else folder(place, here))
    for line in wish.notices:
        note(f"{file}: {line}")
    return _submit(client, spec, follow_it, wait_it or wish.wait, json)


def _submit(client: Client, spec: JobSpec, follow_it: bool, wait_it: bool, json: bool) -> int:
    if follow_it and spec.array:
        raise BadInput("--follow takes one job, this is an array; use --wait, or stoker logs -f 17_3 afterwards")
    jobs = client.jobs.submit(spec)
    _tell(jobs, json)
    if follow_it:
        return exit_code(follow(client, jobs[0]))
    if wait_it:
        return max(exit_code(job) for job in client.jobs.wait(*(job.id for job in jobs)))
    return 0


def _on_each_node(given: bool | None, file: Path | None, nodes: int | None) -> bool | None:
    """A command runs on every node it asks for, as under srun; what a file says stands, unless told."""
    return (nodes or 1) > 1 if given is None and file is None else given


def _override(spec: JobSpec, **options: Any) -> JobSpec:
    return replace(spec, **{name: value for name, value in options.items() if value not in (None, "")})


def _deadline(text: str) -> float | None:
    if not text:
        return None
    from_now = text.strip().removeprefix("in ")
    return clock() + parse_duration(from_now) if from_now[-1:] in "smhd" else parse_moment(text)


def _array(text: str) -> dict[str, Any]:
    if not text:
        return {}
    indices, limit = parse_array(text)
    return {"array": indices, "array_limit": limit}


def _signal(text: str) -> dict[str, Any]:
    if not text:
        return {}
    name, lead = parse_signal(text)
    return {"checkpoint_signal": name, "checkpoint_lead": lead}


def resources_of(resources: Resources, gpus: str, cpus: int | None, mem: str) -> Resources:
    if gpus:
        devices = parse_accelerators(gpus)
        resources = replace(resources, accelerators=devices.count, models=devices.models, milli=devices.milli)
    if cpus is not None:
        resources = replace(resources, cpus=cpus)
    if mem.strip().isdigit():
        raise BadInput(f'--mem "{mem}" has no unit; write for example {mem.strip()}G')
    return replace(resources, memory=parse_bytes(mem)) if mem else resources


def _tell(jobs: list[Job], json: bool) -> None:
    if json:
        print_json(jobs)
    else:
        first = jobs[0]
        say(f"Submitted batch job {first.id if first.array_id is None else first.array_id}")
