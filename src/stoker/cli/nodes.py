"""``stoker nodes``: what there is, and what is free on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stoker.cli.jobs import ACTIVE
from stoker.cli.render import AsJson, columns, print_json, say
from stoker.cli.session import connect
from stoker.cluster import WHOLE, Device, Node
from stoker.job import Job, JobState
from stoker.units import format_bytes

HEADER = ("NODE", "STATE", "CPUS", "MEMORY", "DEVICES", "FREE", "JOBS", "ENGINE")
HOLDING = tuple(state for state in ACTIVE if state is not JobState.PENDING)


def nodes(json: AsJson = False) -> None:
    """List nodes and what is free on them.

    CPUs and memory as used/all; devices by model.
    """
    client = connect()
    found = client.nodes()
    if json:
        print_json(found)
    else:
        say(table(found, client.jobs.list(states=HOLDING, limit=10_000)))


def table(found: Sequence[Node], holding: Iterable[Job]) -> str:
    jobs = list(holding)
    return columns(
        HEADER, [_row(node, [j for j in jobs if _is_on(j, node)]) for node in found], right=("FREE", "JOBS")
    )


def _is_on(job: Job, node: Node) -> bool:
    return any(placement.node == node.name for placement in job.placements)


def _row(node: Node, jobs: Sequence[Job]) -> Sequence[str]:
    cpus = sum(job.spec.resources.cpus for job in jobs)
    memory = sum(job.spec.resources.memory for job in jobs)
    return (
        node.name,
        "idle" if node.schedulable and not jobs else "busy" if node.schedulable else f"drained ({node.reason})",
        f"{cpus}/{node.cpus}",
        f"{format_bytes(memory)}/{format_bytes(node.memory)}" if memory else f"0/{format_bytes(node.memory)}",
        _models(node.devices) or "-",
        f"{_free(node, jobs):g}" if node.devices else "-",
        str(len(jobs)),
        node.engine,
    )


def _models(devices: Sequence[Device]) -> str:
    counts: dict[str, int] = {}
    for device in devices:
        counts[device.model] = counts.get(device.model, 0) + 1
    return ",".join(f"{model}:{count}" for model, count in counts.items())


def _free(node: Node, jobs: Sequence[Job]) -> float:
    """Devices nobody holds; of a shared one, the share that is left."""
    held = sum(
        job.spec.resources.milli * len(placement.devices)
        for job in jobs
        for placement in job.placements
        if placement.node == node.name
    )
    return len(node.devices) - held / WHOLE
